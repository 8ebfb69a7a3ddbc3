"""Who may hold a live conversation: tokens, origins and keys, with a raw WebSocket client."""

import asyncio
import json
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from demos.page import launch
from live.routes import FULL, MOST_BYTES, POLICY, TOO_BIG
from services import Services
from settings import Settings

ANN = {"username": "ann", "password": "secret"}


@pytest.fixture(scope="module")
def closed_url():
    """A server with a login and a key."""
    settings = Settings(
        _env_file=None, port=0, warm=False, idle_unload=0, auth="ann:secret", api_key="key"
    )
    with Services(settings) as services:
        page = launch(services, block=False)
        yield page.local_url
        page.close()


def line(url, token=None, **options):
    address = f"ws://{urlsplit(url).netloc}/v1/realtime"
    return connect(f"{address}?token={token}" if token else address, **options)


async def greeting(url, token=None, **options):
    """The first event of a connection, or the code and reason with which it was refused."""
    async with line(url, token, **options) as socket:
        try:
            return json.loads(await socket.recv())["type"]
        except ConnectionClosed as closed:
            return closed.rcvd.code, closed.rcvd.reason


def greet(url, token=None, **options):
    return asyncio.run(greeting(url, token, **options))


def ask_token(client, url):
    """A token as the page gets it: from the server function of its talk tab."""
    config = client.get(f"{url}config").json()
    (talk,) = [c["id"] for c in config["components"] if c["props"].get("elem_id") == "talk"]
    call = {"data": [], "component_id": talk, "fn_name": "issue_token", "session_hash": "test"}
    return client.post(f"{url}gradio_api/component_server", json=call)


@pytest.fixture
def token(page_url):
    with httpx.Client() as client:
        return ask_token(client, page_url).json()


def own(url):
    return url.rstrip("/")


def test_a_token_opens_one_connection(page_url, token):
    assert greet(page_url, token, origin=own(page_url)) == "session.created"
    code, reason = greet(page_url, token, origin=own(page_url))
    assert code == POLICY and "used" in reason


def test_an_invented_token_is_refused(page_url):
    assert greet(page_url, "a" * 32)[0] == POLICY


def test_a_page_needs_a_token(page_url):
    assert greet(page_url, origin=own(page_url))[0] == POLICY


def test_foreign_pages_are_refused(page_url, token):
    for origin in ("https://evil.example", "null", own(page_url) + ".evil.example"):
        code, reason = greet(page_url, token, origin=origin)
        assert code == POLICY and "not from here" in reason
    assert greet(page_url, token, origin=own(page_url)) == "session.created", "the token was spent"


def test_programs_on_this_machine_need_no_key(page_url):
    assert greet(page_url) == "session.created"


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "key"}]
)
def test_a_key_that_is_set_is_required(closed_url, header):
    code, reason = greet(closed_url, additional_headers=header)
    assert code == POLICY and "API key" in reason


def test_the_key_lets_in(closed_url):
    headers = {"Authorization": "Bearer key"}
    assert greet(closed_url, additional_headers=headers) == "session.created"


def test_tokens_are_for_those_who_logged_in(closed_url, page_url):
    with httpx.Client(follow_redirects=True) as client:
        config = httpx.get(f"{page_url}config").json()
        ids = [c["id"] for c in config["components"] if c["props"].get("elem_id") == "talk"]
        call = {"data": [], "component_id": ids[0], "fn_name": "issue_token", "session_hash": "x"}
        refused = client.post(f"{closed_url}gradio_api/component_server", json=call)
        assert refused.status_code == 401
        client.post(f"{closed_url}login", data=ANN).raise_for_status()
        given = ask_token(client, closed_url)
        assert greet(closed_url, given.json(), origin=own(closed_url)) == "session.created"


def test_too_big_a_frame_hangs_up(page_url):
    async def send():
        async with line(page_url) as socket:
            await socket.send("x" * (MOST_BYTES + 1))
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await socket.recv()
            return closed.value.rcvd.code

    assert asyncio.run(send()) == TOO_BIG


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "not json",
        "[]",
        "null",
        "{}",
        '{"type": 3}',
        '{"type": "input_audio_buffer.append", "audio": "%%%"}',
        '{"type": "parley.playhead", "item_id": "x", "audio_ms": -1}',
        "[" * 100_000,
        b"\xff\xfe\x00",
        b"",
    ],
    ids=range(11),
)
def test_garbage_gets_an_error_and_the_line_goes_on(page_url, garbage):
    async def send():
        async with line(page_url) as socket:
            await socket.send(garbage)
            await socket.send('{"type": "input_audio_buffer.clear"}')
            kinds = []
            while "input_audio_buffer.cleared" not in kinds:
                kinds.append(json.loads(await asyncio.wait_for(socket.recv(), 5))["type"])
            return kinds

    assert "error" in asyncio.run(send())


def test_a_full_room_says_so(page_url, services):
    async def crowd():
        room = [line(page_url) for _ in range(services.settings.max_live)]
        sockets = [await socket for socket in room]
        for socket in sockets:
            await socket.recv()
        refused = await greeting(page_url)
        for socket in sockets:
            await socket.close()
        return refused

    code, reason = asyncio.run(crowd())
    assert code == FULL and "full" in reason


def test_the_scripts_of_the_page_are_served_and_nothing_else(page_url):
    got = httpx.get(f"{page_url}live-page/client.js")
    assert got.status_code == 200 and "javascript" in got.headers["content-type"]
    assert got.headers["cache-control"] == "no-cache"
    for path in ("", "../session.py", "%2e%2e/session.py", "nothing.js"):
        assert httpx.get(f"{page_url}live-page/{path}").status_code == 404
