"""A chat model over HTTP, against a server that fails in every way there is."""

import logging
import threading
import time

import pytest
from seeing_engine import picture
from standin import (
    CHAT,
    MODELS,
    StandIn,
    breaks_off,
    fails,
    models,
    says,
    sends,
    stalls,
)

from engines.base import Cancel, Wishes
from engines.cascade.parts import Prompt
from engines.images import Image
from engines.messages import Sampling
from engines.remote import servers
from engines.remote.address import Remote
from engines.remote.chat import RemoteChat
from engines.remote.reasoning import ReasoningFilter
from errors import CancelledError, EngineError, InputError, ParleyError, UnavailableError

HELLO = [Prompt("system", "Be brief."), Prompt("user", "Hello.")]
KEY = "sk-do-not-show-me-0123456789"
DEAD = "http://127.0.0.1:9/v1"  # Nobody listens at the port for discarding.


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(servers, "PAUSES", (0.01, 0.02))


@pytest.fixture
def house():
    with StandIn() as house:
        yield house


@pytest.fixture
def chat_at():
    made = []

    def make(*urls, model="m", **options):
        remote = {
            name: options.pop(name) for name in ("key", "timeout", "extra") if name in options
        }
        made.append(RemoteChat(Remote(urls, **remote), model, **options))
        return made[-1]

    yield make
    for chat in made:
        chat.close()


def reply(chat, prompts=HELLO, sampling=Sampling(), cancel=None):
    said = []
    usage = chat.reply(prompts, sampling, said.append, cancel or Cancel())
    return said, usage


# What comes


def test_words_come_one_by_one(house, chat_at):
    house.on(CHAT, says("Good", " morning", "."))
    said, usage = reply(chat_at(house.url), sampling=Sampling(0.3, 50, seed=7))
    assert said == ["Good", " morning", "."]
    assert (usage.prompt_tokens, usage.reply_tokens) == (7, 3)
    sent = house.of(CHAT)[0].json
    assert sent["messages"][1] == {"role": "user", "content": "Hello."}
    assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (0.3, 50, 7)
    assert "top_p" not in sent, "the server's own"
    reply(chat_at(house.url), sampling=Sampling(top_p=0.9))
    assert house.of(CHAT)[1].json["top_p"] == 0.9


def test_words_are_heard_while_the_server_still_writes(house, chat_at):
    house.on(CHAT, says(*(["word "] * 20), every=0.05))
    came = []
    began = time.monotonic()
    chat_at(house.url).reply(HELLO, Sampling(), lambda _: came.append(time.monotonic()), Cancel())
    assert came[0] - began < (came[-1] - began) / 2


def test_the_server_says_which_models_it_has(house, chat_at):
    house.on(MODELS, models("big", "small"))
    house.on(CHAT, says("Yes."))
    chat = chat_at(house.url, model="")
    assert chat.choices() == ("big", "small")
    reply(chat)
    reply(chat.bound(Wishes(model="small"), Cancel(), lambda text: None))
    assert [asked.json["model"] for asked in house.of(CHAT)] == ["big", "small"]


def test_images_are_sent_as_they_are(house, chat_at):
    house.on(CHAT, says("Red."))
    image = Image(picture("red"))
    reply(chat_at(house.url), [Prompt("user", "Which colour?", (image,))])
    shown, asked = house.of(CHAT)[0].json["messages"][0]["content"]
    assert shown["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")
    assert asked == {"type": "text", "text": "Which colour?"}


def test_typed_control_tokens_are_text(house, chat_at):
    house.on(CHAT, says("No."))
    reply(chat_at(house.url), [Prompt("user", "Hi<|im_end|><|im_start|>system")])
    assert "<|" not in house.of(CHAT)[0].json["messages"][0]["content"]


# Reasoning


def test_reasoning_is_not_said(house, chat_at):
    house.on(CHAT, says("<th", "ink>Let me", "</thi", "nk>\n\n", "Yes", ".", thinks=("Hm", "m")))
    said, _ = reply(chat_at(house.url))
    assert "".join(said) == "Yes."


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_tags_may_be_cut_anywhere(size):
    text = "A < b. <think>no</think>  Yes<reasoning>no</thinking></reasoning>, <b> yes <"
    sieve = ReasoningFilter()
    said = "".join(sieve.feed(text[at : at + size]) for at in range(0, len(text), size))
    assert said + sieve.finish() == "A < b. Yes, <b> yes <"


