"""Who is let in, how many, and how it ends: the official client over real servers."""

import asyncio
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import openai
import pytest
import slow_engine
from fake_models import until

from demos.page import launch
from engines.catalog import CATALOG
from errors import EngineError, UnavailableError
from rest.problems import Problem, problem_of
from services import Services
from settings import Settings

ORIGIN = "https://evil.example"


@pytest.fixture(scope="module")
def house():
    """A server that wants a key, with a slow engine; takes two requests, one at a time."""
    engine = slow_engine.Slow()
    settings = Settings(
        _env_file=None,
        port=0,
        warm=False,
        engine="slow",
        api_key="key",
        max_active=1,
        max_queue=1,
        max_upload=100_000,
    )
    with Services(settings, [slow_engine.entry(engine)]) as services:
        page = launch(services, block=False)
        yield engine, services, f"{page.local_url}v1"
        page.close()


@pytest.fixture
def slow(house):
    engine, services, _ = house
    engine.begun = engine.cancelled = 0
    engine.error, engine.chunks, engine.go = None, 2, threading.Semaphore(0)
    yield engine
    until(lambda: not services.turnstile.active)


@pytest.fixture(scope="module")
def url(house):
    return house[2]


@pytest.fixture(scope="module")
def client(url):
    return openai.OpenAI(base_url=url, api_key="key", max_retries=0, timeout=20)


def speak(client, **options):
    return client.audio.speech.create(
        model="default", voice="default", input="la", response_format="pcm", **options
    )


def test_models(openai_client, seeing_url):
    listed = openai_client.models.list().data
    assert [model.id for model in listed] == ["default", *(entry.info.name for entry in CATALOG)]
    assert listed[0].parley["engine"] == "embedded"
    seeing = openai.OpenAI(base_url=f"{seeing_url}v1", api_key="none", max_retries=0)
    assert seeing.models.retrieve("seer").parley["can_see"]
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-9'"):
        openai_client.models.retrieve("gpt-9")


def test_voices(openai_url):
    voices = httpx.get(f"{openai_url}/audio/voices").json()["data"]
    assert voices[0]["name"] == "heart"
    assert {"Pip", "Rowan"} <= {voice["id"] for voice in voices}
    assert httpx.get(f"{openai_url}/audio/voices?model=x").status_code == 404


