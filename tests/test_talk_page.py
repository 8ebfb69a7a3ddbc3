"""The talk tab in a real browser: a spoken dialogue of two turns, the second an interruption."""

import browser
import numpy as np
import pytest
from conftest import SAMPLES
from playwright.sync_api import sync_playwright

from engines.base import Cancel
from speech.files import read_clip
from speech.pcm import Audio

pytestmark = pytest.mark.browser

#: The sound of a quiet room, so that nothing in it is digital silence.
ROOM = 1e-4
#: From the first question's end to the second one's start, s: the reply is under way by then.
GAP = 4.0


@pytest.fixture(scope="module", autouse=True)
def warm(services):
    """The models are loaded before anybody is waiting for an answer."""
    with services.models.use(*services.engine().models("sqa", "en"), cancel=Cancel()):
        pass


@pytest.fixture(scope="module")
def dialogue(tmp_path_factory):
    """A question, a pause, then another question over the answer."""
    rate = 16_000
    room = np.random.default_rng(0)
    parts = [1.5, SAMPLES / "bees.wav", GAP, SAMPLES / "sky.wav", 30.0]
    sounds = [
        room.normal(0, ROOM, int(part * rate))
        if isinstance(part, float)
        else read_clip(part).audio.resampled(rate).samples
        for part in parts
    ]
    path = tmp_path_factory.mktemp("microphone") / "dialogue.wav"
    audio = Audio(np.concatenate(sounds).astype(np.float32), rate)
    browser.write_wav(path, audio)
    return path


@pytest.fixture(scope="module")
def playwright():
    browser.need_chromium()
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture
def open_page(playwright, page_url, dialogue):
    opened = []

    def open_page(**options):
        # A browser each: the sound file begins when a browser first opens its microphone.
        chromium = browser.launch(playwright, dialogue)
        opened.append((chromium, browser.Caller(chromium, page_url, **options)))
        return opened[-1][1]

    yield open_page
    for chromium, caller in opened:
        complaints = caller.complaints
        chromium.close()
        assert not complaints, "the browser's console shows errors"


def test_a_dialogue_with_an_interruption(open_page):
    caller = open_page()
    caller.call()
    caller.wait_for(lambda: caller.said("user"), what="the first transcript")
    assert caller.said("user") == ["How do bees make honey?"]
    caller.wait_for(lambda: caller.state() == "speaking", what="the reply")
    first = caller.wait_for(lambda: caller.figures()["playedMs"], what="sound")
    caller.wait_for(lambda: caller.figures()["playedMs"] > first + 200, what="sound to advance")
    caller.shoot("talk-speaking")
    silent = caller.wait_for(lambda: caller.figures()["silentMs"], what="the interruption")
    assert silent <= 20
    caller.wait_for(lambda: len(caller.said("user")) == 2, what="the second transcript")
    caller.wait_for(lambda: caller.page.query_selector(".talk-unheard"), what="what was not heard")
    caller.wait_for(lambda: len(caller.waterfalls()) == 2, what="both waterfalls")
    assert all("ms" in line for line in caller.waterfalls())
    assert "2 turns" in caller.page.inner_text(".talk-figures")
    caller.wait_for(lambda: caller.state() == "listening", what="the end of the reply")
    print(caller.figures(), caller.waterfalls(), caller.page.inner_text(".talk-figures"))
    caller.page.click(".talk-waterfall summary >> nth=0")
    caller.shoot("talk")
    caller.call()
    assert caller.state() == "ready"


def test_typing_needs_no_microphone_and_interrupts(open_page):
    caller = open_page(dark=True)
    caller.type("Count from one to one hundred in words, separated by commas.")
    caller.wait_for(lambda: caller.figures()["playedMs"] > 500, what="sound")
    caller.type("What is the capital of France?")
    silent = caller.wait_for(lambda: caller.figures()["silentMs"], what="silence")
    assert silent <= 20
    caller.wait_for(lambda: "Paris" in caller.said("assistant")[-1], what="the answer")
    caller.wait_for(lambda: len(caller.waterfalls()) == 2, what="both waterfalls")
    assert "no turns yet" in caller.page.inner_text(".talk-figures"), "typed turns are not timed"
    caller.shoot("talk-dark")