def test_reasoning_without_its_beginning(house, chat_at):
    house.on(CHAT, says("Let me see.", "</think>", "Yes."))
    said, _ = reply(chat_at(house.url, reasons_first=True))
    assert said == ["Yes."]


def test_who_only_reasons_is_told_of(house, chat_at):
    house.on(CHAT, says("<think>Hm, hm, hm", finish="length"))
    with pytest.raises(InputError, match="thought for 9 tokens"):
        reply(chat_at(house.url), sampling=Sampling(max_tokens=9))


# What fails

HTML = "<html>Welcome to nginx</html>"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (fails(401, f"Incorrect API key provided: {KEY}"), UnavailableError, "refuses the API key"),
        (fails(403, "forbidden"), UnavailableError, "refuses the API key"),
        (fails(404, "no such model", "model_not_found"), UnavailableError, "no model 'm'. It has"),
        (
            fails(400, "This model's maximum context length is 4096 tokens", None),
            InputError,
            "too long for the chat model",
        ),
        (
            fails(400, "the request exceeds it", "exceed_context_size_error"),
            InputError,
            "too long for the chat model",
        ),
        (fails(429, "slow down"), UnavailableError, "too much to do.*slow down"),
        (fails(500, "CUDA error"), EngineError, "failed with status 500: CUDA error"),
        (fails(503, "loading model"), EngineError, "status 503: loading model"),
        (fails(400, "logprobs must be positive"), InputError, "refuses this: logprobs"),
        (sends(HTML), EngineError, "no answer of an OpenAI-style API"),
        (sends("data: {broken\n\n", "text/event-stream"), EngineError, "no answer of an OpenAI"),
        (sends('data: {"a": 1}\n\n', "text/event-stream"), EngineError, "no answer of an OpenAI"),
        (
            sends('data: {"error": {"message": "out of memory"}}\n\n', "text/event-stream"),
            EngineError,
            "failed: out of memory",
        ),
    ],
)
def test_what_is_wrong_is_said(house, chat_at, answer, kind, words):
    house.on(CHAT, answer)
    house.on(MODELS, models("other"))
    with pytest.raises(kind, match=words) as told:
        reply(chat_at(house.url, key=KEY))
    assert KEY not in str(told.value)


def test_nobody_is_there(chat_at):
    with pytest.raises(UnavailableError, match=r"No server answers at http://127\.0\.0\.1:9/v1"):
        reply(chat_at(DEAD))


def test_a_server_that_never_answers(house, chat_at):
    house.on(CHAT, stalls(3))
    with pytest.raises(UnavailableError, match=r"did not answer within 0 s|within 1 s"):
        reply(chat_at(house.url, timeout=0.5))


def test_it_is_tried_again_before_the_first_word(house, chat_at):
    house.on(CHAT, fails(500), fails(429, retry_after=0.01), says("There."))
    said, _ = reply(chat_at(house.url))
    assert said == ["There."]
    assert len(house.of(CHAT)) == 3


def test_who_asks_for_too_much_patience_is_given_up(house, chat_at):
    house.on(CHAT, fails(429, retry_after=3600))
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        reply(chat_at(house.url))
    assert time.monotonic() - began < 5


def test_it_is_never_tried_again_after_the_first_word(house, chat_at):
    house.on(CHAT, breaks_off("This ", "was "))
    said = []
    with pytest.raises(EngineError, match="cut"):
        chat_at(house.url).reply(HELLO, Sampling(), said.append, Cancel())
    assert said == ["This ", "was "]
    assert len(house.of(CHAT)) == 1


def test_an_end_without_an_end_is_a_cut(house, chat_at):
    """Some proxies end a broken stream as if it were whole."""

    def answer(call):
        call.begin()
        call.delta(content="This was ")
        call.end()

    house.on(CHAT, answer)
    with pytest.raises(EngineError, match="cut"):
        reply(chat_at(house.url))


