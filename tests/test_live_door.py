"""Who may hold a live conversation: tokens, origins and keys, with a raw WebSocket client."""

import asyncio
import json

import httpx
import pytest
from live_line import another_house, dial
from websockets.exceptions import ConnectionClosed

from demos.page import launch
from live.line import POLICY
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


async def greeting(url, token=None, **options):
    """The first event of a connection, or the code and reason with which it was refused."""
    async with dial(url, token, **options) as line:
        try:
            return json.loads(await line.recv())["type"]
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
    neighbour = own(page_url).rpartition(":")[0] + ":1"
    wrong = ("https://evil.example", "null", "http://[", own(page_url) + ".evil.example", neighbour)
    for origin in wrong:
        code, reason = greet(page_url, token, origin=origin)
        assert code == POLICY and "not from here" in reason
    assert greet(page_url, token, origin=own(page_url)) == "session.created", "the token was spent"


def test_programs_on_this_machine_need_no_key(page_url):
    assert greet(page_url) == "session.created"


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "key"},
        {"Authorization": "Bearer k\u00e9y"},
    ],
)
def test_a_key_that_is_set_is_required(closed_url, header):
    code, reason = greet(closed_url, additional_headers=header)
    assert code == POLICY and "API key" in reason


def test_the_key_lets_in(closed_url):
    headers = {"Authorization": "Bearer key"}
    assert greet(closed_url, additional_headers=headers) == "session.created"


@pytest.mark.parametrize("open_to_all", [False, True])
def test_programs_elsewhere_need_a_key_unless_told_otherwise(services, open_to_all):
    page = launch(another_house(services, host="0.0.0.0", live_open=open_to_all), block=False)
    answer = greet(page.local_url)
    page.close()
    if open_to_all:
        assert answer == "session.created"
    else:
        assert answer[0] == POLICY and "PARLEY_API_KEY" in answer[1]


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


def test_the_scripts_of_the_page_are_served_and_nothing_else(page_url):
    got = httpx.get(f"{page_url}live-page/client.js")
    assert got.status_code == 200 and "javascript" in got.headers["content-type"]
    assert got.headers["cache-control"] == "no-cache"
    for path in ("", "../session.py", "%2e%2e/session.py", "nothing.js"):
        assert httpx.get(f"{page_url}live-page/{path}").status_code == 404
