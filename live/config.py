"""What a client has set for its session."""

from dataclasses import dataclass, field, replace
from typing import Any

from openai.types import realtime

from engines.base import EngineInfo
from live.items import Item
from live.protocol import PCM, RATE, ProtocolError, new_id, read_audio
from live.turns import TurnSettings
from speech.pcm import Audio

#: What a client may call the engine that the server has selected.
MODEL = "default"
#: Longest reply that can be asked for, tokens, and longest id of an item.
MOST_TOKENS, MOST_ID = 4096, 128
#: How long Smart Turn's "incomplete" is believed, seconds, by eagerness.
HOLD = {"low": 2.0, "medium": 0.8, "auto": 0.8, "high": 0.5}


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a session.

    Attributes:
        info: The engine's.
        instructions: System prompt; empty takes the engine's own.
        voice: A name from `info.voices`; None takes the first.
        language: Of the speech; None has it detected.
        turns: When a turn is over.
        responds: A turn that is over is answered without being asked.
        interrupts: Speech stops a reply.
        speaks: Replies are spoken; else text.
        max_tokens: Longest reply.
        history: How many messages the model is shown.
    """

    info: EngineInfo
    instructions: str = ""
    voice: str | None = None
    language: str | None = "en"
    turns: TurnSettings = field(default_factory=TurnSettings)
    responds: bool = True
    interrupts: bool = True
    speaks: bool = True
    max_tokens: int = 256
    history: int = 20

    def updated(self, session: Any) -> "Config":
        """The settings after a `session.update`; what it does not name stays.

        Raises:
            ProtocolError: If a value is not to be had here.
        """
        if session.type != "realtime":
            raise ProtocolError("Only realtime sessions are served.", "invalid_value")
        new = self
        if session.instructions is not None:
            new = replace(new, instructions=session.instructions)
        if session.output_modalities:
            new = replace(new, speaks="audio" in session.output_modalities)
        if isinstance(session.max_output_tokens, int):
            if not 1 <= session.max_output_tokens <= MOST_TOKENS:
                raise ProtocolError(
                    f"A reply has from 1 to {MOST_TOKENS} tokens.",
                    "invalid_value",
                    param="session.max_output_tokens",
                )
            new = replace(new, max_tokens=session.max_output_tokens)
        if session.audio and session.audio.output:
            new = new._with_output(session.audio.output)
        if session.audio and session.audio.input:
            new = new._with_input(session.audio.input)
        return new

    def _with_output(self, output: realtime.RealtimeAudioConfigOutput) -> "Config":
        _check_format(output.format, "session.audio.output.format")
        if output.voice is None:
            return self
        voice = output.voice if isinstance(output.voice, str) else output.voice.id
        names = [known.name for known in self.info.voices]
        if voice not in names:
            raise ProtocolError(
                f"There is no voice {voice!r}. Voices: {', '.join(names)}.",
                "invalid_value",
                param="session.audio.output.voice",
            )
        return replace(self, voice=voice)

    def _with_input(self, given: realtime.RealtimeAudioConfigInput) -> "Config":
        _check_format(given.format, "session.audio.input.format")
        new = self
        if given.transcription and given.transcription.language:
            new = replace(new, language=given.transcription.language)
        if "turn_detection" not in given.model_fields_set:
            return new
        wanted = given.turn_detection
        if wanted is None:
            return replace(new, turns=replace(new.turns, kind=None), responds=False)
        turns = replace(new.turns, kind=wanted.type)
        if wanted.type == "server_vad":
            turns = replace(
                turns,
                threshold=_or(wanted.threshold, turns.threshold),
                prefix_padding=_or(wanted.prefix_padding_ms, turns.prefix_padding * 1000) / 1000,
                silence_duration=_or(wanted.silence_duration_ms, turns.silence_duration * 1000)
                / 1000,
            )
        else:
            turns = replace(turns, hold=HOLD[wanted.eagerness or "auto"])
        return replace(
            new,
            turns=turns,
            responds=_or(wanted.create_response, True),
            interrupts=_or(wanted.interrupt_response, True),
        )

    def item(self, given: Any) -> Item:
        """An item as a client creates it.

        Raises:
            ProtocolError: If it is none that can be said here.
        """
        if getattr(given, "type", None) != "message":
            raise ProtocolError(
                "Only messages can be created here.", "invalid_value", param="item.type"
            )
        if given.id and len(given.id) > MOST_ID:
            raise ProtocolError(
                f"The id of an item has at most {MOST_ID} characters.",
                "invalid_value",
                param="item.id",
            )
        texts: list[str] = []
        audio: Audio | None = None
        for part in given.content:
            if part.type == "input_image" and not self.info.can_see:
                raise ProtocolError(
                    f"{self.info.title} cannot see images.", "invalid_value", param="item.content"
                )
            if part.type == "input_audio" and part.audio:
                audio = Audio.from_pcm16(read_audio(part.audio), RATE)
            texts.append(part.text or getattr(part, "transcript", None) or "")
        text = "\n".join(filter(None, texts))
        if not text and audio is None:
            raise ProtocolError("This item is empty.", "invalid_value", param="item.content")
        return Item(
            given.role, text, spoken=audio is not None, audio=audio, id=given.id or new_id("item")
        )

    def as_event(self, session_id: str) -> dict[str, Any]:
        """The session as the protocol shows it."""
        turns = self.turns
        detection: dict[str, Any] | None = None
        if turns.kind is not None:
            detection = {
                "type": turns.kind,
                "create_response": self.responds,
                "interrupt_response": self.interrupts,
            }
        if turns.kind == "server_vad" and detection is not None:
            detection |= {
                "threshold": turns.threshold,
                "prefix_padding_ms": round(turns.prefix_padding * 1000),
                "silence_duration_ms": round(turns.silence_duration * 1000),
            }
        voice = self.voice or self.info.voices[0].name
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": MODEL,
            "instructions": self.instructions,
            "output_modalities": ["audio"] if self.speaks else ["text"],
            "max_output_tokens": self.max_tokens,
            "audio": {
                "input": {
                    "format": PCM,
                    "turn_detection": detection,
                    "transcription": {"language": self.language} if self.language else {},
                },
                "output": {"format": PCM, "voice": voice},
            },
        }


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _check_format(given: Any, place: str) -> None:
    if given is None:
        return
    if given.type not in (None, "audio/pcm") or getattr(given, "rate", None) not in (None, RATE):
        raise ProtocolError(
            f"Audio here is PCM16 at {RATE} Hz, nothing else.", "invalid_value", param=place
        )
