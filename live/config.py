"""The settings of a session, and how the protocol shows them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from engines.base import EngineInfo, Wishes
from live.protocol import PCM
from live.turns import TurnSettings

#: How long Smart Turn's "incomplete" is believed, seconds, by eagerness.
HOLD = {"low": 2.0, "medium": 0.8, "auto": 0.8, "high": 0.5}
#: The most the API knows, tokens: what "inf" comes to.
MOST_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a session.

    Attributes:
        info: The engine's.
        instructions: System prompt; empty takes the engine's own.
        voice: A name from `info.voices`; None takes the first.
        language: Of the speech; None has it detected.
        transcribes: The client is told what was heard.
        turns: When a turn is over.
        responds: A turn that is over is answered without being asked.
        interrupts: Speech stops a reply.
        speaks: Replies are spoken; else text.
        max_tokens: Longest reply.
        temperature: How freely words are chosen.
        top_p: From how many; None: as the engine does.
        history: How many messages the model is shown.
        images_in_history: Earlier messages keep their images.
        wishes: What the session asks of the engine; of its key nothing is ever told.
    """

    info: EngineInfo
    instructions: str = ""
    voice: str | None = None
    language: str | None = "en"
    transcribes: bool = True
    turns: TurnSettings = field(default_factory=TurnSettings)
    responds: bool = True
    interrupts: bool = True
    speaks: bool = True
    max_tokens: int = 256
    temperature: float = 0.7
    top_p: float | None = None
    history: int = 20
    images_in_history: bool = False
    wishes: Wishes = field(default_factory=Wishes)

    def with_engine(self, info: EngineInfo) -> "Config":
        """The same for another engine; what that one lacks falls back to what it has."""
        return replace(
            self,
            info=info,
            # Key and model are for the server of the engine before.
            wishes=self.wishes
            if info.name == self.info.name
            else replace(self.wishes, key="", model=""),
            voice=self.voice if self.voice in voices(info) else None,
            language=self.language if hears(info, self.language) else None,
            speaks=(self.speaks or "text" not in info.tasks) and "sqa" in info.tasks,
        )

    def as_event(self, session_id: str) -> dict[str, Any]:
        """The session as the protocol shows it; a client may send it back as it is."""
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": self.info.name,
            "instructions": self.instructions,
            "output_modalities": ["audio"] if self.speaks else ["text"],
            "max_output_tokens": "inf" if self.max_tokens == MOST_TOKENS else self.max_tokens,
            "tools": [],
            "tool_choice": "auto",
            "truncation": "auto",
            "tracing": None,
            "prompt": None,
            "include": [],
            "audio": {
                "input": {
                    "format": PCM,
                    "noise_reduction": None,
                    "turn_detection": self._turn_detection(),
                    "transcription": {"language": self.language} if self.transcribes else None,
                },
                "output": {
                    "format": PCM,
                    "speed": 1.0,
                    "voice": self.voice or next(iter(voices(self.info)), None),
                },
            },
        }

    def own_as_event(self) -> dict[str, Any]:
        """What `parley.configure` sets, as it shows it."""
        return {
            "interrupt_after_ms": _ms(self.turns.interrupt_after),
            "echo_grace_ms": _ms(self.turns.echo_grace),
            "hold_ms": _ms(self.turns.hold),
            "vad": self.turns.vad,
            "threshold": self.turns.threshold,
            "min_speech_ms": _ms(self.turns.min_speech),
            "padding_ms": _ms(self.turns.prefix_padding),
            "temperature": self.temperature,
            "top_p": self.top_p or 0,
            "block": self.wishes.block,
            "history_limit": self.history,
            "images_in_history": self.images_in_history,
            "style": self.wishes.style,
            "chat_model": self.wishes.model,
        }

    def _turn_detection(self) -> dict[str, Any] | None:
        turns = self.turns
        if turns.kind is None:
            return None
        shown = {
            "type": turns.kind,
            "create_response": self.responds,
            "interrupt_response": self.interrupts,
        }
        if turns.kind == "server_vad":
            return shown | {
                "threshold": turns.threshold,
                "prefix_padding_ms": _ms(turns.prefix_padding),
                "silence_duration_ms": _ms(turns.silence_duration),
            }
        # A hold of the client's own has no name.
        eagerness = next((name for name, hold in HOLD.items() if hold == turns.hold), None)
        return shown | ({"eagerness": eagerness} if eagerness else {})


def voices(info: EngineInfo) -> list[str]:
    """The names of an engine's voices."""
    return [voice.name for voice in info.voices]


def hears(info: EngineInfo, language: str | None) -> bool:
    """Whether an engine recognizes a language; None is one to be detected."""
    return language is None or "*" in info.hears or language in info.hears


def engine_as_event(info: EngineInfo, others: Iterable[EngineInfo]) -> dict[str, Any]:
    """An engine as `parley.engine` shows it, and those that can be chosen."""
    return {
        "name": info.name,
        "title": info.title,
        "can_see": info.can_see,
        "reference": info.reference,
        "wishes": sorted(info.wishes),
        "hears": list(info.hears),
        "speaks": list(info.speaks),
        "voices": [
            {"name": voice.name, "language": voice.language, "description": voice.description}
            for voice in info.voices
        ],
        "notes": info.notes,
        "engines": [
            {"name": other.name, "title": other.title, "can_see": other.can_see} for other in others
        ],
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
