"""The page and the talk tab in a real browser over the native engines, with small random weights.

What they say means nothing; that it comes as text and as sound, and that the page shows what the
engine says of itself, does.
"""

import browser
import pytest
from conftest import SAMPLES
from opens2s_maker import make
from playwright.sync_api import sync_playwright
from vita_checkpoint import CODES
from vita_house import data_fixture, settings  # noqa: F401  (a fixture)

from codec.stream import StreamPlan
from engines.base import Cancel
from services import Services

pytestmark = pytest.mark.browser

#: Longest answers, tokens: random weights hardly ever end by themselves.
TOKENS, UNITS = "24", 60
#: Of the engines, and words that their notes must have.
ENGINES = {
    "VITA-Audio-Boost": ("vita-audio-boost", "could not be tried"),
    "OpenS2S": ("opens2s", "one voice"),
}
every_engine = pytest.mark.parametrize("title", ENGINES)


@pytest.fixture(scope="module")
def services(data):
    make(data / "weights" / "OpenS2S", codes=CODES, units=UNITS)
    with Services(settings(data, temperature=0)) as services:
        for name, _ in ENGINES.values():
            with services.models.use(*services.engine(name).models("sqa"), cancel=Cancel()):
                pass
        yield services


@pytest.fixture(scope="module")
def url(services):
    from demos.page import launch  # noqa: PLC0415

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


@pytest.fixture
def open_window(chromium, url, services):
    """Opens a tab with an engine chosen; `kind` is a class of `browser`."""
    windows = []

    def open_window(kind, title):
        window = kind(chromium, url)
        windows.append(window)
        browser.choose_engine(window.page, title)
        window.wait_for(
            lambda: window.page.inner_text(".engine-chosen") == title, what="the choice"
        )
        return window

    yield open_window
    for window in windows:
        complaints = window.complaints
        window.close()
        assert not complaints, "the browser's console shows errors"


@pytest.fixture
def asked(services, monkeypatch):
    """What engines are asked for beside the question: sizes of blocks, and `top_p`."""
    found = {"blocks": set(), "top_p": set()}
    plan, converse = StreamPlan.in_blocks, services.converse

    def in_blocks(size):
        found["blocks"].add(size)
        return plan(size)

    def conversed(*args, **options):
        found["top_p"].add(options["sampling"].top_p)
        return converse(*args, **options)

    monkeypatch.setattr(StreamPlan, "in_blocks", staticmethod(in_blocks))
    monkeypatch.setattr(services, "converse", conversed)
    return found


@every_engine
def test_chat(open_window, title, asked):
    visitor = open_window(browser.Visitor, title)
    page = visitor.page
    notes = ENGINES[title][1]
    visitor.wait_for(lambda: notes in page.inner_text(".engine-facts"), what="the notes")
    page.keyboard.press("Escape")
    page.click("#settings button")
    page.get_by_label("number input for Longest answer").fill(TOKENS)
    page.keyboard.press("Tab")
    page.get_by_label("number input for Top p").fill("0.9")
    page.keyboard.press("Tab")
    page.click("#wish-block input")
    page.get_by_role("option", name="16 codes").click()
    visitor.ask("Why is the sky blue?")
    visitor.wait_for(lambda: visitor.played() > 0, what="sound")
    visitor.wait_for_figures()
    answer = next(filter(None, visitor.replies()))
    assert len(answer.split()) > 1
    assert "real-time factor" in visitor.dialogue()
    visitor.wait_for(lambda: len(page.query_selector_all("#chat audio")) == 1, what="its clip")
    assert asked == {"blocks": {16}, "top_p": {0.9}}
    page.click("#clip button:has-text('Record')")
    page.wait_for_timeout(3000)
    page.click("#clip button:has-text('Stop')")
    visitor.wait_for_figures(2)
    visitor.wait_for(
        lambda: len(page.query_selector_all("#chat audio")) == 3,
        what="the clips of the question and both answers",
    )
    assert "something is wrong" not in visitor.dialogue().lower()


@every_engine
def test_talk(open_window, title, asked):
    name, notes = ENGINES[title]
    caller = open_window(browser.Caller, title)
    page = caller.page
    page.keyboard.press("Escape")
    page.click(".talk-finer > summary")
    page.fill("[data-setting=max_tokens]", TOKENS)
    page.dispatch_event("[data-setting=max_tokens]", "change")
    page.fill("[data-setting=top_p]", "0.85")
    page.dispatch_event("[data-setting=top_p]", "change")
    page.select_option("[data-setting=block]", "8")
    caller.listens()
    caller.say(SAMPLES / "sky.wav")
    caller.wait_for(caller.waterfalls, what="the reply")
    caller.wait_for(lambda: caller.figures()["playedMs"] > 200, what="sound")
    assert len(caller.said("assistant")[-1].split()) > 1
    caller.wait_for(lambda: caller.said("user"), what="what was heard")
    caller.wait_for(lambda: caller.state() == "listening", what="the end of the reply")
    caller.type("And at night?")
    caller.wait_for(lambda: len(caller.received("response.done")) == 2, what="the second reply")
    assert [event["name"] for event in caller.received("parley.engine")][-1] == name
    assert notes in page.text_content(".talk-notes")
    assert not caller.received("error")
    done = caller.received("response.done")
    assert [event["response"]["status"] for event in done] == ["completed", "completed"]
    assert asked == {"blocks": {8}, "top_p": {0.85}}
    caller.call()


def test_the_preset_for_a_small_card_is_chosen_and_answers(open_window, asked):
    """Nothing of it was loaded before, and what writes other languages down cannot be fetched."""
    visitor = open_window(browser.Visitor, "OpenS2S (24 GB)")
    page = visitor.page
    assert "blocks of 16 units" in page.inner_text(".engine-facts")
    page.keyboard.press("Escape")
    page.click("#settings button")
    page.get_by_label("number input for Longest answer").fill(TOKENS)
    page.keyboard.press("Tab")
    visitor.ask("Why is the sky blue?")
    visitor.wait_for(lambda: visitor.played() > 0, what="sound")
    visitor.wait_for_figures()
    assert len(next(filter(None, visitor.replies())).split()) > 1
    assert asked["blocks"] == {16}


def test_presets_stand_in_the_list_with_what_they_need(chromium, url):
    window = browser.Window(chromium, url)
    page = window.page
    page.click(".engine-button")
    for title, words in (
        ("OpenS2S (24 GB)", ("A GPU with 24 GB (int8)", "up to 4096 tokens", "blocks of 16 units")),
        ("OpenS2S", ("A GPU with 40 GB (bfloat16)", "up to 8192 tokens", "blocks of 25 units")),
    ):
        page.fill(".engine-search", title)
        page.click(f".engine-list > li:has-text('{title}') >> nth=0")
        window.wait_for(
            lambda words=words: all(word in page.inner_text(".engine-facts") for word in words),
            what=f"the needs of {title}",
        )
    assert not window.complaints
    window.close()
