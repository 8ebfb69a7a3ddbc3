"""Engines on other machines: set up without code, against real servers."""

import logging
import threading

import pytest
from standin import CHAT, StandIn, fails, says

from demos.answers import Answers
from demos.panel import Options
from demos.thread import Ask, Thread
from engines.base import Cancel, Wishes
from engines.cascade import embedded
from engines.cascade.parts import Prompt
from engines.messages import (
    AudioChunk,
    Conversation,
    Finished,
    Sampling,
    TextDelta,
    Transcript,
    Turn,
)
from engines.remote import config
from engines.remote.address import Remote
from engines.remote.chat import RemoteChat
from errors import CancelledError, InputError, UnavailableError
from services import Services
from settings import Settings

KEY = "sk-never-show-me-0123456789"
GREEDY = Sampling(temperature=0.0, max_tokens=24)


def settings(tmp_path, text="", **more):
    file = tmp_path / "engines.toml"
    file.write_text(text)
    return Settings(_env_file=None, warm=False, data=tmp_path, engines=file, **more)


# llama.cpp's own server, with the embedded model


@pytest.fixture(scope="module")
def llama(services):
    """Where the embedded chat model answers over HTTP; it runs as long as the tests here."""
    with services.models.use(embedded.CHAT, cancel=Cancel()) as (chat,):
        yield chat.over_http


@pytest.fixture
def capital(llama):
    chat = RemoteChat(llama)
    yield chat
    chat.close()


def test_llama_cpp_answers(capital):
    said = []
    prompts = [Prompt("user", "What is the capital of France? One word.")]
    usage = capital.reply(prompts, GREEDY, said.append, Cancel())
    assert "Paris" in "".join(said)
    assert usage.prompt_tokens > 5 and usage.reply_tokens > 0
    assert len(capital.choices()) == 1


def test_llama_cpp_stops_within_a_step(capital):
    cancel, said = Cancel(), []

    def take(text):
        said.append(text)
        if len(said) == 3:
            cancel.set()

    prompts = [Prompt("user", "Tell me the history of Rome at length.")]
    with pytest.raises(CancelledError):
        capital.reply(prompts, Sampling(0.0, 400), take, cancel)
    assert len(said) < 20


def test_llama_cpp_says_what_is_too_long(capital):
    with pytest.raises(InputError, match="too long for the chat model"):
        capital.reply([Prompt("user", "word " * 6000)], GREEDY, print, Cancel())


def test_llama_cpp_lets_nobody_in_without_its_key(llama):
    stranger = RemoteChat(Remote(llama.urls, "sk-wrong"))
    with pytest.raises(UnavailableError, match="refuses the API key"):
        stranger.reply([Prompt("user", "Hello.")], GREEDY, print, Cancel())
    stranger.close()


# All parts behind real servers: llama.cpp, and Parley's own API


