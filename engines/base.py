"""The contract every speech engine stands behind.

An engine turns a request into a stream of events. It holds weights, never a
request: what belongs to a session (`Conversation`) is a value that is passed
in, what belongs to a request (caches, random numbers, queues) is made for it
and dies with it. So two sessions on one engine cannot see each other.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from engines.messages import (
    Conversation,
    Event,
    Sampling,
    Timings,
    Transcript,
    Turn,
)
from errors import CancelledError
from speech.pcm import Audio

Task = Literal["asr", "tts", "sqa", "text"]
"""Recognition, speech synthesis, spoken question answering, text chat."""

ReferenceUse = Literal["clone", "prompt", "match"]
"""What an engine makes of a reference recording.

`clone`: it speaks in that voice. `prompt`: the reference conditions what the language
model writes, the timbre stays the engine's own. `match`: the engine's own voice, with
pitch, formants and spectrum moved towards the reference.
"""


Wish = Literal["style", "key", "model", "block"]
"""What a session may ask of an engine beyond the arguments of a request (`Wishes`)."""


#: Sizes of a block that can be wished for, codes of 80 ms. Small ones are heard sooner, large ones
#: cost less of the device.
BLOCKS = (8, 16, 25, 50, 100)


class Cancel:
    """A flag that its owner raises once to stop a request.

    Engines look at it at least once per model step. Callbacks serve waits that
    cannot poll (a blocked queue); they run once, on the thread that cancels.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def set(self) -> None:
        """Ask for the request to stop; further calls do nothing."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def is_set(self) -> bool:
        """Whether the request is to stop."""
        return self._event.is_set()

    def on_set(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Run `callback` when cancelled, or at once if that has happened.

        Returns:
            A function that takes the callback back; for waits that ended without a cancel.
        """
        with self._lock:
            pending = not self._event.is_set()
            if pending:
                self._callbacks.append(callback)
        if not pending:
            callback()

        def forget() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return forget

    def check(self) -> None:
        """Raise `CancelledError` if the request is to stop."""
        if self._event.is_set():
            raise CancelledError("Stopped.")


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice an engine can speak with."""

    name: str
    language: str
    description: str


def _compute(kind: str, compute: Callable[[], bytes]) -> bytes:
    return compute()


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A voice given as a recording.

    Attributes:
        name: What people call it.
        audio: Speech of that voice, any rate; engines get by with 3 s and use at most 30 s.
        transcript: What is said in it; empty where nobody knows.
        keep: Where what an engine computes from `audio` is kept: called with the kind and
            version of the feature and with what computes it, gives its bytes. Without a
            place of its own, it is computed each time.
    """

    name: str
    audio: Audio
    transcript: str = ""
    keep: Callable[[str, Callable[[], bytes]], bytes] = _compute


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is and can do; the page shows this as it stands.

    Attributes:
        name: Stable identifier, as given on the command line.
        title: Name for people.
        tasks: Which tasks it supports.
        hears: ISO 639-1 codes of the speech it recognizes.
        speaks: ISO 639-1 codes of the speech it makes.
        voices: The first is the default.
        rate: Sample rate of its speech, Hz.
        reference: What it makes of a `Reference` given as a voice; None: it takes none.
        can_see: Takes images with a turn and in earlier messages; else none ever reaches it.
        wishes: What it makes of the `Wishes` of a session; it must then be `Adaptable`.
        notes: Plain words on its limits.
    """

    name: str
    title: str
    tasks: frozenset[Task]
    hears: tuple[str, ...]
    speaks: tuple[str, ...]
    voices: tuple[Voice, ...]
    rate: int
    reference: ReferenceUse | None = None
    can_see: bool = False
    wishes: frozenset[Wish] = frozenset()
    notes: str = ""

    @property
    def unmatched(self) -> str:
        """What to tell those who want a voice of the library from an engine that takes none."""
        return f"{self.title} speaks in its own voices only. Choose one of them, or another engine."

    @property
    def blind(self) -> str:
        """What to tell those who show images to an engine that cannot see."""
        return f"{self.title} cannot see. Choose an engine that can, or ask without images."


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a session asks of an engine beyond the arguments of a request.

    Attributes:
        style: How to speak, in words: "whispering, close to the microphone".
        key: API key for the engine's server; never logged, shown or given back.
        model: Chat model on the engine's server; empty takes the engine's own.
        block: Codes of speech that are rendered at once after the first ones, one of `BLOCKS`;
            0 takes the engine's own.
    """

    style: str = ""
    key: str = field(default="", repr=False)
    model: str = ""
    block: int = 0

    def __bool__(self) -> bool:
        return bool(self.style or self.key or self.model or self.block)

    def heeded(self, wishes: frozenset[Wish]) -> "Wishes":
        """Those of them that an engine makes something of."""
        return Wishes(
            self.style if "style" in wishes else "",
            self.key if "key" in wishes else "",
            self.model if "model" in wishes else "",
            self.block if "block" in wishes else 0,
        )


class Models(Protocol):
    """Where an engine borrows loaded models from (the `ModelHolder`)."""

    def use(self, *names: str, cancel: Cancel) -> AbstractContextManager[tuple[Any, ...]]:
        """Borrow loaded models; they stay loaded until the context is left.

        Raises:
            UnavailableError: If one cannot be loaded; the message says why.
            CancelledError: If `cancel` was set while waiting.
        """
        ...


