"""Engines on other machines, as people set them up: a TOML file, or three settings.

    [qwen]                          # the engine's name; --engine qwen
    title = "Qwen3 on the cluster"

    [qwen.chat]
    url = ["http://gpu1:8000/v1", "http://gpu2:8000/v1"]
    model = "Qwen/Qwen3-8B"
    key_env = "QWEN_API_KEY"        # the key is in the environment, never in this file

    [qwen.synthesizer]
    url = "http://gpu3:8091/v1"
    model = "bosonai/higgs-audio-v2-generation-3B-base"
    voices = ["belinda"]

A part that is left out is an embedded one.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from engines.remote.address import Remote
from errors import InputError
from settings import Settings

#: Where the file is unless the settings say otherwise, in the data folder.
FILE = "engines.toml"
#: What `response_format=pcm` is where nobody says otherwise, Hz.
PCM_RATE = 24_000
#: The voice that a conversation elsewhere has unless another one is named.
DEFAULT_VOICE = "default"
#: The engine that the short settings make.
SHORT = "remote"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Service(_Table):
    """Where a part lies.

    Attributes:
        url: Base address, or several, of which the first that answers is used.
        model: Its name there.
        key_env: Environment variable that holds the API key.
        timeout: Longest silence of the server, seconds.
        extra: Fields of every request beside the usual ones.
    """

    url: tuple[str, ...]
    model: str = ""
    key_env: str = ""
    timeout: float = Field(60.0, gt=0, le=3600)
    extra: dict[str, Any] = Field(default_factory=dict)

    @field_validator("url", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _checked(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("an address begins with http:// or https://")
        if not value:
            raise ValueError("an address is missing")
        return tuple(url.rstrip("/") for url in value)

    @property
    def remote(self) -> Remote:
        """The service, with its key from the environment."""
        return Remote(self.url, os.environ.get(self.key_env, ""), self.timeout, self.extra)


class ChatService(Service):
    """A chat model.

    Attributes:
        sees: It takes images.
        reasons_first: Its answers begin with reasoning without an opening tag.
    """

    sees: bool = False
    reasons_first: bool = False


class RecognizerService(Service):
    """A recognizer.

    Attributes:
        hears: ISO 639-1 codes; "*" for many.
    """

    model: str = "whisper-1"
    hears: tuple[str, ...] = ("*",)


class SynthesizerService(Service):
    """A synthesizer.

    Attributes:
        voices: Their names there; the first is the default.
        speaks: ISO 639-1 codes.
        rate: Of the PCM that it sends, unless that says otherwise, Hz.
        clones: It takes `ref_audio` and `ref_text`, as vLLM-Omni does.
    """

    model: str = "tts-1"
    voices: tuple[str, ...] = Field(("alloy",), min_length=1)
    speaks: tuple[str, ...] = ("*",)
    rate: int = Field(PCM_RATE, ge=8000, le=192_000)
    clones: bool = False


class RealtimeService(Service):
    """A whole conversation over `/v1/realtime`."""

    model: str = "default"
    voices: tuple[str, ...] = Field((DEFAULT_VOICE,), min_length=1)
    sees: bool = False


class Engine(_Table):
    """An engine with parts on other machines.

    Attributes:
        name: Stable identifier.
        title: Name for people.
        notes: Plain words on its limits.
        chat: A service, or the name of a chat model of the catalog.
        recognizer: Likewise.
        synthesizer: Likewise.
        realtime: All of it in one; then there are no parts.
    """

    name: str = ""
    title: str = ""
    notes: str = ""
    chat: ChatService | str = "embedded"
    recognizer: RecognizerService | str = "embedded"
    synthesizer: SynthesizerService | str = "embedded"
    realtime: RealtimeService | None = None

    @model_validator(mode="after")
    def _is_remote(self) -> "Engine":
        parts = {"chat", "recognizer", "synthesizer"} & self.model_fields_set
        if self.realtime is not None and parts:
            raise ValueError("an engine over realtime has no parts of its own")
        if self.realtime is None and not parts:
            raise ValueError("chat, recognizer, synthesizer or realtime is missing")
        return self

    @property
    def services(self) -> tuple[Service, ...]:
        """All that lies elsewhere; the key of a session is for the first."""
        parts = (self.realtime, self.chat, self.synthesizer, self.recognizer)
        return tuple(part for part in parts if isinstance(part, Service))

    def takes_key(self, service: Service) -> bool:
        """Whether the key of a session is meant for this part, too."""
        return service.remote.is_at(self.services[0].remote)

    @property
    def called(self) -> str:
        """Its title, or where it lies."""
        host = next((urlsplit(service.url[0]).hostname for service in self.services), None)
        return self.title or (f"{self.name} ({host})" if host else self.name)


def engines(settings: Settings) -> tuple[Engine, ...]:
    """The engines that are set up.

    Raises:
        InputError: If the file cannot be used; says where and why.
    """
    short = _short(settings)
    path = settings.engines or settings.data / FILE
    if settings.engines is None and not path.exists():
        return short
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The engines in {path} cannot be read: {error}") from error
    return short + tuple(_engine(path, name, table) for name, table in tables.items())


def _engine(path: Path, name: str, table: object) -> Engine:
    try:
        if not _NAME.fullmatch(name) or not isinstance(table, Mapping):
            raise InputError(
                f"{path}: [{name}] is no engine. Names have small letters, digits and hyphens."
            )
        return Engine.model_validate({**table, "name": name})
    except ValidationError as error:
        # Not as pydantic writes it: that would show what was typed, which may be a key.
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in (name, *problem["loc"]))
        raise InputError(f"{path}: {place}: {problem['msg']}") from None


def _short(settings: Settings) -> tuple[Engine, ...]:
    if not settings.chat_url:
        return ()
    chat = ChatService(
        url=tuple(filter(None, settings.chat_url.split(","))),
        model=settings.chat_name,
        key_env="PARLEY_CHAT_KEY",
        sees=settings.chat_sees,
    )
    return (Engine(name=SHORT, chat=chat),)
