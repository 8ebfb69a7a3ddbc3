"""`/v1/chat/completions`: text, speech and images in, text and speech out."""

import secrets
import time
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from engines.base import Cancel, EngineInfo
from engines.messages import Event, Sampling, Transcript
from rest.answers import SSE, streamed, told, whole
from rest.bodies import Body, read_json
from rest.chat_replies import Reply, chunks, completion
from rest.engines import DEFAULT, Engines, Voiced
from rest.messages import Given, Reader
from rest.problems import Problem, blaming
from rest.said import Said
from services import Services
from speech.encoding import Kind
from speech.pcm import Audio

#: What asks for what happens anyway.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "stop": ([], ""),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
}


class Sound(BaseModel):
    """How a reply is to sound; streams are `pcm16`, whatever is asked for."""

    voice: str | dict[str, str] = DEFAULT
    format: Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"] = "wav"


class StreamOptions(BaseModel):
    """What a stream has beside the reply."""

    include_usage: bool = False


Length = Annotated[int, Field(ge=1)]


class Wanted(Body):
    """A chat request."""

    messages: list[Given]
    modalities: tuple[Literal["text", "audio"], ...] = ("text",)
    audio: Sound | None = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: Length | None = None
    max_completion_tokens: Length | None = None
    seed: int | None = Field(None, ge=0)
    language: str = Field("en", max_length=10, description="Of the speech; empty: detected.")


class Chat:
    """The endpoint."""

    def __init__(self, services: Services, engines: Engines) -> None:
        self._services = services
        self._engines = engines
        self._said = Said(services.settings.max_sessions, services.settings.session_ttl)

    async def __call__(self, request: Request) -> Response:
        """Answer the last message."""
        wanted = await read_json(request, Wanted, NEUTRAL)
        spoken = _spoken(wanted)
        if spoken:
            info = self._engines.able(wanted.model, "sqa", "answer by voice")
        else:
            info = self._engines.able(wanted.model, "text", "answer in writing")
        voiced = self._voiced(wanted, info)
        cancel = Cancel()
        events = self._events(wanted, info, voiced, cancel)
        reply = Reply(
            id=f"chatcmpl-{secrets.token_hex(12)}",
            created=int(time.time()),
            model=wanted.model,
            limit=_sampling(wanted, self._services.settings.temperature).max_tokens,
            kind=_kind(wanted) if spoken else None,
            made=voiced.made,
            keep=self._said.keep,
        )
        if wanted.stream:
            usage = wanted.stream_options.include_usage
            return await streamed(request, told(chunks(reply, events, usage=usage)), cancel, SSE)
        return JSONResponse(await whole(request, completion(reply, events), cancel))

    def _voiced(self, wanted: Wanted, info: EngineInfo) -> Voiced:
        voice = wanted.audio.voice if wanted.audio else DEFAULT
        name = voice if isinstance(voice, str) else voice.get("id", "")
        return self._engines.voice(name, info, "audio.voice")

    def _events(
        self, wanted: Wanted, info: EngineInfo, voiced: Voiced, cancel: Cancel
    ) -> Iterator[Event]:
        hears = "*" in info.hears or wanted.language in info.hears
        language = wanted.language or None if hears else None
        listen = partial(self._listen, info, language, cancel)
        reader = Reader(self._services, self._said, listen)
        turn, conversation = reader.read(wanted.messages)
        with blaming("messages"):
            yield from self._services.converse(
                turn,
                conversation,
                voiced.voice,
                engine=info.name,
                sampling=_sampling(wanted, self._services.settings.temperature),
                language=language,
                spoken=_spoken(wanted),
                cancel=cancel,
            )

    def _listen(self, info: EngineInfo, language: str | None, cancel: Cancel, audio: Audio) -> str:
        """What was said in an earlier message."""
        # Systems that answer speech by speech may write nothing down.
        engine = info.name if "asr" in info.tasks else None
        heard = ""
        for event in self._services.transcribe(
            audio, engine=engine, language=language, cancel=cancel
        ):
            if isinstance(event, Transcript):
                heard = event.text
        return heard


def _spoken(wanted: Wanted) -> bool:
    """Whether the reply is to be heard, too."""
    if "text" not in wanted.modalities:
        raise Problem(
            'What is spoken is told in writing, too: modalities is ["text"] or ["text", "audio"].',
            code="unsupported_value",
            param="modalities",
        )
    return "audio" in wanted.modalities


def _kind(wanted: Wanted) -> Kind:
    asked = wanted.audio.format if wanted.audio else "pcm16" if wanted.stream else "wav"
    if wanted.stream and asked != "pcm16":
        raise Problem(
            "Speech is streamed as pcm16. Ask for that, or for no stream.",
            code="unsupported_value",
            param="audio.format",
        )
    return "pcm" if asked == "pcm16" else asked


def _sampling(wanted: Wanted, temperature: float) -> Sampling:
    own = Sampling()
    return Sampling(
        temperature if wanted.temperature is None else wanted.temperature,
        wanted.max_completion_tokens or wanted.max_tokens or own.max_tokens,
        wanted.seed,
        wanted.top_p,
    )
