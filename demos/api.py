"""Endpoints for programs: `/transcribe`, `/speak`, `/ask`; no page is behind them.

A cold start makes them wait for the models rather than fail.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import ParamSpec, TypeVar

import gradio as gr

from demos.clips import ClipWriter
from engines.base import AudioChunk, Cancel, Event, Sampling, TextDelta, Transcript, Turn
from errors import InputError, ParleyError
from services import Services

P = ParamSpec("P")
T = TypeVar("T")


def build(services: Services) -> None:
    """Attach the endpoints; their components are never shown."""

    def transcribe(audio: str) -> str:
        """Speech to text: any sound file, any language."""
        events = services.transcribe(services.clip(audio).audio, cancel=Cancel())
        return _collect(events).heard

    def speak(text: str, voice: str = "", seed: float | None = None) -> str | None:
        """Text to speech: a WAV file."""
        events = services.speak(
            text, voice or None, seed=None if seed is None else int(seed), cancel=Cancel()
        )
        return _collect(events).path

    def ask(
        audio: str | None, text: str = "", session: str = "", request: gr.Request | None = None
    ) -> tuple[str, str, str | None]:
        """A spoken or typed question: what was understood, the answer, and its speech.

        Calls that name the same session continue one dialogue.
        """
        if not audio and not text.strip():
            raise InputError("There is no question. Give audio, text or both.")
        owner = ((request.username if request else None) or "", session)
        turn = Turn(services.clip(audio).audio if audio else None, text)
        events = services.converse(
            turn,
            services.dialogues.get(owner),
            sampling=Sampling(),
            language="en",
            cancel=Cancel(),
        )
        reply = _collect(events)
        question = turn.question(reply.heard)
        if session:
            services.dialogues.add(owner, question, reply.said)
        return question, reply.said, reply.path

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


class _Collected:
    """All events of a request, joined."""

    def __init__(self) -> None:
        self.heard = ""
        self.said = ""
        self.path: str | None = None


def _collect(events: Iterable[Event]) -> _Collected:
    collected = _Collected()
    writer: ClipWriter | None = None
    try:
        for event in events:
            match event:
                case Transcript():
                    collected.heard = event.text
                case TextDelta():
                    collected.said += event.text
                case AudioChunk():
                    writer = writer or ClipWriter(event.audio.rate)
                    writer.add(event.audio)
    finally:
        if writer is not None:
            writer.close()
            collected.path = str(writer.path)
    return collected


def _told(endpoint: Callable[P, T]) -> Callable[P, T]:
    """Turn what went wrong into an error that Gradio passes on to the caller."""

    @wraps(endpoint)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return endpoint(*args, **kwargs)
        except ParleyError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return told
