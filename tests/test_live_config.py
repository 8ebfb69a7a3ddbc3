"""What clients set: everything works or is refused by name."""

import json
from dataclasses import replace

import pytest
from openai.types.realtime import (
    AudioTranscription,
    RealtimeAudioConfigInput,
    RealtimeAudioConfigOutput,
    RealtimeResponseCreateParams,
    RealtimeSessionCreateRequest,
)
from openai.types.realtime.realtime_audio_input_turn_detection import SemanticVad, ServerVad
from openai.types.realtime.realtime_response_create_audio_output import Output
from seeing_engine import MOLE, SEER

from engines.base import EngineInfo, Voice
from errors import InputError
from live.config import HOLD, Config
from live.protocol import Configure, ProtocolError, read
from live.unserved import UNSERVED
from live.updates import configured, for_response, read_metadata, updated

TWO_VOICES = EngineInfo(
    name="duo",
    title="Duo",
    tasks=frozenset({"sqa", "text"}),
    hears=("en", "de"),
    speaks=("en",),
    voices=(Voice("low", "en", ""), Voice("high", "en", "")),
    rate=16_000,
)
WRITER = EngineInfo("pen", "Pen", frozenset({"text"}), (), (), (), 16_000)
READER = EngineInfo("reader", "Reader", frozenset({"tts"}), (), ("en",), (), 16_000)
KNOWN = {info.name: info for info in (TWO_VOICES, SEER, MOLE, WRITER, READER)}


def find(name):
    if name is not None and name not in KNOWN:
        raise InputError(f"There is no engine {name!r}.")
    return KNOWN[name or "duo"]


def update(config=Config(TWO_VOICES), **session):
    event = {"type": "session.update", "session": {"type": "realtime", **session}}
    return updated(config, read(json.dumps(event)).session, find)


def response(config=Config(TWO_VOICES), **fields):
    event = {"type": "response.create", "response": fields}
    return for_response(config, read(json.dumps(event)).response)


def refused(act, **fields):
    with pytest.raises(ProtocolError) as error:
        act(**fields)
    assert str(error.value) and error.value.code
    return error.value


def nested(path, value):
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


#: What would change something, where it is not served. Values that are not even in the
#: official types never come this far.
ASKS = {
    "conversation": "none",
    "include": ["item.input_audio_transcription.logprobs"],
    "input": [],
    "parallel_tool_calls": None,
    "prompt": {"id": "pmpt_1"},
    "reasoning": {"effort": "low"},
    "tool_choice": "required",
    "tools": [{"type": "function", "name": "call_mother"}],
    "tracing": "auto",
    "truncation": "disabled",
    "audio.input.noise_reduction": {"type": "near_field"},
    "audio.input.transcription.delay": "low",
    "audio.input.transcription.keywords": ["Parley"],
    "audio.input.transcription.languages": ["en"],
    "audio.input.transcription.model": "whisper-large-v3",
    "audio.input.transcription.prompt": "Expect names.",
    "audio.input.turn_detection.idle_timeout_ms": 5000,
    "audio.output.speed": 1.5,
}
RESPONSE_ONLY = {"conversation", "input"}
IN_RESPONSE = RESPONSE_ONLY | {
    "parallel_tool_calls",
    "prompt",
    "reasoning",
    "tool_choice",
    "tools",
}


def test_every_field_of_the_api_is_served_or_refused_by_name():
    """A newer API may bring fields: each then needs a decision here."""
    served = {
        RealtimeSessionCreateRequest: {"type", "audio", "instructions", "max_output_tokens"}
        | {"model", "output_modalities"},
        RealtimeResponseCreateParams: {"audio", "instructions", "max_output_tokens", "metadata"}
        | {"output_modalities"},
        RealtimeAudioConfigInput: {"format", "transcription", "turn_detection"},
        RealtimeAudioConfigOutput: {"format", "voice"},
        Output: {"format", "voice"},
        AudioTranscription: {"language"},
        ServerVad: {"type", "create_response", "interrupt_response", "prefix_padding_ms"}
        | {"silence_duration_ms", "threshold"},
        SemanticVad: {"type", "create_response", "interrupt_response", "eagerness"},
    }
    places = {
        RealtimeAudioConfigInput: "audio.input.",
        RealtimeAudioConfigOutput: "audio.output.",
        AudioTranscription: "audio.input.transcription.",
        ServerVad: "audio.input.turn_detection.",
        SemanticVad: "audio.input.turn_detection.",
    }
    for model, names in served.items():
        for name in set(model.model_fields) - names:
            assert places.get(model, "") + name in UNSERVED, f"{model.__name__}.{name}"
    assert set(ASKS) == set(UNSERVED)


