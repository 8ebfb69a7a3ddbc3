"""Endpoints for programs: `/transcribe`, `/speak`, `/ask`; no page is behind them.

A cold start makes them wait for the models rather than fail. Each is a
generator: a program that streams sees the reply grow, one that calls gets the
last value, and one that leaves stops the model.
"""

import logging
from collections.abc import Callable, Iterator
from functools import wraps
from typing import ParamSpec, TypeVar

import gradio as gr

from demos.clips import ClipWriter
from demos.follow import follow
from engines.base import AudioChunk, Cancel, Event, Sampling, TextDelta, Transcript, Turn
from errors import InputError, ParleyError
from services import Services
from speech.files import Clip

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
        number = None if seed is None else int(seed)
        events = services.speak(text, voice or None, seed=number, cancel=cancel)
        for reply in _grow(events, cancel):
            yield reply.path

    def ask(
        audio: str | None, text: str = "", session: str = "", request: gr.Request | None = None
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
            sampling=Sampling(services.settings.temperature),
            language="en",
            cancel=cancel,
        )
        for reply in _grow(events, cancel):
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
            _told(ask), [sound, words, session], [question, answer, reply], api_name="ask"
        )


class _Reply:
    """What a request has given so far."""

    def __init__(self) -> None:
        self.heard = ""
        self.said = ""
        self.path: str | None = None
        self.finished = False


def _grow(events: Iterator[Event], cancel: Cancel) -> Iterator[_Reply]:
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
                        writer = writer or ClipWriter(event.audio.rate)
                        writer.add(event.audio)
            yield reply
    finally:
        if writer is not None:
            writer.close()
    reply.path = str(writer.path) if writer else None
    reply.finished = True
    yield reply


def _clip(services: Services, audio: str | None) -> Clip:
    """Read the sound; what there is to know about it goes to the caller as a warning."""
    clip = services.clip(audio)
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