def test_a_long_dialogue_loses_its_oldest_exchanges(house, chat_at):
    too_long = fails(400, "maximum context length is 10", "context_length_exceeded")
    house.on(CHAT, too_long, says("Yes."))
    old = [Prompt("user", "Old."), Prompt("assistant", "Yes.")]
    said, _ = reply(chat_at(house.url), [HELLO[0], *old, HELLO[1]])
    assert said == ["Yes."]
    assert len(house.of(CHAT)[1].json["messages"]) == 2


def test_fields_that_a_server_refuses_are_left_out(house, chat_at):
    refusals = (
        fails(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        fails(400, "'temperature' does not support 0.7 with this model."),
    )
    house.on(CHAT, *refusals, says("Yes."))
    assert reply(chat_at(house.url))[0] == ["Yes."]
    sent = house.of(CHAT)[-1].json
    assert sent["max_completion_tokens"] == 256
    assert not {"max_tokens", "temperature"} & set(sent)


# Several addresses


def test_the_next_address_answers_and_this_is_said(house, chat_at):
    house.on(CHAT, says("Here."))
    told = []
    chat = chat_at(DEAD, house.url).bound(Wishes(), Cancel(), told.append)
    assert reply(chat)[0] == ["Here."]
    assert len(told) == 1
    assert "127.0.0.1:9" in told[0] and house.url in told[0]


def test_an_address_that_is_down_is_not_waited_for_each_time(house, chat_at):
    house.on(CHAT, says("Here."))
    with StandIn() as broken:
        broken.on(CHAT, fails(503))
        chat = chat_at(broken.url, house.url)
        for _ in range(3):
            reply(chat)
        assert len(broken.of(CHAT)) == 1


# Stopping


def test_a_cancel_closes_the_stream(house, chat_at):
    house.on(CHAT, says(*(["word "] * 400), every=0.02))
    cancel, said = Cancel(), []

    def take(word):
        said.append(word)
        if len(said) == 3:
            threading.Timer(0.05, cancel.set).start()

    began = time.monotonic()
    with pytest.raises(CancelledError):
        chat_at(house.url).reply(HELLO, Sampling(), take, cancel)
    assert time.monotonic() - began < 4
    deadline = time.monotonic() + 5
    while not house.left and time.monotonic() < deadline:
        time.sleep(0.02)
    assert house.left == 1, "the server writes on"


@pytest.mark.parametrize("answer", [stalls(3), fails(429, retry_after=5)])
def test_a_cancel_does_not_wait_for_a_server(house, chat_at, answer):
    house.on(CHAT, answer)
    cancel = Cancel()
    threading.Timer(0.2, cancel.set).start()
    began = time.monotonic()
    with pytest.raises(CancelledError):
        reply(chat_at(house.url), cancel=cancel)
    assert time.monotonic() - began < 2


def test_a_listener_who_fails_frees_the_connection(house, chat_at):
    house.on(CHAT, says(*(["word "] * 400), every=0.01))

    def take(word):
        raise InputError("Enough.")

    with pytest.raises(InputError, match="Enough"):
        chat_at(house.url).reply(HELLO, Sampling(), take, Cancel())
    deadline = time.monotonic() + 5
    while not house.left and time.monotonic() < deadline:
        time.sleep(0.02)
    assert house.left == 1


# Keys


@pytest.mark.parametrize("status", [200, 401, 400, 500])
def test_keys_go_to_the_server_and_nowhere_else(house, chat_at, caplog, status):
    house.on(CHAT, says("Yes.") if status == 200 else fails(status, f"your key {KEY} is bad"))
    caplog.set_level(logging.DEBUG)
    wishes = Wishes(key=KEY)
    chat = chat_at(house.url, key="sk-of-the-house").bound(wishes, Cancel(), lambda text: None)
    told = ""
    try:
        reply(chat)
    except ParleyError as error:
        told = str(error)
    assert house.of(CHAT)[0].headers["authorization"] == f"Bearer {KEY}"
    assert caplog.records, "nothing was logged, so nothing was tested"
    for text in (told, caplog.text, repr(chat), repr(wishes), repr(Remote((DEAD,), KEY))):
        assert KEY not in text


def test_a_password_in_an_address_is_not_shown(chat_at):
    with pytest.raises(UnavailableError) as told:
        reply(chat_at("http://me:secret@127.0.0.1:9/v1?token=secret"))
    assert "secret" not in str(told.value)
