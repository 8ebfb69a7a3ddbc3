"""The messages of a chat request, as a turn and the dialogue before it."""

import base64
import binascii
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from engines.images import Image
from engines.messages import Conversation, Message, Turn
from rest.problems import Problem, blaming
from rest.said import Said
from rest.uploads import read_sound
from services import Services
from speech.pcm import Audio, concatenate

#: How data URLs of images begin.
DATA_URLS = ("data:image/jpeg;base64", "data:image/png;base64", "data:image/jpg;base64")

ROLES: dict[str, Literal["user", "assistant", "system"]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}

Listen = Callable[[Audio], str]
"""Recognizes speech of an earlier message."""


class Spoken(BaseModel):
    """A spoken reply by its id."""

    id: str


class Given(BaseModel):
    """A message as clients send it."""

    model_config = ConfigDict(extra="allow")

    role: str
    content: str | list[dict[str, Any]] | None = None
    audio: Spoken | None = None


@dataclass
class _Content:
    """What is in one message."""

    texts: list[str] = field(default_factory=list)
    sounds: list[Audio] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(filter(None, self.texts))

    @property
    def sound(self) -> Audio | None:
        return concatenate(self.sounds) if self.sounds else None


class Reader:
    """Reads the messages of one request.

    Args:
        services: Their limits hold.
        said: Earlier spoken replies.
        listen: Recognizes what a person said in earlier messages.
    """

    def __init__(self, services: Services, said: Said, listen: Listen) -> None:
        self._services = services
        self._said = said
        self._listen = listen

    def read(self, messages: list[Given]) -> tuple[Turn, Conversation]:
        """The last message as a turn, all before it as a dialogue.

        Raises:
            Problem: About the first thing in them that cannot be used.
        """
        if not messages or messages[-1].role != "user":
            raise Problem(
                "The last message has to be the user's.", code="invalid_value", param="messages"
            )
        system: list[str] = []
        history: list[Message] = []
        for number, message in enumerate(messages[:-1]):
            place = f"messages[{number}]"
            role = _role(message, place)
            content = self._content(message, place)
            if role == "system":
                system.append(content.text)
            else:
                history.append(Message(role, self._words(content, place), tuple(content.images)))
        place = f"messages[{len(messages) - 1}]"
        last = self._content(messages[-1], place)
        if not (last.text.strip() or last.sounds or last.images):
            raise Problem("This message is empty.", code="invalid_value", param=place)
        with blaming(place):
            text = self._services.text(last.text) if last.text.strip() else ""
        # A client sends what it wants to be read, no more.
        conversation = Conversation("\n\n".join(system), tuple(history), max(1, len(history)))
        return Turn(last.sound, text, tuple(last.images)), conversation

    def _words(self, content: _Content, place: str) -> str:
        """An earlier message in writing."""
        with blaming(place):
            heard = self._listen(content.sound) if content.sound else ""
        return Turn(text=content.text).question(heard)

    def _content(self, message: Given, place: str) -> _Content:
        content = _Content()
        if message.audio is not None:
            text = self._said.get(message.audio.id)
            if text is None:
                raise Problem(
                    "Nobody knows this spoken reply any more. Send its text as content.",
                    code="audio_not_found",
                    param=f"{place}.audio.id",
                )
            content.texts.append(text)
        if isinstance(message.content, str):
            content.texts.append(message.content)
        for number, part in enumerate(message.content or ()):
            if isinstance(part, dict):
                self._take(part, f"{place}.content[{number}]", content)
        return content

    def _take(self, part: dict[str, Any], place: str, content: _Content) -> None:
        match part:
            case {"type": "text", "text": str(text)}:
                content.texts.append(text)
            case {"type": "refusal", "refusal": str(text)}:
                content.texts.append(text)
            case {"type": "input_audio", "input_audio": {"data": str(data)}}:
                with blaming(place):
                    clip = read_sound(self._services, io.BytesIO(_bytes(data, place)))
                content.sounds.append(clip.audio)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                with blaming(place):
                    content.images.append(Image(_image(url, place)))
            case {"type": "text" | "refusal" | "input_audio" | "image_url"}:
                raise Problem("This part is incomplete.", code="invalid_value", param=place)
            case _:
                raise Problem(
                    "This kind of part is not served here: send text, input_audio or image_url.",
                    code="unsupported_content",
                    param=f"{place}.type",
                )


def _role(message: Given, place: str) -> Literal["user", "assistant", "system"]:
    if message.role not in ROLES:
        raise Problem(
            f"There are no messages of {message.role[:40]!r} here, only of {', '.join(ROLES)}.",
            code="invalid_value",
            param=f"{place}.role",
        )
    return ROLES[message.role]


def _image(url: str, place: str) -> bytes:
    head, _, body = url.partition(",")
    if head.lower() not in DATA_URLS:
        raise Problem(
            "Nothing is fetched from addresses here. Send the image itself, as "
            "data:image/jpeg;base64,...",
            code="invalid_image",
            param=place,
        )
    return _bytes(body, place)


def _bytes(text: str, place: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem("This is no base64.", code="invalid_base64", param=place) from error