def test_escape_stops(open_page):
    caller = open_page()
    caller.type("Count from one to one hundred in words, separated by commas.")
    caller.wait_for(lambda: caller.state() == "speaking", what="sound")
    caller.page.keyboard.press("Escape")
    caller.wait_for(lambda: caller.figures()["silentMs"], seconds=5, what="silence")
    caller.wait_for(lambda: caller.state() == "ready", seconds=5, what="the end")


def test_push_to_talk(open_page):
    caller = open_page(size=(390, 844))
    caller.page.click(".talk-side summary")
    caller.page.check("input[value=push]")
    caller.page.click(".talk-side summary")
    caller.call()
    caller.page.evaluate("document.activeElement.blur()")
    caller.page.wait_for_timeout(800)
    caller.page.keyboard.down(" ")
    caller.wait_for(lambda: caller.state() == "hearing", seconds=2, what="the press")
    caller.page.wait_for_timeout(4200)
    caller.page.keyboard.up(" ")
    caller.wait_for(lambda: caller.said("user"), what="the transcript")
    assert "bees" in caller.said("user")[0]
    # Nobody presses during the second question, so nothing is interrupted.
    caller.wait_for(caller.waterfalls, what="the whole reply")
    assert caller.figures()["silentMs"] is None
    assert len(caller.said("user")) == 1
    wide = caller.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, f"the page is {wide} px wide"
    caller.shoot("talk-narrow")


def test_half_duplex_is_deaf_while_it_speaks(open_page):
    caller = open_page()
    caller.page.check("input[value=half]")
    caller.call()
    caller.wait_for(caller.waterfalls, what="the whole reply")
    assert caller.figures()["silentMs"] is None
    assert caller.page.query_selector(".talk-unheard") is None


def test_a_dropped_line_is_taken_up_again(open_page):
    caller = open_page()
    caller.type("My boat is called Pelican. Say hello to it.")
    caller.wait_for(caller.waterfalls, what="the reply")
    caller.page.evaluate("element => element.client.socket.close(4000)", caller.view())
    caller.wait_for(lambda: "dropped" in caller.note(), seconds=5, what="the note")
    caller.wait_for(lambda: not caller.note(), seconds=10, what="the new line")
    caller.type("What is my boat called?")
    caller.wait_for(lambda: len(caller.waterfalls()) == 2, what="the answer")
    assert "Pelican" in caller.said("assistant")[-1], "the new line does not know the dialogue"


def test_a_page_without_a_microphone_says_so(open_page):
    caller = open_page()
    caller.page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia ="
        " async () => { throw new DOMException('', 'NotFoundError'); }; }"
    )
    caller.call()
    caller.wait_for(lambda: "no microphone" in caller.note(), seconds=5, what="the reason")
    assert caller.state() == "ready"


def test_a_refusal_is_told_in_the_servers_words(open_page):
    caller = open_page()
    caller.page.evaluate("view => { view.client.getToken = async () => 'spent'; }", caller.view())
    caller.type("Hello.")
    caller.wait_for(lambda: "token was used" in caller.note(), seconds=5, what="the reason")
    assert caller.state() == "ready"


def test_changing_the_mode_in_mid_word_leaves_no_state_behind(open_page):
    caller = open_page()
    caller.call()
    caller.wait_for(lambda: caller.state() == "hearing", seconds=10, what="speech")
    caller.page.check("input[value=push]")
    caller.wait_for(lambda: caller.state() == "ready", seconds=2, what="the new mode")


def test_other_tabs_leave_the_conversation_alone(open_page):
    caller = open_page()
    caller.type("Count from one to one hundred in words, separated by commas.")
    caller.wait_for(lambda: caller.state() == "speaking", what="sound")
    caller.page.get_by_role("tab", name="Chat").click()
    before = caller.figures()["playedMs"]
    caller.wait_for(lambda: caller.figures()["playedMs"] > before + 500, what="sound to go on")
    caller.page.get_by_role("tab", name="Talk").click()
    assert caller.state() == "speaking"
