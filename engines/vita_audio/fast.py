"""Replies made in runs: all heads of a run in one step, with scores of what they can emit only.

`FastDecoding` makes the same tokens as `Decoding`, faster for two reasons.

A whole run of heads is one step. Each head is given the token of the one before where it was made,
so the host waits once for all of them; on a `Seat` the run is one CUDA graph.

Each of ten heads would read the whole output projection, which is larger than the head itself.
Within speech nearly all tokens are codes; so the heads first choose among the codes alone, a tenth
of the rows. Then all ten choices are checked at once against the full scores, which reads the
projection once. Up to the first difference the choices are what `Decoding` chooses, because every
token before was; the token there is taken from the full scores, and the heads after it run again
without guessing. The check has the penalty and the noise of the full choice, so it holds for drawn
tokens, markers and ends as well: guessing decides on the time, never on the tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engines.native.sampling import Sampler, choose, penalize, warp
from engines.vita_audio.attention import causal_mask
from engines.vita_audio.decoding import Decoding
from engines.vita_audio.language_model import Caches, LanguageModel
from engines.vita_audio.schedule import VANILLA, Schedule
from engines.vita_audio.seat import ROWS, Seat

#: Rows for which a run is one step at most. A long prompt is read by each head in a step of its
#: own, so that others do not wait for all of them.
_LONGEST = 128


@dataclass(frozen=True, slots=True)
class _Run:
    """What a run of heads gave: their outputs, the tokens they guessed, and the right ones."""

    hidden: list[Tensor]
    guessed: Tensor
    tokens: Tensor


class FastDecoding(Decoding):
    """The state of one reply, made in runs.

    Args:
        model: Shared, never changed.
        prompt: Token ids, at least one.
        sampler: Chooses the tokens.
        embeddings: As for `Decoding`.
        schedule: Which part of the model makes which token.
        codes: First and one past the last id of what speech is made of, markers and the end of a
            reply included; None never guesses.
        seat: Where it is made; None makes it in memory of its own, as `Decoding`.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompt: Sequence[int],
        *,
        sampler: Sampler,
        embeddings: Tensor | None = None,
        schedule: Schedule = VANILLA,
        codes: tuple[int, int] | None = None,
        seat: Seat | None = None,
    ) -> None:
        super().__init__(
            model,
            prompt,
            embeddings=embeddings,
            schedule=schedule,
            caches=seat.caches(model) if seat is not None else None,
        )
        self._sampler = sampler
        rounded = hasattr(model.lm_head.weight, "__tensor_flatten__")
        self._codes = None if rounded else codes  # A part of a rounded projection has no kernel.
        self._seat = seat
        self._speaking = True  # Heads are for speech; a reply that is none shows it at once.
        if seat is not None:
            seat.seen.copy_(sampler.seen)
            sampler.seen = seat.seen

    def step(self) -> tuple[int, ...]:
        """Make the next token, or all that a run of heads makes."""
        run = min(self._schedule.run(self.made), self._model.config.heads)
        if run and self._due() == 0 and self._regular(run):
            tokens = self._make_run(run)
        elif self._due() is None and self._fits(self._seen, self.unread) and self.made:
            tokens = [self._make_main()]
        else:
            tokens = [int(self._sampler.draw(self.advance()))]
        for token in tokens:
            self.append(token)
        return tuple(tokens)

    def _regular(self, run: int) -> bool:
        """Whether the heads of a run have read equally far, and none beyond them matters."""
        lengths = {self._head_layer(head).length for head in range(run)}
        few = sum(rows.shape[1] for rows in self._outputs[0]) <= _LONGEST
        beyond = self._schedule.deepest(self.made, self._model.config.heads) > run
        return len(lengths) == 1 and few and not beyond

    def _fits(self, start: int, rows: int) -> bool:
        """Whether a step of so many rows can be made on the seat."""
        return (
            self._seat is not None and rows <= ROWS and self._seat.holds(self._caches, start + rows)
        )

    def _make_main(self) -> int:
        """The main model's step on the seat."""
        seat, sampler, model = self._seat, self._sampler, self._model
        assert seat is not None
        start, rows = self._seen, self.unread
        seat.start.fill_(start)
        seat.ids[:rows] = torch.tensor(self.ids[start:])
        if not sampler.drawing.greedy:
            sampler.refresh(seat.noise[0])

        def step() -> tuple[Tensor, Tensor]:
            caches, mask = seat.fixed(rows)
            hidden = model.main(model.embed(seat.ids[:rows]), seat.places(rows), caches, mask)
            return hidden, sampler.settle(model.logits(hidden[:, -1])[0], seat.noise[0])

        hidden, token = seat.run(("main", rows, sampler.drawing), step)
        for layer in self._caches.layers[: model.config.layers]:
            layer.length = start + rows
        self._seen = start + rows
        self._keep(0, hidden.clone())
        self._head = None
        return int(token)

    def _make_run(self, run: int) -> list[int]:
        """The tokens of a run of heads."""
        past = self._head_layer(0).length
        hidden = torch.cat(self._outputs[0], dim=1)
        self._outputs[0].clear()
        noise = self._noise(run)
        tokens: list[int] = []
        guess = self._codes if self._speaking else None
        while len(tokens) < run:
            before = None if guess is None else self._sampler.seen.clone()
            made = self._run_heads(len(tokens), run, past, hidden, tokens, noise, guess)
            guessed, right = torch.stack((made.guessed, made.tokens)).tolist()
            agreed = (
                next(
                    (
                        i
                        for i, pair in enumerate(zip(guessed, right, strict=True))
                        if pair[0] != pair[1]
                    ),
                    len(right) - 1,
                )
                + 1
            )
            tokens += right[:agreed]
            if before is not None and len(tokens) < run:
                self._sampler.seen.copy_(before)
                self._sampler.seen[torch.tensor(right[:agreed], device=before.device)] = True
            hidden, guess = made.hidden[agreed - 1], None
        self._head = run - 1
        if self._codes is not None:
            self._speaking = all(self._codes[0] <= token < self._codes[1] for token in tokens)
        return tokens

    def _noise(self, run: int) -> Tensor:
        """[run, V], what each token of a run is drawn with."""
        sampler = self._sampler
        if sampler.drawing.greedy:
            return sampler.exponential.expand(run, -1)
        if self._seat is None:
            noise = sampler.exponential.new_empty(run, len(sampler.exponential))
        else:
            noise = self._seat.noise[:run]
        for row in noise:
            sampler.refresh(row)
        return noise

    def _run_heads(
        self,
        first: int,
        last: int,
        past: int,
        hidden: Tensor,
        made: list[int],
        noise: Tensor,
        guess: tuple[int, int] | None,
    ) -> _Run:
        """Run heads from `first` to before `last`, on rows from place `past` on."""
        rows = hidden.shape[1]
        known = torch.tensor(self.ids[past + 1 :] + made)
        for head in range(first, last):
            self._head_layer(head).length = past
        if not self._fits(past, rows):
            ids = torch.zeros(rows + last, dtype=torch.int64, device=self._model.device)
            ids[: len(known)] = known
            places = torch.arange(past, past + rows, device=self._model.device)
            mask = causal_mask(past, rows, self._model.device)
            return self._pass(first, last, hidden, ids, places, self._caches, mask, noise, guess)
        seat = self._seat
        assert seat is not None
        seat.start.fill_(past)
        seat.ids[: len(known)] = known
        seat.hidden[:, :rows] = hidden

        def step() -> _Run:
            fixed, mask = seat.fixed(rows)
            given = seat.hidden[:, :rows]
            return self._pass(
                first, last, given, seat.ids, seat.places(rows), fixed, mask, noise, guess
            )

        run: _Run = seat.run(("heads", first, last, rows, guess, self._sampler.drawing), step)
        for head in range(first, last):
            self._head_layer(head).length = past + rows
        return run

    def _pass(
        self,
        first: int,
        last: int,
        hidden: Tensor,
        ids: Tensor,
        places: Tensor,
        caches: Caches,
        mask: Tensor | None,
        noise: Tensor,
        guess: tuple[int, int] | None,
    ) -> _Run:
        """The heads of a run one after the other; nothing but tensors, so it can be captured.

        Args:
            first: Head to begin with.
            last: Head to end before.
            hidden: [1, rows, H], what the first head is given.
            ids: Of the tokens after the first row's, `rows + first` of them known; those that the
                heads make are written behind.
            places: [rows], of the rows in the caches.
            caches: Where the heads' rows go.
            mask: See `causal_mask`.
            noise: [run, V].
            guess: Range of ids to choose from at first, for a whole run; None: all.
        """
        model, sampler, rows = self._model, self._sampler, len(places)
        seen = sampler.seen if guess is None else sampler.seen.clone()
        outputs, chosen = [], []
        for head in range(first, last):
            hidden = model.head(
                head, model.embed(ids[head : head + rows]), hidden, places + head + 1, caches, mask
            )
            if guess is None:
                token = sampler.settle(model.logits(hidden[:, -1])[0], noise[head])
            else:
                token = _guess(model, sampler, hidden[0, -1], seen, noise[head], guess)
            ids[rows + head : rows + head + 1] = token
            outputs.append(hidden)
            chosen.append(token)
        guessed = torch.cat(chosen)
        if guess is None:
            return _Run(outputs, guessed, guessed)
        scores = model.logits(torch.cat([output[0, -1:] for output in outputs]))
        right = [
            sampler.settle(row, drawn)
            for row, drawn in zip(scores.unbind(), noise.unbind(), strict=True)
        ]
        return _Run(outputs, guessed, torch.cat(right))


def _guess(
    model: LanguageModel,
    sampler: Sampler,
    hidden: Tensor,
    seen: Tensor,
    noise: Tensor,
    among: tuple[int, int],
) -> Tensor:
    """The token that `Sampler.settle` would choose if there were only a range of ids; [1]."""
    few = slice(*among)
    scores = model.logits(hidden, few).float()
    drawing = sampler.drawing
    if drawing.repetition_penalty != 1:
        scores = penalize(scores, seen[few], drawing.repetition_penalty)
    if drawing.greedy:
        token = scores.argmax(dim=-1, keepdim=True)
    else:
        token = choose(warp(scores, drawing), noise[few]).view(1)
    token = token + among[0]
    seen.index_fill_(0, token, True)
    return token
