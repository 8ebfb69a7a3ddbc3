"""Style, key and model for an engine's server, typed in the settings panel of a real browser."""

import json
import logging
from contextlib import suppress

import browser
import pytest
from conftest import SAMPLES
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import sync_playwright
from standin import CHAT, MODELS, StandIn, models, says

from engines.catalog import entries
from services import Services
from settings import Settings

pytestmark = pytest.mark.browser

KEY = "sk-typed-by-a-person-0123456789"
MODEL = "clever-8b"


@pytest.fixture(scope="module")
def house():
    with StandIn({CHAT: [says("Good ", "morning.")], MODELS: [models("plain-1b", MODEL)]}) as house:
        yield house


@pytest.fixture(scope="module")
def url(house):
    from demos.page import launch  # noqa: PLC0415

    settings = Settings(
        _env_file=None,
        port=0,
        warm=False,
        engine="remote",
        chat_url=house.url,
        chat_model="small",
    )
    with Services(settings, entries(settings)) as services:
        page = launch(services, block=False)
        yield page.local_url
        page.close()


@pytest.fixture(scope="module")
def chromium():
    browser.need_chromium()
    with sync_playwright() as playwright:
        chromium = browser.launch(playwright, SAMPLES / "sky.wav")
        yield chromium
        chromium.close()


class Visitor(browser.Visitor):
    """The chat tab with an open panel; keeps all that the server sends."""

    def __init__(self, chromium, url):
        super().__init__(chromium, url)
        self.came: list[str] = []
        self.page.on("response", self._keep)
        self.page.click("#settings button")
        self.page.wait_for_selector("#wish-key input")

    def _keep(self, response):
        kind = response.headers.get("content-type", "")
        if "text" in kind or "json" in kind:
            with suppress(PlaywrightError):  # A stream that the page has closed.
                self.came.append(response.text())

    def wish(self, key, model):
        self.page.fill("#wish-key input", key)
        self.page.keyboard.press("Tab")
        self.page.click("#wish-model input")
        self.page.fill("#wish-model input", model)
        self.page.keyboard.press("Enter")
        self.page.keyboard.press("Tab")
        self.wait_for(
            lambda: self.page.input_value("#wishes-for textarea, #wishes-for input") == "remote",
            what="the server to know whom this is for",
        )
        self.page.wait_for_timeout(500)


@pytest.fixture
def visitor(chromium, url, caplog):
    caplog.set_level(logging.DEBUG)
    visitor = Visitor(chromium, url)
    yield visitor
    complaints = visitor.complaints
    visitor.close()
    assert not complaints, "the browser's console shows errors"


def last(house):
    asked = house.of(CHAT)[-1]
    return asked.headers["authorization"], asked.json["model"]


def test_key_and_model_reach_the_server_and_nobody_else(visitor, house, caplog):
    page = visitor.page
    assert page.get_attribute("#wish-key input", "type") == "password"
    visitor.wish(KEY, MODEL)
    # The chat tab.
    visitor.ask("Hello.")
    visitor.wait_for_figures()
    assert "Good morning." in visitor.dialogue()
    assert last(house) == (f"Bearer {KEY}", MODEL)
    # The models of that server, listed with the key.
    page.click("#list-models")
    visitor.wait_for(lambda: house.of(MODELS), what="the list")
    assert house.of(MODELS)[-1].headers["authorization"] == f"Bearer {KEY}"
    # The talk tab, on a line of its own.
    sent = []
    page.on(
        "websocket",
        lambda socket: (
            socket.on("framesent", lambda text: sent.append(("sent", text))),
            socket.on("framereceived", lambda text: sent.append(("received", text))),
        ),
    )
    before = len(house.of(CHAT))
    page.get_by_role("tab", name="Talk").click()
    page.fill(".talk-text", "Good evening.")
    page.press(".talk-text", "Enter")
    visitor.wait_for(lambda: page.query_selector(".talk-waterfall"), what="the reply")
    assert len(house.of(CHAT)) > before
    assert last(house) == (f"Bearer {KEY}", MODEL)
    told = [json.loads(text) for way, text in sent if way == "sent"]
    keys = {(event["key"], event["engine"]) for event in told if event.get("key")}
    assert keys == {(KEY, "remote")}
    # Nobody says it again: no answer of the server, no line, no place in the page, no log.
    assert any("parley.configured" in text for way, text in sent if way == "received")
    assert not [text for way, text in sent if way == "received" and KEY in text]
    assert visitor.came
    assert not [text for text in visitor.came if KEY in text]
    assert KEY not in page.content()
    assert KEY not in page.evaluate("JSON.stringify({ ...localStorage, ...sessionStorage })")
    assert KEY not in caplog.text


def test_another_session_knows_nothing_of_it(visitor, chromium, url, house):
    visitor.wish(KEY, MODEL)
    other = Visitor(chromium, url)
    other.ask("Hello.")
    other.wait_for_figures()
    key, model = last(house)
    assert KEY not in key
    assert model == "plain-1b"
    assert not other.complaints
    other.close()


def test_another_engine_gets_none_of_it(visitor, house):
    """What was typed is for one server: a switch empties the fields, and back they stay empty."""
    visitor.wish(KEY, MODEL)
    page = visitor.page
    browser.choose_engine(page, "Embedded (CPU)")
    visitor.wait_for(
        lambda: page.inner_text(".engine-chosen") == "Embedded (CPU)", 120, what="the choice"
    )
    page.keyboard.press("Escape")
    visitor.wait_for(lambda: not page.is_visible("#wish-key"), what="the fields to go")
    browser.choose_engine(page, "127.0.0.1")
    visitor.wait_for(lambda: page.is_visible("#wish-key"), what="the fields to come back")
    page.keyboard.press("Escape")
    assert page.input_value("#wish-key input") == ""
    assert page.input_value("#wish-model input") == ""
    visitor.ask("Hello.")
    visitor.wait_for_figures()
    key, model = last(house)
    assert KEY not in key
    assert model == "plain-1b"
