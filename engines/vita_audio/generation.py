"""Replies of the language model, many at once on one set of weights.

    model = load_language_model(folder, device="cuda")
    language = Generation(model, Steps("vita-audio"), window=8192)
    for token in language.generate(ids, mode=BOOST, drawing=Drawing(), stop=model.config.ends,
                                   cancel=cancel):
        ...

Every request has a `FastDecoding` and random numbers of its own, both gone when it ends.
"""

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing

from torch import Tensor

from engines.base import Cancel
from engines.native.sampling import Drawing, Sampler
from engines.native.steps import Steps
from engines.notices import tell_nobody
from engines.vita_audio.fast import FastDecoding
from engines.vita_audio.language_model import LanguageModel
from engines.vita_audio.schedule import VANILLA, Schedule
from engines.vita_audio.seat import Seat
from errors import InputError, UnavailableError

#: Tokens of a prompt that are read in one step: few enough that others do not wait long, enough
#: that reading the weights for them does not count.
_PIECE = {"cpu": 128, "cuda": 1024}


#: Tokens for which a place with CUDA graphs is kept, unless told otherwise: some minutes of speech.
#: Every step attends to all of it, so more would cost time.
SEAT = 4096


class WindowFullError(UnavailableError):
    """A reply has reached the most tokens that are kept of a conversation."""


class Generation:
    """Writes replies with a language model.

    Args:
        model: Shared by all requests.
        steps: Where the steps of all requests run.
        window: Most tokens of prompt and reply together, which bounds the memory of a request
            (`bytes_per_token` each); at most what the model was trained on. 0: that.
        codes: First and one past the last id of what speech is made of, with its markers and the
            end of a reply: lets the heads guess (see `fast`). Never changes a token.
        seat: Tokens of a conversation for which a place with CUDA graphs is kept, for as many
            requests as were there at once; 0: none; None: `SEAT` on a GPU.

    Raises:
        InputError: If the window is longer than the model's.
    """

    def __init__(
        self,
        model: LanguageModel,
        steps: Steps,
        *,
        window: int = 0,
        codes: tuple[int, int] | None = None,
        seat: int | None = None,
    ) -> None:
        if window > model.config.window:
            raise InputError(
                f"A window of {window} tokens is more than the model's {model.config.window}."
            )
        self.model = model
        self.window = window or model.config.window
        self._steps = steps
        self._codes = codes
        wanted = (SEAT if model.device.type == "cuda" else 0) if seat is None else seat
        # Attention wants the length of a mask to be a multiple of 16.
        self._seat_rows = -(-min(wanted, self.window) // 16) * 16
        self._seats: deque[Seat] = deque()  # Those that nobody uses now.

    @property
    def bytes_per_token(self) -> int:
        """What a token of a conversation takes while its reply is made."""
        return self.model.config.cached_per_token * self.model.dtype.itemsize

    def generate(
        self,
        prompt: Sequence[int],
        *,
        embeddings: Tensor | None = None,
        mode: Schedule = VANILLA,
        drawing: Drawing = Drawing(),
        seed: int | None = None,
        stop: Collection[int] = (),
        max_tokens: int = 8192,
        sure: int = 0,
        cancel: Cancel,
        on_position: Callable[[int], None] | None = None,
        tell: Callable[[str], None] = tell_nobody,
    ) -> Generator[int]:
        """The tokens of a reply, as they are made.

        Args:
            prompt: Token ids.
            embeddings: [prompt, H], given to the main model in place of the embedded ids.
            mode: Which part of the model makes which token.
            drawing: How tokens are chosen.
            seed: Fixes what is random; None draws a fresh seed.
            stop: Ids that end the reply; the one that did is its last token.
            max_tokens: Longest reply.
            sure: So many tokens at its beginning are the likeliest, whatever `drawing` says.
            cancel: Stops the reply within a step.
            on_position: Told how many requests come before, while there is no place.
            tell: Told what the session should know; all is well with a model that is here.

        Raises:
            InputError: If the prompt cannot be read, or does not fit the window.
            WindowFullError: If the reply fills the window, after its last token.
            CancelledError: If `cancel` was set.
        """
        if len(prompt) >= self.window:
            raise InputError(
                f"The conversation is {len(prompt)} tokens long with what was said last, but only "
                f"{self.window} are kept, with the reply. Start a new conversation, or say less."
            )
        room = self.window - len(prompt)
        replies = self._reply(
            prompt, embeddings, mode, drawing, seed, sure, frozenset(stop), min(max_tokens, room)
        )
        ended = False
        # Closed here, not when the frame of an error is: what a reply held is free at once.
        with closing(self._steps.run(replies, cancel=cancel, on_position=on_position)) as made:
            for tokens in made:
                for token in tokens:
                    cancel.check()
                    yield token
                    ended = token in stop
        if not ended and max_tokens > room:
            raise WindowFullError(
                f"The reply stopped at {self.window} tokens, which is all that is kept of a "
                "conversation. Start a new one, or allow more."
            )

    def _reply(
        self,
        prompt: Sequence[int],
        embeddings: Tensor | None,
        mode: Schedule,
        drawing: Drawing,
        seed: int | None,
        sure: int,
        stop: frozenset[int],
        most: int,
    ) -> Iterator[tuple[int, ...]]:
        """The steps of a reply, each with the tokens that it made."""
        seat = self._seat()
        try:
            yield from self._follow(
                self._decoding(prompt, embeddings, mode, drawing, seed, sure, seat), stop, most
            )
        finally:
            if seat is not None:
                self._seats.append(seat)

    def _decoding(
        self,
        prompt: Sequence[int],
        embeddings: Tensor | None,
        mode: Schedule,
        drawing: Drawing,
        seed: int | None,
        sure: int,
        seat: Seat | None,
    ) -> FastDecoding:
        model = self.model
        sampler = Sampler(
            drawing,
            vocabulary=model.config.vocabulary,
            prompt=prompt,
            seed=seed,
            device=model.device,
            sure=sure,
        )
        return FastDecoding(
            model,
            prompt,
            sampler=sampler,
            embeddings=embeddings,
            schedule=mode,
            codes=self._codes,
            seat=seat,
        )

    def _follow(
        self, decoding: FastDecoding, stop: frozenset[int], most: int
    ) -> Iterator[tuple[int, ...]]:
        piece = _PIECE.get(self.model.device.type, _PIECE["cpu"])
        while decoding.unread > piece:
            decoding.read(piece)
            yield ()
        while (room := most - decoding.made) > 0:
            tokens = decoding.step()[:room]
            end = next((i + 1 for i, token in enumerate(tokens) if token in stop), None)
            yield tokens[:end]
            if end is not None:
                return

    def _seat(self) -> Seat | None:
        """A place that is free, or a new one: as many as there are requests at once."""
        if not self._seat_rows:
            return None
        return self._seats.pop() if self._seats else Seat(self.model, self._seat_rows)