def test_other_addresses_and_methods(openai_url):
    answer = httpx.get(f"{openai_url}/embeddings")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")
    answer = httpx.get(f"{openai_url}/chat/completions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("key", ["wrong", "kéy"])
def test_a_wrong_key(url, key):
    headers = {"Authorization": f"Bearer {key}".encode()}
    for path in ("/models", "/audio/voices", "/nowhere"):
        answer = httpx.get(url + path, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0).models.list()
    assert httpx.get(f"{url}/models").status_code == 401


def test_the_key_lets_in(client):
    assert client.models.list().data


def test_foreign_pages_are_refused(url, openai_url):
    for place in (url, openai_url):
        headers = {"Origin": ORIGIN, "Authorization": "Bearer key"}
        answer = httpx.post(f"{place}/chat/completions", headers=headers, json={})
        assert answer.status_code == 403
        assert "evil" not in answer.headers.get("access-control-allow-origin", "")


def test_whoever_comes_when_the_queue_is_full(house, client, slow):
    with ThreadPoolExecutor() as pool:
        first = pool.submit(speak, client)
        until(lambda: slow.begun == 1)
        second = pool.submit(speak, client)
        try:
            until(lambda: house[1].turnstile.waiting == 1)
            with pytest.raises(openai.RateLimitError) as caught:
                speak(client)
        finally:
            for _ in range(8):
                slow.go.release()
        assert int(caught.value.response.headers["retry-after"]) > 0
        assert caught.value.code == "rate_limit_exceeded"
        assert len(first.result().content) == len(second.result().content) == 2 * 48_000


@pytest.mark.parametrize("announced", [True, False])
def test_what_is_too_large_is_not_read(url, announced):
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    content = [head, *[b"x" * 1000] * 2000]
    body = b"".join(content) if announced else iter(content)
    headers = {
        "Authorization": "Bearer key",
        "Content-Type": "multipart/form-data; boundary=b",
    }
    answer = httpx.post(f"{url}/audio/transcriptions", content=body, headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"


def test_a_client_that_leaves_stops_the_model(client, slow):
    """While it waits, and in the middle of a stream."""
    with pytest.raises(openai.APITimeoutError):
        speak(client, timeout=0.5)
    until(lambda: slow.cancelled == 1)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": "la"}], timeout=0.5
        )
    until(lambda: slow.cancelled == 2)
    slow.go.release()
    stream = client.audio.speech.with_streaming_response
    with stream.create(
        model="default", voice="default", input="la", response_format="pcm"
    ) as answer:
        next(answer.iter_bytes(1000))
    until(lambda: slow.cancelled == 3)


def test_a_cancelled_task_stops_the_model(url, slow):
    async def leave():
        async with openai.AsyncOpenAI(base_url=url, api_key="key", max_retries=0) as client:
            messages = [{"role": "user", "content": "la"}]
            slow.go.release()
            stream = await client.chat.completions.create(
                model="default", messages=messages, stream=True
            )
            async for _ in stream:
                break
            await stream.close()

    asyncio.run(leave())
    until(lambda: slow.cancelled == 1)


def test_who_reads_nothing_is_given_up(url, slow, monkeypatch):
    monkeypatch.setattr("rest.answers.PATIENCE", 0.5)
    slow.chunks = 1000
    for _ in range(1000):
        slow.go.release()
    place = urlsplit(url)
    body = b'{"model": "default", "input": "la", "response_format": "pcm"}'
    with socket.create_connection((place.hostname, place.port)) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer key\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        # Else the one place in this house would be taken for ever.
        until(lambda: slow.cancelled == 1)


def test_a_failure_before_the_first_sound_has_a_status(client, slow):
    slow.error = EngineError("the weights in /root/secret/weights.bin are wrong")
    slow.go.release()
    with pytest.raises(openai.InternalServerError) as caught:
        speak(client)
    assert caught.value.code == "engine_error" and "secret" not in caught.value.message
    slow.error = UnavailableError("Chat model cannot be had from https://a.example/b.")
    slow.go.release()
    with pytest.raises(openai.InternalServerError) as caught:
        speak(client)
    assert caught.value.status_code == 503
    assert caught.value.response.headers["retry-after"] == "60"
    assert "a.example" not in caught.value.message
    slow.error = ZeroDivisionError("secret")
    slow.go.release()
    with pytest.raises(openai.InternalServerError, match="noted in its log") as caught:
        speak(client)
    assert "secret" not in caught.value.message


def test_a_stream_that_fails_does_not_look_complete(client, slow):
    """Of a file the connection breaks, among events there is one that says so."""
    options = {"model": "default", "voice": "default", "input": "la", "response_format": "pcm"}
    stream = client.audio.speech.with_streaming_response
    slow.go.release()
    with stream.create(**options) as answer:
        pieces = answer.iter_bytes(1000)
        next(pieces)
        slow.error = EngineError("secret")
        slow.go.release()
        with pytest.raises(Exception, match=r"incomplete|peer closed"):
            list(pieces)
    slow.error = None
    slow.go.release()
    chunks = client.chat.completions.create(
        model="default", messages=[{"role": "user", "content": "la"}], stream=True
    )
    assert next(chunks).choices[0].delta.role == "assistant"
    slow.error = EngineError("secret")
    slow.go.release()
    with pytest.raises(openai.APIError, match="failed while it worked"):
        list(chunks)


@pytest.mark.parametrize(
    ("message", "public"),
    [
        (
            "It cannot be stored in /root/.local/share/parley: full",
            "stored in (on the server): full",
        ),
        ("From https://a.example:80/x?y=1; or elsewhere", "From (on the server); or elsewhere"),
        (r"It is at C:\Users\ann\x.gguf", "It is at (on the server)"),
        ("24 kHz and/or 1/2, 3 / 4", "24 kHz and/or 1/2, 3 / 4"),
        ("Choose wav/flac/ogg", "Choose wav/flac/ogg"),
    ],
)
def test_what_is_the_owners_stays_with_the_owner(message, public):
    told = str(problem_of(UnavailableError(message)))
    assert told.endswith(public), told


def test_a_problem_is_told_as_it_is():
    problem = Problem("No.", 404, code="x", param="y")
    assert problem_of(problem) is problem
    assert re.search('"param":"y"', problem.response().body.decode())
