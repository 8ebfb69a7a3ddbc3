"""Replies of the language model, many at once on one set of weights.

    model = load_language_model(folder, device="cuda")
    language = Generation(model, Steps("vita-audio"), window=8192)
    for token in language.generate(ids, mode=BOOST, drawing=Drawing(), stop=model.config.ends,
                                   cancel=cancel):
        ...

Every request has a `Decoding` and random numbers of its own, both gone when it ends.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence

from torch import Tensor

from engines.base import Cancel
from engines.native.sampling import Drawing, Sampler
from engines.native.steps import Steps
from engines.vita_audio.decoding import Decoding
from engines.vita_audio.language_model import LanguageModel
from engines.vita_audio.schedule import VANILLA, Schedule
from errors import InputError, UnavailableError

#: Tokens of a prompt that are read in one step: few enough that others do not wait long, enough
#: that reading the weights for them does not count.
_PIECE = {"cpu": 128, "cuda": 1024}


class WindowFullError(UnavailableError):
    """A reply has reached the most tokens that are kept of a conversation."""


class Generation:
    """Writes replies with a language model.

    Args:
        model: Shared by all requests.
        steps: Where the steps of all requests run.
        window: Most tokens of prompt and reply together, which bounds the memory of a request
            (`bytes_per_token` each); at most what the model was trained on. 0: that.

    Raises:
        InputError: If the window is longer than the model's.
    """

    def __init__(self, model: LanguageModel, steps: Steps, *, window: int = 0) -> None:
        if window > model.config.window:
            raise InputError(
                f"A window of {window} tokens is more than the model's {model.config.window}."
            )
        self.model = model
        self.window = window or model.config.window
        self._steps = steps

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
        cancel: Cancel,
        on_position: Callable[[int], None] | None = None,
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
            cancel: Stops the reply within a step.
            on_position: Told how many requests wait ahead, while there is no place.

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
            prompt, embeddings, mode, drawing, seed, frozenset(stop), min(max_tokens, room)
        )
        ended = False
        for tokens in self._steps.run(replies, cancel=cancel, on_position=on_position):
            for token in tokens:
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
        stop: frozenset[int],
        most: int,
    ) -> Iterator[tuple[int, ...]]:
        """The steps of a reply, each with the tokens that it made."""
        model = self.model
        decoding = Decoding(model, prompt, embeddings=embeddings, schedule=mode)
        sampler = Sampler(
            drawing,
            vocabulary=model.config.vocabulary,
            prompt=prompt,
            seed=seed,
            device=model.device,
        )
        piece = _PIECE.get(model.device.type, _PIECE["cpu"])
        while decoding.unread > piece:
            decoding.read(piece)
            yield ()
        while decoding.made < most:
            token = int(sampler.draw(decoding.advance()))
            decoding.append(token)
            yield (token,)
            if token in stop:
                return
