"""What clients set: everything works or is refused by name, over the real WebSocket as well."""

import asyncio
import json

import pytest
from live_client import call
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


class Engine:
    def __init__(self, info):
        self.info = info


def find(name):
    if name is not None and name not in KNOWN:
        raise InputError(f"There is no engine {name!r}.")
    return Engine(KNOWN[name or "duo"])


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
    "audio.input.transcription.model": "whisper-1",
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
        "history_limit": 20,
        "images_in_history": False,
    }
    mine = {
        "interrupt_after_ms": 400,
        "echo_grace_ms": 0,
        "hold_ms": 1500,
        "history_limit": 0,
        "images_in_history": True,
    }
    assert configure(**mine).own_as_event() == mine
    assert configure(configure(**mine), hold_ms=900).own_as_event() == mine | {"hold_ms": 900}
    assert configure(configure(**mine)).own_as_event() == mine


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interrupt_after_ms", -1),
        ("interrupt_after_ms", 2001),
        ("echo_grace_ms", 5001),
        ("hold_ms", 199),
        ("hold_ms", 8001),
        ("hold_ms", "long"),
        ("history_limit", 201),
        ("history_limit", 1.5),
        ("images_in_history", "yes"),
        ("holdms", 500),
    ],
)
def test_own_settings_have_ranges(name, value):
    error = refused(configure, **{name: value})
    assert error.param == name


# --- over the line ---------------------------------------------------------------------------


async def ask(caller, text="What now?", **response):
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await caller.send(type="conversation.item.create", item=item)
    done = len(caller.of("response.done"))
    await caller.send(type="response.create", **({"response": response} if response else {}))
    return (await caller.wait("response.done", done + 1)).response


async def set_session(caller, **session):
    count = len(caller.of("session.updated"))
    await caller.send(type="session.update", session={"type": "realtime", **session})
    return (await caller.wait("session.updated", count + 1)).session