@pytest.mark.parametrize("path", [p for p in ASKS if p not in RESPONSE_ONLY and ASKS[p]])
def test_what_is_not_served_is_refused_in_a_session(path):
    value = ASKS[path]
    given = nested(path, value)
    if path.startswith("audio.input.turn_detection."):
        given["audio"]["input"]["turn_detection"]["type"] = "server_vad"
    assert refused(update, **given).param == f"session.{path}"


@pytest.mark.parametrize("path", [p for p in ASKS if p in IN_RESPONSE and ASKS[p] is not None])
def test_what_is_not_served_is_refused_in_a_response(path):
    assert refused(response, **nested(path, ASKS[path])).param == f"response.{path}"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((path, None) for path in ASKS if path not in RESPONSE_ONLY and "turn" not in path),
        *((path, value) for path, (values, _) in UNSERVED.items() for value in values),
    ],
)
def test_what_changes_nothing_is_taken(path, value):
    config = Config(TWO_VOICES)
    act = response if path in RESPONSE_ONLY else update
    assert act(config, **nested(path, value)) == config


@pytest.mark.parametrize(
    "path",
    ["temperature", "audio.voice", "audio.output.pitch", "audio.input.turn_detection.eagerness"],
)
def test_unknown_fields_are_refused_by_name(path):
    given = nested(path, "high")
    if "turn_detection" in path:
        given["audio"]["input"]["turn_detection"]["type"] = "server_vad"
    error = refused(update, **given)
    assert (error.code, error.param) == ("unknown_parameter", f"session.{path}")


def test_a_refused_update_changes_nothing():
    config = Config(TWO_VOICES)
    refused(lambda: update(config, instructions="Sing.", tracing="auto"))
    assert config == Config(TWO_VOICES)


@pytest.mark.parametrize(
    "config",
    [
        Config(TWO_VOICES),
        Config(WRITER).with_engine(WRITER),
        update(audio={"input": {"turn_detection": None, "transcription": None}}),
        update(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}}),
        update(
            audio={
                "input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}},
                "output": {"voice": "high"},
            },
            max_output_tokens="inf",
            instructions="Sing.",
        ),
        configured(Config(TWO_VOICES), Configure(type="parley.configure", hold_ms=300)),
    ],
)
def test_a_session_may_be_sent_back_as_it_is(config):
    shown = config.as_event("sess_1")
    assert update(config, **shown).as_event("sess_1") == shown


def test_what_a_session_sets():
    new = update(
        instructions="Sing.",
        output_modalities=["text"],
        max_output_tokens=40,
        audio={
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"language": "de"},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.7,
                    "prefix_padding_ms": 200,
                    "silence_duration_ms": 700,
                    "create_response": False,
                    "interrupt_response": False,
                },
            },
            "output": {"format": {"type": "audio/pcm"}, "voice": {"id": "high"}},
        },
    )
    assert (new.instructions, new.speaks, new.max_tokens) == ("Sing.", False, 40)
    assert (new.language, new.voice) == ("de", "high")
    assert (new.responds, new.interrupts) == (False, False)
    turns = new.turns
    assert (turns.kind, turns.threshold) == ("server_vad", 0.7)
    assert (turns.prefix_padding, turns.silence_duration) == (0.2, 0.7)
    assert update(new, instructions="") == update(new, instructions="")
    assert update(new, instructions="").instructions == ""
    assert update(new, instructions="").voice == "high", "what is not named stays"


def test_language_and_transcription():
    def transcribe(value, config=Config(TWO_VOICES)):
        return update(config, audio={"input": {"transcription": value}})

    assert transcribe({}).language == "en"
    assert transcribe({"language": None}).language is None
    assert transcribe({"language": ""}).language is None
    assert not transcribe(None).transcribes
    assert transcribe({}, transcribe(None)).transcribes
    error = refused(lambda: transcribe({"language": "fr"}))
    assert error.param == "session.audio.input.transcription.language"
    assert transcribe({"language": "fr"}, Config(SEER)).language == "fr", "it hears everything"


