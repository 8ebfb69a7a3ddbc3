"""The embedded engine's own promises: fallback, long dialogues, the language rule."""

from dataclasses import replace
from http import HTTPStatus

import httpx2
import pytest

from demos.header import _state
from engines.base import Cancel
from engines.cascade import embedded
from engines.cascade.llama import CONTEXT, Llama
from engines.cascade.parts import Prompt
from engines.cascade.prompts import without_oldest_exchange
from engines.messages import Conversation, Sampling, TextDelta, Transcript, Turn
from errors import InputError, UnavailableError
from services import Services
from settings import Settings
from speech.pcm import Audio
from weights import Store


def test_the_small_chat_model_stands_in_when_the_default_is_to_be_had_from_nowhere(
    services, monkeypatch
):
    """With a real small model; the page is told."""
    real = Store.ensure

    def ensure(store, key, *arguments):
        if key == embedded.DEFAULT_CHAT:
            raise UnavailableError("No source has it.")
        return real(store, key, *arguments)

    monkeypatch.setattr(Store, "ensure", ensure)
    settings = services.settings.model_copy()
    with Services(settings) as fallen:
        events = fallen.converse(
            Turn(text="Say hello."), Conversation(), spoken=False, cancel=Cancel()
        )
        assert any(isinstance(event, TextDelta) for event in events)
        (status,) = [s for s in fallen.models.status() if s.name == embedded.CHAT]
    assert "small chat model" in status.note and "No source has it." in status.note


def test_the_page_shows_that_the_small_model_stands_in(services):
    statuses = [replace(s, state="ready", note="") for s in services.models.status()]
    assert _state(tuple(statuses)) == ("ready", "ready")
    statuses[2] = replace(statuses[2], note="The small chat model answers.")
    assert _state(tuple(statuses)) == ("note", "The small chat model answers.")


@pytest.fixture(scope="module")
def small(services):
    """The small chat model alone: it reads a prompt six times as fast as the default one."""
    path = services.store.ensure(embedded.SMALL_CHAT)
    return Llama(path, "SmolLM2 135M", threads=2)


def test_a_dialogue_that_outgrows_the_model_loses_its_oldest_exchanges(small):
    day = "The weather was fine on that day and nothing happened. " * 20
    exchange = [Prompt("user", day), Prompt("assistant", day)]
    prompts = [Prompt("system", "Be brief."), *exchange * 12, Prompt("user", "And today?")]
    said = []
    usage = small.reply(prompts, Sampling(max_tokens=5), said.append, Cancel())
    assert said
    assert CONTEXT // 2 < usage.prompt_tokens <= CONTEXT


def test_instructions_and_the_question_are_never_cut():
    system, question = Prompt("system", "Be brief."), Prompt("user", "And today?")
    old, new = Prompt("user", "old"), Prompt("user", "new")
    answer = Prompt("assistant", "answer")
    prompts = [system, old, answer, new, answer, question]
    cut = without_oldest_exchange(prompts)
    assert cut == [system, new, answer, question]
    assert without_oldest_exchange(cut) == [system, question]
    assert without_oldest_exchange([system, question]) is None


def test_a_question_that_no_cutting_makes_fit_is_told(services):
    events = services.converse(
        Turn(text="word " * (CONTEXT + 1000)), Conversation(), spoken=False, cancel=Cancel()
    )
    with pytest.raises(InputError, match=str(CONTEXT)):
        list(events)


def test_the_language_picks_the_recognizer(services):
    engine = services.engine()
    assert engine.models("asr", "en") == (embedded.MOONSHINE,)
    assert engine.models("asr", None) == engine.models("asr", "de") == (embedded.WHISPER,)


def test_an_unknown_language_is_told(services, question):
    with pytest.raises(InputError, match="two-letter"):
        list(services.transcribe(question, language="klingon", cancel=Cancel()))


def test_the_language_is_told(services, story):
    *_, final, _ = services.transcribe(story, cancel=Cancel())
    assert isinstance(final, Transcript) and final.language == "en"


def test_a_chat_model_that_is_none_is_told(tmp_path):
    fake = tmp_path / "fake.gguf"
    fake.write_bytes(b"GGUF" + b"\0" * 1000)
    settings = Settings(_env_file=None, chat_model=str(fake), warm=False)
    with Services(settings) as services:
        events = services.converse(Turn(text="Hi"), Conversation(), spoken=False, cancel=Cancel())
        with pytest.raises(UnavailableError, match=r"fake\.gguf"):
            list(events)


def test_a_chat_model_of_ones_own(services):
    path = services.store.ensure(embedded.SMALL_CHAT)
    settings = Settings(_env_file=None, chat_model=str(path), warm=False)
    with Services(settings) as own:
        events = own.converse(
            Turn(text="Say hello."), Conversation(), spoken=False, cancel=Cancel()
        )
        assert any(isinstance(event, TextDelta) for event in events)


def test_what_was_read_ahead_is_not_read_again(services, question):
    engine = services.engine()
    before = Conversation().after("My boat is called Pelican.", "That is a fine name for a boat.")

    def cached(turn):
        finished = list(engine.converse(turn, before, language="en", cancel=Cancel()))[-1]
        return finished.usage

    half = Audio(question.samples[: int(0.7 * len(question))], question.rate)
    list(engine.prepare(Turn(half), before, language="en", cancel=Cancel()))
    usage = cached(Turn(question))
    assert usage.prompt_tokens - usage.cached_tokens <= 10, "all but the last words was read"


def test_a_dialogue_that_lost_its_oldest_messages_is_not_read_again(small):
    names = ["Anna", "Bob", "Carl", "Dora", "Emil", "Finn"]
    said = [
        Prompt(role, text)
        for name in names
        for role, text in (
            ("user", f"I have a friend whose name is {name}, please remember that."),
            ("assistant", f"I have remembered that you have a friend called {name}."),
        )
    ]
    system, question = Prompt("system", "Be brief."), Prompt("user", "Who are my friends?")

    def asked(prompts):
        return small.reply(prompts, Sampling(0, 1), lambda text: None, Cancel())

    asked([system, *said, question])
    asked([system, Prompt("user", "What is the capital of France?")])
    usage = asked([system, *said[4:], question])
    assert usage.prompt_tokens - usage.cached_tokens < 10


def test_nobody_else_gets_at_the_model(small):
    address = small._server.listening_address
    for path in ("/slots", "/props", "/v1/models"):
        assert httpx2.get(address + path).status_code == HTTPStatus.UNAUTHORIZED
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    refused = httpx2.post(address + "/v1/chat/completions", json=body)
    assert refused.status_code == HTTPStatus.UNAUTHORIZED
