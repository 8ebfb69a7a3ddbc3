"""Endpoints for programs: `/transcribe`, `/speak`, `/ask`, `/clone`, `/voices`, `/similarity`.

No page is behind them.

A cold start makes them wait for the models rather than fail. Each is a
generator: a program that streams sees the reply grow, one that calls gets the
last value, and one that leaves stops the model.
"""

import logging
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from demos.clips import ClipWriter
from demos.follow import follow
from engines.base import (
    AudioChunk,
    Cancel,
    Event,
    Reference,
    Sampling,
    TextDelta,
    Transcript,
    Turn,
)
from engines.cascade.parts import RECOGNIZER_RATE
from errors import InputError, ParleyError
from services import VOICE_RATE, Services
from speech.files import Clip
from speech.speaker import meaning
from voices.marks import Made

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


def build(services: Services) -> None:
    """Attach the endpoints; their components are never shown."""

    def transcribe(audio: str) -> Iterator[str]:
        """Speech to text: any sound file, any language."""
        cancel = Cancel()
        events = services.transcribe(_clip(services, audio).audio, cancel=cancel)
        for reply in _grow(events, cancel):
            yield reply.heard

    def speak(text: str, voice: str = "", seed: float | None = None) -> Iterator[str | None]:
        """Text to speech: a WAV file."""
        cancel = Cancel()
        events = services.speak(text, voice or None, seed=_whole(seed), cancel=cancel)
        for reply in _grow(events, cancel, _made(services, voice)):
            yield reply.path

    def clone(
        text: str, reference: str, engine: str = "", seed: float | None = None
    ) -> Iterator[str | None]:
        """Text to speech with a recording as the voice.

        What an engine makes of it, /voices tells: only "clone" speaks in that voice.
        """
        cancel = Cancel()
        voice = services.voices.from_recording(
            _clip(services, reference, VOICE_RATE), cancel=cancel
        )
        events = services.speak(
            text, voice, engine=engine or None, seed=_whole(seed), cancel=cancel
        )
        for reply in _grow(events, cancel, _made(services, voice, engine)):
            yield reply.path

    def voices(engine: str = "") -> Iterator[dict[str, Any]]:
        """What an engine makes of a reference, its own voices, and those of the library."""
        info = services.engine(engine or None).info
        own = [{"name": voice.name, "description": voice.description} for voice in info.voices]
        kept = [
            {
                "name": voice.name,
                "description": voice.record.description,
                "origin": voice.record.origin,
                "seconds": voice.record.seconds,
            }
            for voice in services.voices.library.voices()
        ]
        yield {"engine": info.name, "reference": info.reference, "own": own, "library": kept}

    def similarity(a: str, b: str) -> Iterator[dict[str, Any]]:
        """How alike the speakers of two clips sound, 0 to 1, and what that means."""
        found = services.voices.similarity(
            _clip(services, a).audio, _clip(services, b).audio, cancel=Cancel()
        )
        yield {"similarity": round(found, 3), "meaning": meaning(found)}

    def ask(
        audio: str | None,
        text: str = "",
        session: str = "",
        voice: str = "",
        request: gr.Request | None = None,
    ) -> Iterator[tuple[str, str, str | None]]:
        """A spoken or typed question: what was understood, the answer, and its speech.

        Calls that name the same session continue one dialogue. Without logins, so
        does a stranger who guesses the name.
        """
        if not audio and not text.strip():
            raise InputError("There is no question. Give audio, text or both.")
        owner = ((request.username if request else None) or "", session)
        turn = Turn(_clip(services, audio).audio if audio else None, text)
        cancel = Cancel()
        events = services.converse(
            turn,
            services.dialogues.get(owner),
            voice or None,
            sampling=Sampling(services.settings.temperature),
            language="en",
            cancel=cancel,
        )
        for reply in _grow(events, cancel, _made(services, voice)):
            if reply.finished and session:
                services.dialogues.add(owner, turn.question(reply.heard), reply.said)
            yield turn.question(reply.heard), reply.said, reply.path

    # Files rather than `gr.Audio`: that one probes its output with ffprobe, which a bare
    # machine lacks, and would take the file formats of its own choice only.
    with gr.Column(visible=False):
        sound = gr.File(label="audio", type="filepath")
        words = gr.Textbox("", label="text")
        session = gr.Textbox("", label="session")
        voice = gr.Textbox("", label="voice")
        seed = gr.Number(None, label="seed", precision=0)
        question = gr.Textbox(label="question_text")
        answer = gr.Textbox(label="reply_text")
        reply = gr.File(label="audio")
        gr.Button().click(_told(transcribe), sound, words, api_name="transcribe")
        gr.Button().click(_told(speak), [words, voice, seed], reply, api_name="speak")
        gr.Button().click(
            _told(ask), [sound, words, session, voice], [question, answer, reply], api_name="ask"
        )
        engine = gr.Textbox("", label="engine")
        reference, first, second = (
            gr.File(label=name, type="filepath") for name in ("reference", "a", "b")
        )
        found = gr.JSON(label="found")
        gr.Button().click(_told(clone), [words, reference, engine, seed], reply, api_name="clone")
        gr.Button().click(_told(voices), engine, found, api_name="voices")
        gr.Button().click(_told(similarity), [first, second], found, api_name="similarity")


class _Reply:
    """What a request has given so far."""

    def __init__(self) -> None:
        self.heard = ""
        self.said = ""
        self.path: str | None = None
        self.finished = False


def _grow(events: Iterator[Event], cancel: Cancel, made: Made | None = None) -> Iterator[_Reply]:
    """The reply each time there is more of it; its file only when that is complete."""
    reply, writer = _Reply(), None
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


def _made(services: Services, voice: str | Reference, engine: str = "") -> Made | None:
    """What a file of speech in this voice says of itself."""
    return services.voices.made(voice or None, services.engine(engine or None).info)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _clip(services: Services, audio: str | None, rate: int = RECOGNIZER_RATE) -> Clip:
    """Read the sound; what there is to know about it goes to the caller as a warning."""
    clip = services.clip(audio, rate)
    for note in clip.notes:
        gr.Warning(note)
    return clip


def _told(endpoint: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
    """Turn what went wrong into an error that Gradio passes on to the caller."""

    @wraps(endpoint)
    def told(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        try:
            yield from endpoint(*args, **kwargs)
        except ParleyError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:
            logger.exception("an API request failed")
            raise gr.Error(
                "This went wrong inside Parley. It is noted in the log; please try again.",
                print_exception=False,
            ) from error

    return told
