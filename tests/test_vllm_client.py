"""Token ids from a vLLM server: what is asked, and what every failure is called."""

import base64
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from vllm_stand_in import MODEL, stand_in_fixture  # noqa: F401  (a fixture)
from weights_servers import nowhere_fixture  # noqa: F401  (a fixture)

from engines.base import Cancel
from engines.remote.address import Remote
from engines.vllm.client import TokenServer, Vectors
from errors import CancelledError, EngineError, InputError, UnavailableError


@dataclass(frozen=True)
class Drawing:
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0


def at(*urls, key=""):
    return Remote(tuple(f"{url}/v1" for url in urls), key)


@pytest.fixture(name="server")
def server_fixture(stand_in):
    server = TokenServer(at(stand_in.url))
    yield server
    server.close()


def ask(server, prompt=(1, 2, 3), drawing=Drawing(), stop=(10,), most=50, seed=None, cancel=None):
    return server.generate(
        prompt, drawing=drawing, seed=seed, stop=stop, max_tokens=most, cancel=cancel or Cancel()
    )


def test_ids_come_as_the_server_writes_them(server):
    assert list(ask(server)) == [7, 8, 9, 10]


def test_everything_is_said_so_that_no_default_of_the_snapshot_holds(server, stand_in):
    drawing = Drawing(0.7, 20, 0.8, 1.05)
    list(ask(server, drawing=drawing, stop={45, 43}, most=60, seed=5))
    (asked,) = stand_in.requests
    assert asked == {
        "model": MODEL,
        "prompt": [1, 2, 3],
        "stream": True,
        "max_tokens": 60,
        "temperature": 0.7,
        "top_k": 20,
        "top_p": 0.8,
        "min_p": 0.0,
        "repetition_penalty": 1.05,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": 5,
        "stop_token_ids": [43, 45],
        "ignore_eos": True,
        "return_token_ids": True,
    }


def test_vectors_are_sent_as_torch_saves_them(server, stand_in):
    table = torch.randn(4, 8).bfloat16()
    content = io.BytesIO()
    torch.save(table, content)
    assert list(ask(server, Vectors(content.getvalue(), 4))) == [7, 8, 9, 10]
    (asked,) = stand_in.requests
    sent = io.BytesIO(base64.b64decode(asked["prompt_embeds"], validate=True))
    assert torch.equal(torch.load(sent, weights_only=True), table)
    assert not asked["prompt"]


def test_no_penalty_for_vectors_which_vllm_would_take_from_another_prompt(server, stand_in):
    with pytest.raises(InputError, match="repetition penalty"):
        list(ask(server, Vectors(b"", 4), Drawing(repetition_penalty=1.05)))
    assert not stand_in.requests


def test_a_reply_ends_where_the_window_does(server, stand_in):
    stand_in.longest = 40
    list(ask(server, range(33)))
    assert stand_in.requests[0]["max_tokens"] == 7
    with pytest.raises(InputError, match=r"40 tokens long; the model at .* sees 40"):
        list(ask(server, range(40)))
    assert len(stand_in.requests) == 1


def test_a_server_that_says_no_length_is_asked_all_the_same(server, stand_in):
    stand_in.longest = None
    assert list(ask(server, most=9)) == [7, 8, 9, 10]
    assert stand_in.requests[0]["max_tokens"] == 9


def test_many_at_once_get_their_own(server):
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: list(ask(server, [n, 5])), range(100, 116)))
    assert replies == [[n] * 20 for n in range(100, 116)]


def test_a_key(stand_in):
    stand_in.key = "secret"
    right, wrong = (TokenServer(at(stand_in.url, key=key)) for key in ("secret", "sesame"))
    assert list(ask(right)) == [7, 8, 9, 10]
    with pytest.raises(UnavailableError, match="refuses the API key") as refusal:
        list(ask(wrong))
    assert "sesame" not in str(refusal.value) + repr(vars(wrong))
    right.close()
    wrong.close()


def test_the_model_must_be_there(stand_in):
    server = TokenServer(at(stand_in.url), "Plus")
    with pytest.raises(UnavailableError, match="has Boost, not Plus"):
        server.served(Cancel())
    stand_in.models = ["Boost", "Plus"]
    assert server.served(Cancel()).name == "Plus"
    server.close()
    choosing = TokenServer(at(stand_in.url))
    with pytest.raises(UnavailableError, match="has Boost, Plus; say which"):
        list(ask(choosing))
    choosing.close()