def test_switching_engines(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            begin = await caller.wait("parley.engine")
            created = caller.of("session.created")[0].session
            error = await caller.refused(
                type="session.update", session={"type": "realtime", "model": "nobody"}
            )
            await set_session(caller, model="seer", output_modalities=["text"])
            first = await ask(caller)
            updated = await set_session(caller, model="mole")
            second = await ask(caller)
            await set_session(caller, model="mole")
            back = await set_session(caller, model="default")
            return caller, begin, created, error, first, updated, second, back

    caller, begin, created, error, first, updated, second, back = asyncio.run(converse())
    kinds = [event.type for event in caller.events]
    assert kinds[:2] == ["session.created", "parley.engine"]
    assert begin.name == created.model == "embedded"
    assert (begin.can_see, begin.can_clone, begin.speaks) == (False, False, ["en"])
    assert begin.voices[0]["name"] == created.audio.output.voice
    assert [engine["name"] for engine in begin.engines] == ["embedded", "seer", "mole"]
    assert [engine["can_see"] for engine in begin.engines] == [False, True, False]
    assert (error.code, error.param) == ("model_not_found", "session.model")
    assert "seer" in error.message
    assert first.output[0].content[0].text == "Seer: I see 0: nothing. 0 messages."
    assert (updated.model, updated.audio.output.voice) == ("mole", "gruff")
    assert second.output[0].content[0].text == "Mole: I see 0: nothing. 2 messages."
    assert back.model == "embedded"
    names = [event.name for event in caller.of("parley.engine")]
    assert names == ["embedded", "seer", "mole", "embedded"], "no news where nothing changes"


def test_a_reply_under_way_is_interrupted_by_a_switch(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await set_session(caller, model="seer", instructions="Words " * 40)
            content = [{"type": "input_text", "text": "Go."}]
            item = {"type": "message", "role": "user", "content": content}
            await caller.send(type="conversation.item.create", item=item)
            await caller.send(type="response.create")
            await caller.wait("response.output_audio.delta", 2)
            await set_session(caller, model="mole")
            done = await caller.wait("response.done")
            again = await ask(caller, max_output_tokens=1)
            return done.response, again

    done, again = asyncio.run(converse())
    assert done.status == "cancelled"
    assert again.status == "completed"
    assert again.output[0].content[0].transcript == "Mole:"


def test_a_response_with_settings_of_its_own(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await set_session(caller, model="seer", instructions="Mine.")
            own = await ask(
                caller,
                instructions="Yours.",
                output_modalities=["text"],
                metadata={"number": "one"},
            )
            usual = await ask(caller, output_modalities=["text"])
            error = await caller.refused(type="response.create", response={"conversation": "none"})
            created = caller.of("response.created")[0].response
            return own, usual, created, error

    own, usual, created, error = asyncio.run(converse())
    assert own.output[0].content[0].text.endswith("Yours.")
    assert own.metadata == created.metadata == {"number": "one"}
    assert usual.output[0].content[0].text.endswith("Mine.")
    assert usual.metadata is None
    assert error.param == "response.conversation"


def test_a_turn_committed_by_hand_is_answered_as_the_response_says(seeing_url, question):
    """It is guessed at when it is committed, under the settings of the session."""

    async def converse():
        async with call(seeing_url) as caller:
            await set_session(
                caller,
                model="seer",
                instructions="Mine.",
                output_modalities=["text"],
                audio={"input": {"turn_detection": None}},
            )
            for number, response in enumerate(
                [{}, {"instructions": "Yours.", "metadata": {"a": "b"}}], 1
            ):
                caller.say(question)
                await caller.said()
                await caller.send(type="input_audio_buffer.commit")
                await caller.wait("input_audio_buffer.committed", number)
                await caller.send(type="response.create", response=response)
                await caller.wait("response.done", number)
            # What is set between the commit and the request counts, too.
            caller.say(question)
            await caller.said()
            await caller.send(type="input_audio_buffer.commit")
            await caller.wait("input_audio_buffer.committed", 3)
            await set_session(caller, model="mole")
            await caller.send(type="response.create")
            await caller.wait("response.done", 3)
            return caller

    caller = asyncio.run(converse())
    texts = [event.response.output[0].content[0].text for event in caller.of("response.done")]
    assert texts[0].endswith("Mine.")
    assert texts[1].endswith("Yours.")
    assert texts[2].startswith("Mole")
    assert caller.of("response.done")[1].response.metadata == {"a": "b"}
    heard = caller.of("conversation.item.input_audio_transcription.completed")
    assert [event.transcript for event in heard] == ["Why is the sky blue?"] * 3
    assert not caller.of("error")


def test_configure_over_the_line(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await caller.send(type="parley.configure", hold_ms=1000, history_limit=2)
            set_so = await caller.wait("parley.configured")
            error = await caller.refused(
                type="parley.configure", hold_ms=900, echo_grace_ms=10**6, event_id="mine"
            )
            await caller.send(type="parley.configure", event_id="other")
            still = await caller.wait("parley.configured", 2)
            await set_session(caller, model="seer", output_modalities=["text"])
            answers = [await ask(caller) for _ in range(3)]
            return set_so, error, still, answers[-1]

    set_so, error, still, answer = asyncio.run(converse())
    assert (set_so.hold_ms, set_so.history_limit, set_so.images_in_history) == (1000, 2, False)
    assert (error.param, error.event_id) == ("echo_grace_ms", "mine")
    assert still.hold_ms == 1000, "what is refused changes nothing"
    assert answer.output[0].content[0].text.endswith("2 messages.")


def test_settings_change_while_somebody_speaks(seeing_url, question):
    """The word being spoken is not lost, and time goes on."""

    async def converse():
        async with call(seeing_url) as caller:
            await set_session(caller, model="seer", output_modalities=["text"])
            caller.say(question)
            await caller.wait("input_audio_buffer.speech_started")
            await caller.send(type="parley.configure", interrupt_after_ms=300, hold_ms=700)
            turns = {"type": "semantic_vad", "eagerness": "high"}
            await set_session(caller, audio={"input": {"turn_detection": turns}})
            await caller.wait("response.done")
            return caller

    caller = asyncio.run(converse())
    (heard,) = caller.of("conversation.item.input_audio_transcription.completed")
    assert heard.transcript == "Why is the sky blue?"
    (started,) = caller.of("input_audio_buffer.speech_started")
    (stopped,) = caller.of("input_audio_buffer.speech_stopped")
    assert stopped.audio_end_ms - started.audio_start_ms > 500


def test_no_transcripts_for_those_who_want_none(seeing_url, question):
    async def converse():
        async with call(seeing_url) as caller:
            shown = await set_session(
                caller,
                model="seer",
                output_modalities=["text"],
                audio={"input": {"transcription": None}},
            )
            caller.say(question)
            done = await caller.wait("response.done")
            await ask(caller)
            return caller, shown, done.response

    caller, shown, _ = asyncio.run(converse())
    assert shown.audio.input.transcription is None
    assert not [e for e in caller.events if "transcription" in e.type]
    last = caller.of("response.done")[-1].response
    assert last.output[0].content[0].text.endswith("2 messages."), "the history has the words"
