"""What clients set: `session.update`, `response.create` and `parley.configure`.

What is asked for works, or is refused by name; nothing is ignored that would
change what happens.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from openai.types.realtime import (
    RealtimeAudioConfigInput,
    RealtimeAudioInputTurnDetection,
    RealtimeResponseCreateParams,
)

from engines.base import EngineInfo, Wishes
from errors import InputError, UnavailableError
from live.config import HOLD, MOST_TOKENS, Config, hears, voices
from live.protocol import Configure, ProtocolError
from live.unserved import check_format, refuse_unserved

#: What a client may call the engine that the server was started with, and its first voice.
DEFAULT = "default"
#: Longest silence and padding of `server_vad`, ms.
MOST_MS = 10_000

#: How much a client may note on a response: entries, characters of a name and of a value.
MOST_METADATA = (16, 64, 512)

Metadata = dict[str, str] | None

Find = Callable[[str | None], EngineInfo]
"""Describes an engine by name, None for the server's own.

Raises `InputError` if there is none, `UnavailableError` if it cannot answer here.
"""


def updated(config: Config, session: Any, find: Find) -> Config:
    """The settings after a `session.update`; what it does not name stays.

    Args:
        config: The settings so far.
        session: `RealtimeSessionCreateRequest`; another kind is refused.
        find: Knows the engines.

    Raises:
        ProtocolError: If a value is not to be had here; it names the field.
    """
    if session.type != "realtime":
        raise ProtocolError(
            "Only realtime sessions are served.", "invalid_value", param="session.type"
        )
    refuse_unserved(session, "session")
    # The library may have other voices by now.
    config = config.with_engine(find(config.info.name))
    if session.model is not None:
        config = _with_engine(config, session.model, find)
    config = _with_answers(config, session, "session")
    if session.audio and session.audio.input:
        config = _with_input(config, session.audio.input)
    return config


def for_response(config: Config, response: RealtimeResponseCreateParams | None) -> Config:
    """The settings of one response, where `response.create` gives it its own.

    Raises:
        ProtocolError: If a value is not to be had here; it names the field.
    """
    if response is None:
        return config
    refuse_unserved(response, "response")
    return _with_answers(config, response, "response")


def read_metadata(response: RealtimeResponseCreateParams | None) -> Metadata:
    """What the client notes on a response, to be given back.

    Raises:
        ProtocolError: If it is too much.
    """
    metadata = response.metadata if response is not None else None
    entries, name, value = MOST_METADATA
    if metadata and (
        len(metadata) > entries
        or max(map(len, metadata)) > name
        or max(map(len, metadata.values())) > value
    ):
        raise ProtocolError(
            f"metadata has at most {entries} entries of {name} and {value} characters.",
            "invalid_value",
            param="response.metadata",
        )
    return metadata


def configured(config: Config, given: Configure) -> Config:
    """The settings after a `parley.configure`.

    Raises:
        ProtocolError: If it is meant for another engine: a key must not go to its server.
    """
    if given.engine is not None and given.engine != config.info.name:
        raise ProtocolError(
            f"This is meant for {given.engine}, but {config.info.name} answers.",
            "invalid_value",
            param="engine",
        )
    turns = config.turns
    return replace(
        config,
        turns=replace(
            turns,
            interrupt_after=_seconds(given.interrupt_after_ms, turns.interrupt_after),
            echo_grace=_seconds(given.echo_grace_ms, turns.echo_grace),
            hold=_seconds(given.hold_ms, turns.hold),
            vad=_or(given.vad, turns.vad),
            threshold=_or(given.threshold, turns.threshold),
            min_speech=_seconds(given.min_speech_ms, turns.min_speech),
            prefix_padding=_seconds(given.padding_ms, turns.prefix_padding),
        ),
        temperature=_or(given.temperature, config.temperature),
        top_p=config.top_p if given.top_p is None else given.top_p or None,
        history=_or(given.history_limit, config.history),
        images_in_history=_or(given.images_in_history, config.images_in_history),
        wishes=Wishes(
            _or(given.style, config.wishes.style),
            _or(given.key, config.wishes.key),
            _or(given.chat_model, config.wishes.model),
            _or(given.block, config.wishes.block),
        ),
    )


def _with_engine(config: Config, name: str, find: Find) -> Config:
    try:
        info = find(None if name == DEFAULT else name)
    except InputError as error:
        raise ProtocolError(str(error), "model_not_found", param="session.model") from error
    except UnavailableError as error:
        raise ProtocolError(str(error), "model_unavailable", param="session.model") from error
    if not info.tasks & {"sqa", "text"}:
        raise ProtocolError(
            f"{info.title} holds no conversations. Choose another engine.",
            "invalid_value",
            param="session.model",
        )
    return config.with_engine(info)


def _with_answers(config: Config, given: Any, place: str) -> Config:
    """What a session and a single response can both set."""
    if given.instructions is not None:
        config = replace(config, instructions=given.instructions)
    if given.output_modalities is not None:
        config = _with_modalities(config, given.output_modalities, place)
    if given.max_output_tokens is not None:
        tokens = MOST_TOKENS if given.max_output_tokens == "inf" else given.max_output_tokens
        _check_range(tokens, 1, MOST_TOKENS, f"{place}.max_output_tokens")
        config = replace(config, max_tokens=tokens)
    if given.audio and given.audio.output:
        output = given.audio.output
        check_format(output.format, f"{place}.audio.output.format")
        if output.voice is not None:
            voice = output.voice if isinstance(output.voice, str) else output.voice.id
            config = _with_voice(config, voice, f"{place}.audio.output.voice")
    return config


def _with_modalities(config: Config, modalities: list[str], place: str) -> Config:
    if not modalities:
        raise ProtocolError(
            "An answer needs a modality: audio, or text.",
            "invalid_value",
            param=f"{place}.output_modalities",
        )
    # Speech always brings its text, so both together are served by audio.
    speaks = "audio" in modalities
    if ("sqa" if speaks else "text") not in config.info.tasks:
        raise ProtocolError(
            f"{config.info.title} does not answer in {'audio' if speaks else 'text'}.",
            "invalid_value",
            param=f"{place}.output_modalities",
        )
    return replace(config, speaks=speaks)


def _with_voice(config: Config, voice: str, place: str) -> Config:
    names = voices(config.info)
    if voice == DEFAULT and voice not in names:
        return replace(config, voice=None)
    if voice not in names:
        raise ProtocolError(
            f"There is no voice {voice!r}. Voices: {', '.join(names) or 'none'}.",
            "invalid_value",
            param=place,
        )
    return replace(config, voice=voice)


def _with_input(config: Config, given: RealtimeAudioConfigInput) -> Config:
    check_format(given.format, "session.audio.input.format")
    named = given.model_fields_set
    if "transcription" in named:
        config = replace(config, transcribes=given.transcription is not None)
    if given.transcription and "language" in given.transcription.model_fields_set:
        config = _with_language(config, given.transcription.language or None)
    if "turn_detection" not in named:
        return config
    if given.turn_detection is None:
        return replace(config, turns=replace(config.turns, kind=None), responds=False)
    return _with_turns(config, given.turn_detection)


def _with_language(config: Config, language: str | None) -> Config:
    if not hears(config.info, language):
        raise ProtocolError(
            f"{config.info.title} does not hear {language!r}. "
            f"It hears: {', '.join(config.info.hears)}.",
            "invalid_value",
            param="session.audio.input.transcription.language",
        )
    return replace(config, language=language)


def _with_turns(config: Config, wanted: RealtimeAudioInputTurnDetection) -> Config:
    assert wanted is not None
    turns = replace(config.turns, kind=wanted.type)
    place = "session.audio.input.turn_detection"
    if wanted.type == "semantic_vad":
        if wanted.eagerness is not None:
            turns = replace(turns, hold=HOLD[wanted.eagerness])
    else:
        _check_range(wanted.threshold, 0, 1, f"{place}.threshold")
        _check_range(wanted.prefix_padding_ms, 0, MOST_MS, f"{place}.prefix_padding_ms")
        _check_range(wanted.silence_duration_ms, 0, MOST_MS, f"{place}.silence_duration_ms")
        turns = replace(
            turns,
            threshold=_or(wanted.threshold, turns.threshold),
            prefix_padding=_seconds(wanted.prefix_padding_ms, turns.prefix_padding),
            silence_duration=_seconds(wanted.silence_duration_ms, turns.silence_duration),
        )
    return replace(
        config,
        turns=turns,
        responds=_or(wanted.create_response, True),
        interrupts=_or(wanted.interrupt_response, True),
    )


def _check_range(value: float | None, least: float, most: float, place: str) -> None:
    if value is not None and not least <= value <= most:
        raise ProtocolError(
            f"{place} must lie between {least:,} and {most:,}, not {value:,}.",
            "invalid_value",
            param=place,
        )


def _seconds(ms: float | None, default: float) -> float:
    return default if ms is None else ms / 1000


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
