"""What the endpoints for programs share: replies that grow, clips, refusals."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import ParamSpec, TypeVar

import gradio as gr

from demos import problems
from demos.clips import ClipWriter
from demos.follow import follow
from engines.base import Cancel, Reference
from engines.cascade.parts import RECOGNIZER_RATE
from engines.messages import AudioChunk, Event, TextDelta, Transcript
from services import Services
from speech.files import Clip
from voices.marks import Made

P = ParamSpec("P")
T = TypeVar("T")


class Grown:
    """What a request has given so far."""

    def __init__(self) -> None:
        self.heard = ""
        self.said = ""
        self.path: str | None = None
        self.finished = False


def grow(events: Iterator[Event], cancel: Cancel, made: Made | None = None) -> Iterator[Grown]:
    """The reply each time there is more of it; its file only when that is complete."""
    reply, writer = Grown(), None
    try:
        for batch in follow(events, cancel):
            for event in batch:
                match event:
                    case Transcript():
                        reply.heard = event.text
                    case TextDelta():
                        reply.said += event.text
                    case AudioChunk():
                        writer = writer or ClipWriter(event.audio.rate, made=made)
                        writer.add(event.audio)
            yield reply
    finally:
        if writer is not None:
            writer.close()
    reply.path = str(writer.path) if writer else None
    reply.finished = True
    yield reply


def made_of(services: Services, voice: str | Reference, engine: str = "") -> Made | None:
    """What a file of speech in this voice says of itself."""
    return services.voices.made(voice or None, services.engine(engine or None).info)


def whole(number: float | None) -> int | None:
    """A number as Gradio gives it, as a whole one."""
    return None if number is None else int(number)


def clip_of(services: Services, audio: str | None, rate: int = RECOGNIZER_RATE) -> Clip:
    """Read the sound; what there is to know about it goes to the caller as a warning."""
    clip = services.clip(audio, rate)
    for note in clip.notes:
        gr.Warning(note)
    return clip


def told(endpoint: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
    """Turn what went wrong into an error that Gradio passes on to the caller."""

    @wraps(endpoint)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        try:
            yield from endpoint(*args, **kwargs)
        except Exception as error:
            raise gr.Error(problems.told(error), print_exception=False) from error

    return guarded