@pytest.fixture
def away(llama, openai_url, tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_KEY", llama.key)
    text = f"""
        [away.chat]
        url = "{llama.urls[0]}"
        key_env = "LLAMA_KEY"
        [away.recognizer]
        url = "{openai_url}"
        model = "default"
        [away.synthesizer]
        url = "{openai_url}"
        model = "default"
        voices = ["default"]
        [line.realtime]
        url = "{openai_url}"
    """
    with Services(settings(tmp_path, text, engine="away", temperature=0)) as away:
        yield away


def test_ears_mind_and_voice_over_http(away, question):
    asked = away.converse(
        Turn(question), Conversation(), sampling=GREEDY, language="en", cancel=Cancel()
    )
    events = list(asked)
    heard = next(e.text for e in events if isinstance(e, Transcript) and e.final)
    assert heard == "Why is the sky blue?"
    assert "".join(e.text for e in events if isinstance(e, TextDelta))
    sound = sum(e.audio.seconds for e in events if isinstance(e, AudioChunk))
    assert sound > 1
    assert events[-1].timings.first_audio < events[-1].timings.total


def test_a_whole_conversation_over_realtime(away, question):
    before = Conversation().after("My cat is called Biscuit.", "What a lovely name!")
    asked = away.converse(
        Turn(question), before, engine="line", sampling=GREEDY, language="en", cancel=Cancel()
    )
    events = list(asked)
    heard = next(e.text for e in events if isinstance(e, Transcript) and e.final)
    assert heard == "Why is the sky blue?"
    assert "".join(e.text for e in events if isinstance(e, TextDelta)).strip()
    assert sum(e.audio.seconds for e in events if isinstance(e, AudioChunk)) > 1
    assert isinstance(events[-1], Finished)
    named = away.converse(
        Turn(text="What is my cat called?"),
        before,
        engine="line",
        sampling=GREEDY,
        spoken=False,
        cancel=Cancel(),
    )
    assert "Biscuit" in "".join(e.text for e in named if isinstance(e, TextDelta))


def test_a_line_can_be_interrupted(away, question):
    cancel = Cancel()
    with pytest.raises(CancelledError):
        for event in away.converse(Turn(question), Conversation(), engine="line", cancel=cancel):
            if isinstance(event, AudioChunk | TextDelta):
                cancel.set()
    assert not [t for t in threading.enumerate() if t.name.startswith("parley line")]


def test_nobody_at_the_other_end_of_the_line(tmp_path):
    text = '[line.realtime]\nurl = "http://127.0.0.1:9/v1"'
    with Services(settings(tmp_path, text)) as services:
        told = services.converse(Turn(text="Hi."), Conversation(), engine="line", cancel=Cancel())
        with pytest.raises(UnavailableError, match="No server answers"):
            list(told)


# Setting it up


def test_three_settings_are_enough(tmp_path):
    with StandIn() as house:
        house.on(CHAT, says("Yes."))
        given = settings(tmp_path, chat_url=f"http://127.0.0.1:9/v1,{house.url}", chat_name="m")
        with Services(given) as services:
            (info,) = [info for info in services.infos() if info.name == "remote"]
            assert info.wishes == {"key", "model"}
            asked = services.converse(
                Turn(text="Yes?"), Conversation(), engine="remote", spoken=False, cancel=Cancel()
            )
            assert [e.text for e in asked if isinstance(e, TextDelta)] == ["Yes."]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a", "cannot be read"),
        ("[a]\ntitle = 'A'", "chat, recognizer, synthesizer or realtime is missing"),
        ("[a.chat]\nmodel = 'm'", "url: Field required"),
        ("[a.chat]\nurl = 'gpu1:8000'", "an address begins with http"),
        ("[a.chat]\nurl = []", "an address is missing"),
        ("[a.chat]\nurl = 'http://x/v1'\nkye_env = 'K'", "kye_env: Extra inputs"),
        ("['A b'.chat]\nurl = 'http://x/v1'", "is no engine"),
        ("[a]\nchat = 'gpt'", "There is: .*embedded"),
        ("[a.chat]\nurl = 'http://x/v1'\n[a.realtime]\nurl = 'http://x/v1'", "no parts of its own"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        Services(settings(tmp_path, text))


def test_a_key_in_the_file_is_refused_and_not_shown(tmp_path):
    with pytest.raises(InputError) as told:
        Services(settings(tmp_path, f"[a.chat]\nurl = 'http://x/v1'\nkey = '{KEY}'"))
    assert KEY not in str(told.value)


def test_the_key_of_a_session_is_for_one_place(tmp_path):
    text = """
        [a.chat]
        url = "https://one.example/v1"
        [a.synthesizer]
        url = "https://two.example/v1"
        [a.recognizer]
        url = "https://one.example/v1/other"
    """
    (engine,) = config.engines(settings(tmp_path, text))
    assert engine.takes_key(engine.chat) and engine.takes_key(engine.recognizer)
    assert not engine.takes_key(engine.synthesizer)


# Keys and the page


@pytest.mark.parametrize("status", [200, 401, 400])
def test_the_page_never_shows_a_key(tmp_path, caplog, status):
    """Not even if a server sends it back."""
    caplog.set_level(logging.DEBUG)
    with StandIn() as house:
        house.on(CHAT, says("Yes.") if status == 200 else fails(status, f"Bad key: {KEY}"))
        with Services(settings(tmp_path, chat_url=house.url, engine="remote")) as services:
            voice = services.info("remote").voices[0].name
            options = Options("remote", voice, "en", 0.7, 64, "", 20, "", "", KEY, "m", "remote")
            views = list(Answers(services).answer("text", Ask(None, "Hi."), Thread(), options, "s"))
        assert house.of(CHAT)[0].headers["authorization"] == f"Bearer {KEY}"
    shown = "".join(repr(view) for view in views) + repr(options) + caplog.text
    assert "Hi." in shown
    assert KEY not in shown
    assert not any(KEY in file.read_text(errors="ignore") for file in tmp_path.rglob("*.json"))


def test_a_key_counts_only_for_the_engine_it_was_typed_for():
    said = ("heart", "en", 0.7, 64, "", 20, "", "softly", KEY, "m")
    assert Options("remote", *said, "remote").wishes == Wishes("softly", KEY, "m")
    assert Options("another", *said, "remote").wishes == Wishes("softly")
