"""What the stages of a cascade ask of their models, whoever makes them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, Self, runtime_checkable

import numpy as np

from engines.base import Cancel, Reference, Voice, Wishes
from engines.images import Image
from engines.messages import Sampling, Span, Usage
from speech.pcm import Audio

#: Rate at which every recognizer here listens, Hz.
RECOGNIZER_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Recognized:
    """The words of one segment; times in seconds from its start."""

    text: str
    spans: tuple[Span, ...]
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """One message as a chat model is given it; images only where it can see."""

    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[Image, ...] = ()


class Recognizer(Protocol):
    """Speech to text."""

    def recognize(self, audio: Audio, language: str | None = None) -> Recognized:
        """Recognize one segment of at most 30 s at `RECOGNIZER_RATE`."""
        ...


@runtime_checkable
class Attentive(Protocol):
    """A `Recognizer` that times each word, and can be told what to expect."""

    def expecting(self, prompt: str) -> Recognizer:
        """The same recognizer after a text that may have come before."""
        ...


class ChatModel(Protocol):
    """Text to text."""

    def reply(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        put: Callable[[str], None],
        cancel: Cancel,
    ) -> Usage:
        """Write a reply, handing each piece of text to `put` as it is made.

        Raises:
            InputError: If the last prompt alone is too long for the model.
            EngineError: If the model fails.
            CancelledError: Within one step of `cancel` being set.
        """
        ...


@runtime_checkable
class ReadingAhead(Protocol):
    """A `ChatModel` that reads prompts before they are complete."""

    def prepare(self, prompts: Sequence[Prompt], cancel: Cancel) -> None:
        """Read a prompt, so that one that begins the same is answered sooner.

        Raises:
            CancelledError: Within one step of `cancel` being set.
        """
        ...


@runtime_checkable
class Listing(Protocol):
    """A `ChatModel` on a server that has several."""

    def choices(self) -> tuple[str, ...]:
        """The server's models by name.

        Raises:
            UnavailableError: If it does not tell.
        """
        ...


class Synthesizer(Protocol):
    """Text to speech."""

    @property
    def rate(self) -> int:
        """Sample rate of the speech, Hz."""
        ...

    @property
    def voices(self) -> tuple[Voice, ...]:
        """What it can speak with; the first is the default."""
        ...

    def synthesize(self, clause: str, voice: str, random: np.random.Generator) -> Audio:
        """Speak one clause, whole; empty audio if nothing in it can be spoken."""
        ...


@runtime_checkable
class StreamingSynthesizer(Protocol):
    """Text to speech that comes in pieces, clause after clause of one reply."""

    @property
    def rate(self) -> int:
        """Sample rate of the speech, Hz."""
        ...

    @property
    def voices(self) -> tuple[Voice, ...]:
        """What it can speak with; the first is the default."""
        ...

    def begin(
        self,
        voice: str | Reference,
        *,
        style: str,
        random: np.random.Generator,
        cancel: Cancel,
    ) -> AbstractContextManager["SpokenReply"]:
        """Begin to speak a reply; leaving the context frees what was kept for it.

        Args:
            voice: A name from `voices`; a reference only if the synthesizer clones.
            style: How to speak, in words; empty: as it always does.
            random: What is random in the speech is drawn from this.
            cancel: Ends the reply within one step of the model.

        Raises:
            InputError: If the reference is of no use.
        """
        ...


class SpokenReply(Protocol):
    """A reply that is being spoken; what one clause leaves behind helps with the next."""

    def speak(self, clause: str) -> Iterator[Audio]:
        """Speak one clause; any pieces, silence at both ends is taken off by the caller.

        Closing the iterator early stops the work on the clause.

        Raises:
            EngineError: If this clause failed; the next may be tried.
            CancelledError: If the reply was cancelled.
        """
        ...


@runtime_checkable
class Bound(Protocol):
    """A part that has to know for whom it works: what it does lies on another machine."""

    def bound(self, wishes: Wishes, cancel: Cancel, tell: Callable[[str], None]) -> Self:
        """The part for one request; cheap.

        Args:
            wishes: The session's.
            cancel: Ends what the request has begun.
            tell: Told what the session should know, such as that another server stands in.
        """
        ...