def test_a_model_that_was_replaced_is_looked_for_again(server, stand_in):
    list(ask(server))
    stand_in.models = ["Balance"]
    with pytest.raises(UnavailableError, match="knows no such model"):
        list(ask(server))
    assert list(ask(server)) == [7, 8, 9, 10]
    assert stand_in.requests[-1]["model"] == "Balance"


def test_no_server(stand_in):
    stand_in.shutdown()
    stand_in.server_close()
    server = TokenServer(at(stand_in.url))
    with pytest.raises(UnavailableError, match="No server answers at"):
        list(ask(server))
    server.close()


def test_no_openai_endpoint(stand_in):
    server = TokenServer(at(stand_in.url + "/elsewhere"))
    with pytest.raises(UnavailableError, match="knows no such model"):
        list(ask(server))
    server.close()


REFUSALS = {
    400: [
        (
            "This model's maximum context length is 40 tokens. However, you requested 60.",
            InputError,
            "too long",
        ),
        (
            "You must set `--enable-prompt-embeds` to input `prompt_embeds`.",
            UnavailableError,
            "only if it was started with --enable-prompt-embeds",
        ),
        ("top_k must be 0 or more.", InputError, "refuses this: top_k must"),
    ],
    422: [("Field required.", InputError, "Field required")],
}


@pytest.mark.parametrize(
    ("status", "message", "kind", "told"),
    [(status, *case) for status, cases in REFUSALS.items() for case in cases],
)
def test_refusals_are_told(server, stand_in, status, message, kind, told):
    stand_in.refusals.append((status, message))
    with pytest.raises(kind, match=told):
        list(ask(server))
    assert list(ask(server)) == [7, 8, 9, 10]


def test_a_busy_server_is_asked_again_before_the_first_token(server, stand_in):
    stand_in.refusals.extend([(429, "Too many requests."), (500, "Not yet.")])
    assert list(ask(server)) == [7, 8, 9, 10]
    assert len(stand_in.requests) == 3


def test_a_server_that_stays_busy(server, stand_in):
    stand_in.refusals.extend([(503, "Loading.")] * 3)
    with pytest.raises(EngineError, match="failed with status 503: Loading"):
        list(ask(server))


@pytest.mark.parametrize(
    ("fault", "kind", "told", "heard"),
    [
        ("cut", EngineError, "This was cut", [7]),
        ("unfinished", EngineError, "broke off after 4 tokens", [7, 8, 9, 10]),
        ("error", EngineError, "EngineCore died", [7]),
        ("garbage", EngineError, "no answer of an OpenAI-style", [7]),
        ("no ids", UnavailableError, "gives no token ids", []),
        ("cut prompt", EngineError, "changed the prompt", []),
    ],
)
def test_a_stream_that_fails_keeps_what_came_and_is_not_begun_again(
    server, stand_in, fault, kind, told, heard
):
    stand_in.fault = fault
    got = []
    with pytest.raises(kind, match=told):
        for token in ask(server):
            got.append(token)
    assert got == heard
    assert len(stand_in.requests) == 1
    stand_in.fault = ""
    assert list(ask(server)) == [7, 8, 9, 10]


@pytest.mark.parametrize("fault", ["hold", "silent"])
def test_a_cancel_ends_the_wait_and_the_work_of_the_server(server, stand_in, fault):
    stand_in.fault = fault
    cancel = Cancel()
    failure = []

    def read():
        try:
            list(ask(server, cancel=cancel))
        except CancelledError as error:
            failure.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert stand_in.begun.wait(10)
    began = time.monotonic()
    cancel.set()
    reader.join(5)
    assert failure
    assert stand_in.left.wait(5)
    assert time.monotonic() - began < 5


def test_a_cancel_that_came_before(server):
    cancel = Cancel()
    cancel.set()
    with pytest.raises(CancelledError):
        list(ask(server, cancel=cancel))
    with pytest.raises(CancelledError):
        server.served(cancel)


def test_a_reader_who_leaves_ends_the_work_of_the_server(server, stand_in):
    stand_in.fault = "hold"
    reply = ask(server)
    assert next(reply) == 7
    reply.close()
    assert stand_in.left.wait(5)


def test_the_next_replica_answers_where_the_first_is_down(stand_in, nowhere):
    server = TokenServer(at(nowhere, stand_in.url))
    assert list(ask(server)) == [7, 8, 9, 10]
    server.close()
