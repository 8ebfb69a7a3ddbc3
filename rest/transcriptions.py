"""`/v1/audio/transcriptions`: speech to text."""

import math
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from engines.base import Cancel, EngineInfo
from engines.messages import Event, Span, Transcript
from rest.answers import SSE, sse, streamed, told, whole
from rest.bodies import Body, fields, read_form
from rest.engines import Engines
from rest.problems import Problem, blaming
from rest.subtitles import cues, srt, vtt
from rest.uploads import read_sound
from services import Services
from speech.files import Clip

NEUTRAL: dict[str, tuple[Any, ...]] = {"chunking_strategy": ("auto",)}


class Wanted(Body):
    """How a file is to be transcribed."""

    language: str | None = Field(None, max_length=10)
    prompt: str = ""
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"] = "json"
    temperature: float = 0.0
    timestamp_granularities: tuple[Literal["word", "segment"], ...] = ("segment",)
    stream: bool = False


class Transcriptions:
    """The endpoint."""

    def __init__(self, services: Services, engines: Engines) -> None:
        self._services = services
        self._engines = engines

    async def __call__(self, request: Request) -> Response:
        """Transcribe a file."""
        form = await read_form(request, self._services.settings.max_upload)
        try:
            wanted, content = _read(form)
            info = self._engines.able(wanted.model, "asr", "transcribe")
            with blaming("file"):
                clip = await run_in_threadpool(read_sound, self._services, content)
        finally:
            await form.close()
        cancel = Cancel()
        events = self._recognized(clip, wanted, info, cancel)
        if wanted.stream:
            return await streamed(request, told(_events(events)), cancel, SSE)
        found = await whole(request, _transcripts(events), cancel)
        return _answer(found, clip, wanted)

    def _recognized(
        self, clip: Clip, wanted: Wanted, info: EngineInfo, cancel: Cancel
    ) -> Iterator[Event]:
        with blaming("file"):
            yield from self._services.transcribe(
                clip.audio,
                engine=info.name,
                language=wanted.language,
                words="word" in wanted.timestamp_granularities,
                prompt=wanted.prompt,
                cancel=cancel,
            )


def _read(form: FormData) -> tuple[Wanted, BinaryIO]:
    given: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != "file":
                raise Problem("Send the sound as file.", code="invalid_value", param=name)
        elif name.endswith("[]"):
            given.setdefault(name[:-2], []).append(value)
        elif value:
            given[name] = value
    wanted = fields(Wanted, given, NEUTRAL)
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        message = "Missing required parameter: file."
        raise Problem(message, code="missing_required_parameter", param="file")
    if wanted.temperature:
        raise Problem(
            "Recognition draws nothing at random here. Leave the temperature at 0.",
            code="unsupported_value",
            param="temperature",
        )
    return wanted, upload.file


def _transcripts(events: Iterator[Event]) -> Iterator[Transcript]:
    return (event for event in events if isinstance(event, Transcript))


def _events(events: Iterator[Event]) -> Iterator[bytes]:
    sent = ""
    for transcript in _transcripts(events):
        # What was sent cannot be taken back; if a recognizer thinks better of it,
        # the last event has the whole.
        if transcript.text.startswith(sent) and len(transcript.text) > len(sent):
            delta = transcript.text[len(sent) :]
            sent = transcript.text
            yield sse({"type": "transcript.text.delta", "delta": delta})
        if transcript.final:
            yield sse({"type": "transcript.text.done", "text": transcript.text})


def _answer(found: Transcript, clip: Clip, wanted: Wanted) -> Response:
    shown = cues(found.spans, found.language)
    match wanted.response_format:
        case "text":
            return PlainTextResponse(f"{found.text}\n")
        case "srt":
            return PlainTextResponse(srt(shown))
        case "vtt":
            return PlainTextResponse(vtt(shown))
    seconds = clip.audio.seconds
    usage = {"type": "duration", "seconds": math.ceil(seconds)}
    if wanted.response_format == "json":
        return JSONResponse({"text": found.text, "usage": usage})
    told: dict[str, Any] = {
        "task": "transcribe",
        "language": found.language or wanted.language or "",
        "duration": round(seconds, 3),
        "text": found.text,
        "usage": usage,
    }
    if "segment" in wanted.timestamp_granularities:
        told["segments"] = [_segment(number, cue) for number, cue in enumerate(shown)]
    if "word" in wanted.timestamp_granularities:
        told["words"] = [
            {"word": span.text, "start": round(span.start, 3), "end": round(span.end, 3)}
            for span in found.spans
        ]
    return JSONResponse(told)


def _segment(number: int, cue: Span) -> dict[str, Any]:
    """A segment as Whisper's own API has it; null is what recognizers here do not tell."""
    text = cue.text.encode()
    return {
        "id": number,
        "seek": round(cue.start * 100),
        "start": round(cue.start, 3),
        "end": round(cue.end, 3),
        "text": cue.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": None,
        "compression_ratio": round(len(text) / len(zlib.compress(text)), 3),
        "no_speech_prob": None,
    }
