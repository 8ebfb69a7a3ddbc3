"""`/v1/audio/speech`: text to speech."""

import base64
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from engines.base import Cancel, Wishes
from engines.messages import AudioChunk, Event, Finished, Usage
from rest.answers import SSE, sse, streamed, told
from rest.bodies import Body, read_json
from rest.engines import DEFAULT, Engines
from rest.problems import Problem, blaming
from services import Services
from speech.encoding import MEDIA_TYPES, Encoder, Kind, encoder
from voices.marks import comment

Seed = Annotated[int, Field(ge=0)]


class VoiceId(BaseModel):
    """A voice as clients name those of their own."""

    id: str


class Wanted(Body):
    """What is to be spoken, and how."""

    input: str
    voice: str | VoiceId = DEFAULT
    instructions: str = ""
    response_format: Kind = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"
    seed: Seed | None = None


class Speech:
    """The endpoint; the file is sent while it is made."""

    def __init__(self, services: Services, engines: Engines) -> None:
        self._services = services
        self._engines = engines

    async def __call__(self, request: Request) -> Response:
        """Speak a text."""
        wanted = await read_json(request, Wanted)
        info = self._engines.able(wanted.model, "tts", "read a text aloud")
        name = wanted.voice if isinstance(wanted.voice, str) else wanted.voice.id
        voiced = self._engines.voice(name, info, "voice")
        wishes = Wishes(style=wanted.instructions.strip())
        if wishes and "style" not in info.wishes:
            raise Problem(
                f"{info.title} speaks in one manner. Leave the instructions out, or choose "
                "another model.",
                param="instructions",
            )
        with blaming("input"):
            text = self._services.text(wanted.input)
        cancel = Cancel()
        events = self._services.speak(
            text, voiced.voice, engine=info.name, seed=wanted.seed, wishes=wishes, cancel=cancel
        )
        mark = comment(voiced.made) if voiced.made else ""
        coder = encoder(wanted.response_format, speed=wanted.speed, comment=mark)
        if wanted.stream_format == "sse":
            return await streamed(request, told(_events(events, coder)), cancel, SSE)
        kind = MEDIA_TYPES[wanted.response_format]
        return await streamed(request, _file(events, coder), cancel, kind)


def _file(events: Iterator[Event], coder: Encoder) -> Iterator[bytes]:
    with blaming("input"):
        for event in events:
            if isinstance(event, AudioChunk) and (piece := coder.add(event.audio)):
                yield piece
        yield coder.finish()


def _events(events: Iterator[Event], coder: Encoder) -> Iterator[bytes]:
    usage = Usage()

    def delta(piece: bytes) -> bytes:
        return sse({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})

    with blaming("input"):
        for event in events:
            match event:
                case AudioChunk():
                    if piece := coder.add(event.audio):
                        yield delta(piece)
                case Finished():
                    usage = event.usage
    if piece := coder.finish():
        yield delta(piece)
    counted = {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.reply_tokens,
        "total_tokens": usage.prompt_tokens + usage.reply_tokens,
    }
    yield sse({"type": "speech.audio.done", "usage": counted})
