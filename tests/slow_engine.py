"""An engine for the tests that speaks when it is told to, and fails when it is told to."""

import threading
from collections.abc import Iterator

import numpy as np
from fake_models import PATIENCE

from engines.base import Cancel, EngineInfo, Stopwatch, Voice
from engines.catalog import Entry
from engines.messages import AudioChunk, Event, Finished, TextDelta
from errors import CancelledError
from speech.pcm import Audio

INFO = EngineInfo(
    name="slow",
    title="Slow",
    tasks=frozenset({"asr", "tts", "sqa", "text"}),
    hears=("*",),
    speaks=("*",),
    voices=(Voice("slow", "en", "Slow"),),
    rate=24_000,
)


class Slow:
    """A `SpeechEngine` whose replies the test holds in its hand.

    Attributes:
        begun: How many requests began.
        cancelled: How many were cancelled while they waited.
        go: One chunk is made for each release.
        error: What happens instead of the next chunk.
        chunks: How many there are.
    """

    info = INFO

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.go = threading.Semaphore(0)
        self.error: Exception | None = None
        self.chunks = 2

    def models(self, task, language=None):
        return ()

    def transcribe(self, audio, *, language=None, cancel: Cancel) -> Iterator[Event]:
        yield from self._work(cancel)

    def speak(self, text, voice=None, *, seed=None, cancel: Cancel) -> Iterator[Event]:
        yield from self._work(cancel)

    def converse(self, turn, conversation, voice=None, *, cancel: Cancel, **options):
        yield from self._work(cancel)

    def _work(self, cancel: Cancel) -> Iterator[Event]:
        self.begun += 1
        stop = cancel.on_set(self.go.release)
        watch = Stopwatch()
        try:
            for _ in range(self.chunks):
                assert self.go.acquire(timeout=PATIENCE), "the test forgot to let it go"
                if cancel.is_set():
                    self.cancelled += 1
                    raise CancelledError("Stopped.")
                if self.error:
                    raise self.error
                yield TextDelta("la ")
                yield AudioChunk(Audio(np.full(24_000, 0.1, np.float32), 24_000))
            yield Finished(watch.timings(1.0))
        finally:
            stop()


def entry(engine: Slow) -> Entry:
    return Entry(
        info=INFO,
        licence="MIT",
        needs="Patience",
        specs=lambda settings, store: (),
        build=lambda models: engine,
    )