def test_eagerness_is_the_hold():
    def detect(config=Config(TWO_VOICES), **fields):
        turns = {"type": "semantic_vad", **fields}
        return update(config, audio={"input": {"turn_detection": turns}})

    for eagerness, hold in HOLD.items():
        assert detect(eagerness=eagerness).turns.hold == hold
    mine = configured(Config(TWO_VOICES), Configure(type="parley.configure", hold_ms=1234))
    assert detect(mine).turns.hold == 1.234
    assert "eagerness" not in mine.as_event("s")["audio"]["input"]["turn_detection"]


@pytest.mark.parametrize("tokens", [0, -1, 4097, 10**12])
@pytest.mark.parametrize(("act", "place"), [(update, "session"), (response, "response")])
def test_tokens_have_a_range(act, place, tokens):
    error = refused(act, max_output_tokens=tokens)
    assert error.param == f"{place}.max_output_tokens"
    assert "4,096" in str(error)


def test_inf_is_the_most():
    assert update(max_output_tokens="inf").max_tokens == 4096
    assert update(max_output_tokens="inf").as_event("s")["max_output_tokens"] == "inf"


@pytest.mark.parametrize("name", ["threshold", "prefix_padding_ms", "silence_duration_ms"])
@pytest.mark.parametrize("value", [-1, 1_000_000])
def test_turns_have_ranges(name, value):
    turns = {"type": "server_vad", name: value}
    error = refused(update, audio={"input": {"turn_detection": turns}})
    assert error.param == f"session.audio.input.turn_detection.{name}"


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize("kind", [{"type": "audio/pcmu"}, {"type": "audio/pcma"}, {"rate": 16_000}])
def test_only_pcm_is_spoken_here(side, kind):
    error = refused(update, audio={side: {"format": kind}})
    assert error.param == f"session.audio.{side}.format"


def test_modalities():
    assert update(output_modalities=["text", "audio"]).speaks, "speech brings its text"
    assert refused(update, output_modalities=[]).param == "session.output_modalities"
    writer = Config(WRITER).with_engine(WRITER)
    assert not writer.speaks
    error = refused(lambda: update(writer, output_modalities=["audio"]))
    assert "Pen does not answer in audio" in str(error)


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"max_output_tokens": "many"}, "session.max_output_tokens"),
        ({"tool_choice": "perhaps"}, "session.tool_choice"),
        ({"audio": {"output": {"voice": {"idd": "x"}}}}, "session.audio.output.voice"),
        (
            {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "x"}}}},
            "session.audio.input.turn_detection.eagerness",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": "x"}}}},
            "session.audio.input.turn_detection.threshold",
        ),
        ({"audio": {"input": {"format": "pcm16"}}}, "session.audio.input.format"),
        ({"type": "transcription"}, "session.type"),
        ({"type": "else"}, "session.type"),
        ({"type": None}, "session.type"),
    ],
)
def test_wrong_types_name_the_field_as_the_client_does(sent, param):
    assert refused(update, **sent).param == param


def test_a_missing_field_is_named():
    with pytest.raises(ProtocolError) as error:
        read('{"type": "session.update", "session": {}}')
    assert error.value.param == "session.type"


# --- engines ---------------------------------------------------------------------------------


def test_another_engine():
    config = Config(TWO_VOICES, voice="high", language="de", instructions="Sing.")
    new = update(config, model="mole")
    assert (new.info, new.voice, new.language) == (MOLE, None, "de")
    assert new.instructions == "Sing."
    assert new.as_event("s")["model"] == "mole"
    assert new.as_event("s")["audio"]["output"]["voice"] == "gruff"
    back = update(Config(SEER, language="fr"), model="default")
    assert (back.info, back.language) == (TWO_VOICES, None)
    assert update(new, model="mole") is not None
    assert not update(config, model="pen").speaks, "it only writes"


def test_voice_and_engine_at_once():
    assert update(model="mole", audio={"output": {"voice": "gruff"}}).voice == "gruff"
    error = refused(update, model="mole", audio={"output": {"voice": "high"}})
    assert error.param == "session.audio.output.voice"
    assert "gruff" in str(error)


def test_the_default_voice_is_always_valid():
    config = update(model="mole", audio={"output": {"voice": "gruff"}})
    assert update(config, audio={"output": {"voice": "default"}}).voice is None
    assert update(audio={"output": {"voice": "default"}}).voice is None


def test_engines_that_are_not_there():
    assert refused(update, model="gpt-realtime").param == "session.model"
    assert "holds no conversations" in str(refused(update, model="reader"))


# --- single responses, and our own -----------------------------------------------------------