class SpeechEngine(Protocol):
    """A speech system. It supports the tasks that `info` names and refuses the others.

    Every generator ends with `Finished`, raises a `ParleyError` with a message
    for the user, or raises `CancelledError` within one model step of
    `cancel.set()`. Closing a generator early frees everything it holds.
    """

    @property
    def info(self) -> EngineInfo:
        """What the engine is and can do."""
        ...

    def models(self, task: Task, language: str | None = None) -> tuple[str, ...]:
        """Names of the models that a request borrows, for warm-up and progress."""
        ...

    def transcribe(
        self, audio: Audio, *, language: str | None = None, cancel: Cancel
    ) -> Iterator[Event]:
        """Recognize speech: `Transcript` events, then `Finished`.

        Args:
            audio: Any rate and length.
            language: ISO 639-1 code; None lets the recognizer decide.
            cancel: Stops the work.

        Raises:
            InputError: If there is no speech in the clip, or no recognizer for the language.
        """
        ...

    def speak(
        self,
        text: str,
        voice: str | Reference | None = None,
        *,
        seed: int | None = None,
        cancel: Cancel,
    ) -> Iterator[Event]:
        """Synthesize speech: `AudioChunk` events, then `Finished`.

        Args:
            text: Any length; spoken clause by clause.
            voice: A name from `info.voices`, or a reference where `info.reference` says
                what comes of it; None takes the first voice.
            seed: Fixes the random part of the synthesis.
            cancel: Stops the work.

        Raises:
            InputError: If nothing in the text can be spoken, or the voice is unknown.
        """
        ...

    def converse(
        self,
        turn: Turn,
        conversation: Conversation,
        voice: str | Reference | None = None,
        *,
        sampling: Sampling = Sampling(),
        language: str | None = None,
        spoken: bool = True,
        cancel: Cancel,
    ) -> Iterator[Event]:
        """Answer a turn: `Transcript` (if it was spoken), `TextDelta` and `AudioChunk`, `Finished`.

        Text and audio are interleaved as they are made. `conversation` is read,
        never changed: the caller adds the exchange when it is over.

        Args:
            turn: What the user said, and shows; speech is recognized and joined to the text.
            conversation: The dialogue so far.
            voice: A name from `info.voices`, or a reference where `info.reference` says
                what comes of it; None takes the first voice.
            sampling: How tokens are drawn.
            language: ISO 639-1 code of the speech; None lets the engine decide.
            spoken: False answers in text only.
            cancel: Stops the work.

        Raises:
            InputError: If there is neither text nor speech nor an image.
        """
        ...


@runtime_checkable
class Anticipating(Protocol):
    """A `SpeechEngine` that can get ready while somebody still speaks."""

    def prepare(
        self,
        turn: Turn,
        conversation: Conversation,
        *,
        language: str | None = None,
        spoken: bool = True,
        cancel: Cancel,
    ) -> Generator[Transcript]:
        """Get ready to answer a turn that is not over.

        Called again and again, with more of the turn each time. What it finds may be
        kept with the models where it helps whatever comes next (a prompt that was read),
        never in the engine.

        Args:
            turn: What was said so far; empty before the first word.
            conversation: As `converse` will be given it.
            language: As `converse` will be given it.
            spoken: As `converse` will be given it.
            cancel: Stops the work.

        Yields:
            What was recognized so far, never final.
        """
        ...


@runtime_checkable
class Adaptable(Protocol):
    """A `SpeechEngine` that heeds the `Wishes` which its `info` names."""

    def adapted(self, wishes: Wishes) -> SpeechEngine:
        """The engine as a session wishes it; cheap, and nothing of it stays here."""
        ...

    def choices(self, wishes: Wishes, cancel: Cancel) -> tuple[str, ...]:
        """Chat models that can be wished for, as the engine's server lists them.

        Raises:
            UnavailableError: If the server does not tell.
        """
        ...


@runtime_checkable
class Learning(Protocol):
    """A `SpeechEngine` that has to find out something about a reference before it speaks."""

    def learn(self, reference: Reference, *, cancel: Cancel) -> None:
        """Do now what the first reply in that voice would wait for; kept with the reference.

        Raises:
            InputError: If the reference is of no use.
            CancelledError: If `cancel` was set.
        """
        ...


@runtime_checkable
class Detailing(Protocol):
    """A `SpeechEngine` that can time each word, and be told what to expect."""

    def transcribe_words(
        self, audio: Audio, *, language: str | None = None, prompt: str = "", cancel: Cancel
    ) -> Iterator[Event]:
        """As `transcribe`, with one span a word; borrows what a clip of unknown language does.

        Args:
            audio: Any rate and length.
            language: ISO 639-1 code; None lets the recognizer decide.
            prompt: Text that may have come before: it tells how names are spelled.
            cancel: Stops the work.

        Raises:
            InputError: As `transcribe`; or if the recognizer can do neither.
        """
        ...


@dataclass(slots=True)
class Stopwatch:
    """Collects the `Timings` of one request; marks are kept at their first call."""

    clock: Callable[[], float] = time.perf_counter
    began: float = field(init=False)
    _marks: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def mark(self, name: str) -> None:
        """Note that phase `name` of `Timings` is reached now."""
        self._marks.setdefault(name, self.clock() - self.began)

    def timings(self, audio: float) -> Timings:
        """Close the watch; `audio` is in seconds."""
        return Timings(total=self.clock() - self.began, audio=audio, **self._marks)
