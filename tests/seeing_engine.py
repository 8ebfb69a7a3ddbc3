"""Engines for the tests: the Seer says what is in the pixels it was given, the Mole is blind.

They hear and speaks with the embedded engine's real models. Models that see do not
run on the machines of the tests; what carries images to an engine does.
"""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image as Pillow

from engines.base import Cancel, EngineInfo, Models, Stopwatch, Task, Voice
from engines.cascade import embedded
from engines.cascade.hibari import Hibari
from engines.catalog import Entry
from engines.images import Image
from engines.messages import (
    AudioChunk,
    Conversation,
    Event,
    Finished,
    Sampling,
    TextDelta,
    Transcript,
    Turn,
)
from errors import InputError

COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
}

SEER = EngineInfo(
    name="seer",
    title="Seer",
    tasks=frozenset({"sqa", "text"}),
    hears=("en", "*"),
    speaks=("en",),
    voices=Hibari.voices,
    rate=Hibari.rate,
    can_see=True,
    notes="Tells sizes and colours, nothing else.",
)
MOLE = replace(
    SEER, name="mole", title="Mole", voices=(Voice("gruff", "en", "Low"),), can_see=False
)


def picture(colour: str, width: int = 64, height: int = 48, kind: str = "JPEG", **options) -> bytes:
    """An image file of one colour."""
    file = BytesIO()
    Pillow.new("RGB", (width, height), COLOURS[colour]).save(file, kind, **options)
    return file.getvalue()


def described(image: Image) -> str:
    pixels = image.pixels()
    height, width, _ = pixels.shape
    mean = pixels.reshape(-1, 3).mean(0)
    colour = min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())
    return f"{width} x {height} {colour}"


class Seer:
    """A `SpeechEngine` that answers every question with what it sees."""

    def __init__(self, models: Models, info: EngineInfo = SEER) -> None:
        self.info = info
        self._body = embedded.engine(models)

    def models(self, task: Task, language: str | None = None) -> tuple[str, ...]:
        ears = self._body.models("asr", language)
        return ears if task == "text" else ears + self._body.models("tts")

    def transcribe(self, audio, *, language=None, cancel: Cancel) -> Iterator[Event]:
        raise InputError("Seer writes nothing down.")

    def speak(self, text, voice=None, *, seed=None, cancel: Cancel) -> Iterator[Event]:
        raise InputError("Seer does not read aloud.")

    def converse(
        self,
        turn: Turn,
        conversation: Conversation,
        voice: str | None = None,
        *,
        sampling: Sampling = Sampling(),
        language: str | None = None,
        spoken: bool = True,
        cancel: Cancel,
    ) -> Iterator[Event]:
        watch = Stopwatch()
        if turn.audio is not None:
            for event in self._body.transcribe(turn.audio, language=language, cancel=cancel):
                if isinstance(event, Transcript):
                    yield event
        now = [described(image) for image in turn.seen]
        answer = f"{self.info.title}: I see {len(now)}: {', '.join(now) or 'nothing'}."
        before = [described(image) for m in conversation.visible() for image in m.seen]
        if before:
            answer += f" Before: {', '.join(before)}."
        # What was set for the session shows in the answer, so that tests can tell.
        answer += f" {len(conversation.visible())} messages. {conversation.system}"
        answer = " ".join(answer.split()[: sampling.max_tokens])
        yield TextDelta(answer)
        if spoken:
            for event in self._body.speak(answer, cancel=cancel):
                if isinstance(event, AudioChunk):
                    yield event
        yield Finished(watch.timings(0.0))


ENTRIES = tuple(
    Entry(
        info=info,
        licence="MIT",
        needs="Eyes",
        specs=embedded.specs,
        build=lambda models, info=info: Seer(models, info),
    )
    for info in (SEER, MOLE)
)
