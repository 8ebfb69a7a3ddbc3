"""One reply in the making: everything that is remembered of it, and the next step.

    decoding = Decoding(model, prompt, schedule=BOOST)
    while decoding.unread > piece:
        decoding.read(piece)
    while True:
        token = int(decoding.advance().argmax())
        decoding.append(token)

`advance` runs one step of the model and gives the scores of the next token. Which part of the
model that is, the schedule says; the main model then reads every token that it has not seen (all
that heads made since), a head every place it has not been at: the whole prompt, when it is first
used, and several tokens after a pause.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engines.vita_audio.attention import causal_mask
from engines.vita_audio.cache import Caches, LayerCache
from engines.vita_audio.language_model import LanguageModel
from engines.vita_audio.schedule import VANILLA, Schedule
from errors import InputError

#: Rows that a cache has beyond the prompt at first.
_ROOM = 256


class Decoding:
    """The state of one reply.

    Args:
        model: Shared, never changed.
        prompt: Token ids, at least one.
        embeddings: [prompt, H], what the main model is given in place of the embedded ids: where
            speech was heard, its embeddings. The heads always see the ids.
        schedule: Which part of the model makes which token.
        caches: Where keys and values are kept; by default, caches that grow.

    Attributes:
        ids: Prompt and reply.
        made: Tokens of the reply.

    Raises:
        InputError: If ids and embeddings do not fit each other or the model.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompt: Sequence[int],
        *,
        embeddings: Tensor | None = None,
        schedule: Schedule = VANILLA,
        caches: Caches | None = None,
    ) -> None:
        config = model.config
        if not prompt or min(prompt) < 0 or max(prompt) >= config.vocabulary:
            raise InputError(
                f"The prompt must be token ids from 0 to {config.vocabulary - 1}, at least one."
            )
        if embeddings is not None and embeddings.shape != (len(prompt), config.hidden):
            raise InputError(
                f"The embeddings of the prompt are {list(embeddings.shape)}, not "
                f"{[len(prompt), config.hidden]}."
            )
        self._model = model
        self._schedule = schedule
        self._embeddings = embeddings
        self.ids = list(prompt)
        self.made = 0
        self._seen = 0  # Tokens that the main model has read.
        self._head: int | None = None  # The head that made the last token; None: the main model.
        self._caches = caches or Caches(config, len(prompt) + _ROOM)
        # What came out of the main model (0) and of each head (k + 1), for entries that the next
        # head has not read yet. Nothing is kept for heads that the schedule never uses.
        self._kept = schedule.deepest(0, config.heads)
        self._outputs: list[list[Tensor]] = [[] for _ in range(config.heads + 1)]

    @property
    def unread(self) -> int:
        """How many tokens the main model has not seen."""
        return len(self.ids) - self._seen

    @property
    def nbytes(self) -> int:
        """Bytes that the caches and the outputs take."""
        kept = (rows for outputs in self._outputs for rows in outputs)
        return self._caches.nbytes + sum(rows.nbytes for rows in kept)

    def read(self, rows: int) -> None:
        """Let the main model read some of the prompt, but not the last token."""
        self._run_main(min(rows, self.unread - 1))

    def advance(self) -> Tensor:
        """Run the next step.

        Returns:
            [V] scores of the next token.
        """
        head = self._due()
        self._head = head
        hidden = self._run_main(self.unread) if head is None else self._run_head(head)
        return self._model.logits(hidden[:, -1])[0]

    def append(self, token: int) -> None:
        """Add the token that was chosen."""
        self.ids.append(token)
        self.made += 1

    def _due(self) -> int | None:
        """Which head makes the next token; None: the main model."""
        if self.made == 0 or not self._schedule.run(self.made):
            return None
        head = 0 if self._head is None else self._head + 1
        # After the last head the main model is due, however long the run.
        return head if head < self._model.config.heads else None

    def _run_main(self, rows: int) -> Tensor:
        start, end = self._seen, self._seen + rows
        hidden = self._model.main(
            self._embedded(start, end),
            torch.arange(start, end, device=self._model.device),
            self._caches,
            causal_mask(start, rows, self._model.device),
        )
        self._seen = end
        if end >= len(self.ids):
            self._embeddings = None  # They are needed once.
        self._keep(0, hidden)
        return hidden

    def _run_head(self, head: int) -> Tensor:
        hidden = torch.cat(self._outputs[head], dim=1)
        self._outputs[head].clear()
        rows, shift = hidden.shape[1], head + 1
        past = self._head_layer(head).length
        start, end = past + shift, past + rows + shift
        out = self._model.head(
            head,
            self._model.embed(self._tensor(start, end)),
            hidden,
            torch.arange(start, end, device=self._model.device),
            self._caches,
            causal_mask(past, rows, self._model.device),
        )
        self._keep(head + 1, out)
        return out

    def _head_layer(self, head: int) -> LayerCache:
        return self._caches.layers[self._model.config.layers + head]

    def _keep(self, place: int, rows: Tensor) -> None:
        if place < self._kept:
            self._outputs[place].append(rows)

    def _embedded(self, start: int, end: int) -> Tensor:
        if self._embeddings is None:
            return self._model.embed(self._tensor(start, end))
        rows = self._embeddings[None, start:end]
        return rows.to(device=self._model.device, dtype=self._model.dtype)

    def _tensor(self, start: int, end: int) -> Tensor:
        return torch.tensor(self.ids[start:end], device=self._model.device)