def test_what_a_response_sets():
    config = Config(TWO_VOICES, instructions="Speak.")
    new = response(
        config,
        instructions="Sing.",
        output_modalities=["text"],
        max_output_tokens=5,
        audio={"output": {"voice": "high"}},
    )
    assert (new.instructions, new.speaks, new.max_tokens, new.voice) == ("Sing.", False, 5, "high")
    assert for_response(config, None) == config == response(config)
    error = refused(response, audio={"output": {"voice": "nobody"}})
    assert error.param == "response.audio.output.voice"


@pytest.mark.parametrize(
    "metadata",
    [{str(n): "" for n in range(17)}, {"n" * 65: ""}, {"name": "v" * 513}],
    ids=["entries", "name", "value"],
)
def test_metadata_is_bounded(metadata):
    given = RealtimeResponseCreateParams(metadata=metadata)
    with pytest.raises(ProtocolError, match="16 entries"):
        read_metadata(given)
    assert read_metadata(RealtimeResponseCreateParams(metadata={"a": "b"})) == {"a": "b"}
    assert read_metadata(RealtimeResponseCreateParams()) is None


def configure(config=Config(TWO_VOICES), **fields):
    return configured(config, read(json.dumps({"type": "parley.configure", **fields})))


def test_own_settings():
    assert Config(TWO_VOICES).own_as_event() == {
        "interrupt_after_ms": 250,
        "echo_grace_ms": 300,
        "hold_ms": 800,
        "vad": "silero",
        "threshold": 0.5,
        "min_speech_ms": 130,
        "padding_ms": 300,
        "temperature": 0.7,
        "top_p": 0,
        "block": 0,
        "history_limit": 20,
        "images_in_history": False,
        "style": "",
        "chat_model": "",
    }
    mine = {
        "interrupt_after_ms": 400,
        "echo_grace_ms": 0,
        "hold_ms": 1500,
        "vad": "webrtc",
        "threshold": 0.6,
        "min_speech_ms": 200,
        "padding_ms": 500,
        "temperature": 0.0,
        "top_p": 0.9,
        "block": 16,
        "history_limit": 0,
        "images_in_history": True,
        "style": "in a whisper",
        "chat_model": "big",
    }
    assert configure(**mine).own_as_event() == mine
    assert configure(configure(**mine), hold_ms=900).own_as_event() == mine | {"hold_ms": 900}
    assert configure(configure(**mine)).own_as_event() == mine
    assert configure(**mine).wishes.block == 16
    assert configure(**mine).with_engine(replace(TWO_VOICES, name="another")).wishes.block == 16
    own = configure(configure(**mine), top_p=0, block=0)
    assert own.top_p is None and own.wishes.block == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interrupt_after_ms", -1),
        ("interrupt_after_ms", 2001),
        ("echo_grace_ms", 5001),
        ("hold_ms", 199),
        ("hold_ms", 8001),
        ("hold_ms", "long"),
        ("vad", "kaldi"),
        ("threshold", 0),
        ("threshold", 0.96),
        ("min_speech_ms", 29),
        ("padding_ms", 2001),
        ("temperature", 2.1),
        ("top_p", 1.1),
        ("block", 17),
        ("block", -8),
        ("history_limit", 201),
        ("history_limit", 1.5),
        ("images_in_history", "yes"),
        ("holdms", 500),
    ],
)
def test_own_settings_have_ranges(name, value):
    error = refused(configure, **{name: value})
    assert error.param == name


def test_a_key_is_for_one_server_and_never_told():
    config = configure(key="sk-secret", style="softly", chat_model="big")
    assert config.wishes.key == "sk-secret"
    shown = json.dumps([config.own_as_event(), config.as_event("s")]) + repr(config)
    assert "sk-secret" not in shown
    other = config.with_engine(replace(TWO_VOICES, name="another"))
    assert (other.wishes.key, other.wishes.model, other.wishes.style) == ("", "", "softly")
    assert config.with_engine(TWO_VOICES).wishes == config.wishes


def test_a_key_that_is_meant_for_another_engine_is_refused():
    assert configure(key="sk-secret", engine=TWO_VOICES.name).wishes.key == "sk-secret"
    error = refused(configure, key="sk-secret", engine="another")
    assert error.param == "engine"
    assert "sk-secret" not in str(error)


def test_a_key_that_is_refused_is_not_shown():
    with pytest.raises(ProtocolError) as told:
        configure(key="sk-secret" * 1000)
    assert "sk-secret" not in str(told.value)
