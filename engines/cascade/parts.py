"""What the stages of a cascade ask of their models, whoever makes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from engines.base import Cancel, Sampling, Span, Usage, Voice
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
    """One message as a chat model is given it."""

    role: Literal["system", "user", "assistant"]
    text: str


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
