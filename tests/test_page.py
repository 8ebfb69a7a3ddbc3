"""The page in a real browser, over the real models, with a real question spoken to it."""

import time

import browser
import pytest
from conftest import SAMPLES
from playwright.sync_api import sync_playwright

pytestmark = pytest.mark.browser

LONG = "Tell me everything about the history of Rome, in great detail."


@pytest.fixture(scope="module")
def chromium():
    browser.need_chromium()
    with sync_playwright() as playwright:
        chromium = browser.launch(playwright, SAMPLES / "sky.wav")
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(chromium, page_url):
    visitors = []

    def open_page(**options):
        visitors.append(browser.Visitor(chromium, page_url, **options))
        return visitors[-1]

    yield open_page
    for visitor in visitors:
        complaints = visitor.complaints
        visitor.close()
        assert not complaints, "the browser's console shows errors"


def test_ask_by_voice(open_page):
    visitor = open_page()
    visitor.page.click("#clip button:has-text('Record')")
    visitor.page.wait_for_timeout(3500)
    visitor.page.click("#clip button:has-text('Stop')")
    # Recording is sent at once: no further press.
    visitor.wait_for(lambda: "Why is the sky blue?" in visitor.dialogue(), what="the question")
    visitor.wait_for(lambda: visitor.played() > 0.5, what="sound to advance")
    visitor.wait_for_figures()
    dialogue = visitor.dialogue()
    assert "first sound" in dialogue and "real-time factor" in dialogue
    # The question's clip and the reply's stay in the chat as players.
    players = visitor.page.query_selector_all("#chat audio")
    assert len(players) == 2
    visitor.shoot("chat")


def test_text_appears_while_it_is_made_and_sound_starts_before_the_end(open_page):
    visitor = open_page()
    visitor.ask(LONG)
    visitor.wait_for(lambda: any("Rom" in reply for reply in visitor.replies()), what="text")
    visitor.wait_for(lambda: visitor.played() > 0, what="sound")
    assert not visitor.page.query_selector("#chat .parley-timings"), "sound came after the end"
    visitor.page.keyboard.press("Escape")
    visitor.wait_until_idle()


def test_stop_stops_and_keeps_what_was_said(open_page):
    visitor = open_page()
    visitor.ask("Tell me everything about the history of Rome, in great detail.")
    visitor.wait_until_busy()
    visitor.wait_for(lambda: any("Rom" in reply for reply in visitor.replies()), what="text")
    visitor.page.click("#stop")
    visitor.wait_until_idle()
    visitor.wait_for(lambda: "Stopped." in visitor.dialogue(), what="the notice")
    assert "Rom" in visitor.dialogue()
    before = visitor.dialogue()
    visitor.page.wait_for_timeout(1000)
    assert visitor.dialogue() == before, "the model went on"


def test_recognition_shows_subtitles(open_page):
    visitor = open_page()
    visitor.choose("ASR")
    visitor.sample(2)
    visitor.wait_for_figures()
    assert "nobody had spoken for a hundred years" in visitor.dialogue()
    play, subtitle = "#timed .play-pause-button", "#timed [data-testid='subtitle-display']"

    def shows_a_subtitle():
        # A press before the waveform is there does not play.
        if visitor.page.get_attribute(play, "aria-label") == "Play":
            visitor.page.click(play)
            visitor.page.wait_for_timeout(300)
        return visitor.page.inner_text(subtitle).strip()

    visitor.wait_for(shows_a_subtitle, what="a subtitle")
    visitor.shoot("recognition")


def test_synthesis(open_page):
    visitor = open_page()
    visitor.choose("TTS")
    visitor.ask("The first sentence is short. The second sentence is a little bit longer.")
    visitor.wait_for(lambda: visitor.played() > 0.3, what="sound")
    visitor.wait_for_figures()


def test_every_sample_works(open_page):
    visitor = open_page()
    for task in ("Spoken QA", "ASR", "TTS", "Text"):
        visitor.choose(task)
        for number in range(3):
            visitor.sample(number)
            visitor.wait_for_figures(number + 1)
            visitor.wait_until_idle()
        assert "parley-notice" not in visitor.page.inner_html("#chat"), task


def test_tasks_have_threads_of_their_own(open_page):
    visitor = open_page()
    visitor.choose("Text")
    visitor.ask("My parrot is called Captain Flint. Say hello to him.")
    visitor.wait_for_figures()
    visitor.wait_until_idle()
    visitor.choose("Spoken QA")
    assert "Flint" not in visitor.dialogue()
    visitor.ask("What is my parrot called?")
    visitor.wait_for_figures()
    assert not any("Flint" in reply for reply in visitor.replies())
    visitor.wait_until_idle()
    visitor.choose("Text")
    assert "Flint" in visitor.dialogue()
    visitor.ask("What is my parrot called?")
    visitor.wait_for_figures(2)
    assert "Flint" in visitor.replies()[-1] or "Flint" in visitor.dialogue().split("called?")[-1]


def test_retry_and_clear(open_page):
    visitor = open_page()
    visitor.choose("Text")
    visitor.ask("Say the word marmalade.")
    visitor.wait_for_figures()
    visitor.wait_until_idle()
    visitor.page.click("#retry")
    visitor.wait_until_busy()
    visitor.wait_until_idle()
    visitor.wait_for_figures()
    assert visitor.dialogue().count("Say the word marmalade.") == 1
    visitor.page.click("#clear")
    visitor.wait_for(lambda: "marmalade" not in visitor.dialogue(), what="an empty dialogue")
    visitor.ask("Which word did I ask you to say?")
    visitor.wait_for_figures()
    assert not any("marmalade" in reply.lower() for reply in visitor.replies())


def test_sessions_do_not_cross(open_page):
    one, two = open_page(), open_page()
    for visitor, name in ((one, "Pelican"), (two, "Albatross")):
        visitor.choose("Text")
        visitor.ask(f"My boat is called {name}. Please remember it.")
    for visitor in (one, two):
        visitor.wait_for_figures()
        visitor.wait_until_idle()
    for visitor in (one, two):
        visitor.ask("What is my boat called?")
    for visitor in (one, two):
        visitor.wait_for_figures(2)
    assert "Pelican" in one.replies()[-1] + one.dialogue() and "Albatross" not in one.dialogue()
    assert "Albatross" in two.dialogue() and "Pelican" not in two.dialogue()


def test_bad_input_gets_a_message(open_page, tmp_path):
    visitor = open_page()
    visitor.page.click("#send")
    visitor.wait_for(lambda: "Record or type a question" in visitor.page.inner_text("body"))
    fake = tmp_path / "fake.wav"
    fake.write_text("This is not a sound. " * 50)
    visitor.choose("ASR")
    visitor.page.click("#clip button[aria-label*='pload']")
    visitor.page.set_input_files("#clip input[type=file]", fake)
    visitor.page.wait_for_timeout(1500)
    visitor.page.click("#send")
    visitor.wait_for(lambda: visitor.page.query_selector("#chat .parley-notice"), what="a notice")
    assert "fake.wav" in visitor.dialogue() or "sound" in visitor.dialogue()
    # The decoder of the browser cannot draw a waveform of it, and says so on the console.
    visitor.complaints.clear()


def test_dark_and_narrow(open_page):
    dark = open_page(dark=True)
    dark.sample(0)
    dark.wait_for_figures()
    dark.shoot("chat-dark")
    narrow = open_page(size=(390, 844))
    narrow.sample(0)
    narrow.wait_for_figures()
    wide = narrow.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, f"the page is {wide} px wide"
    narrow.shoot("chat-narrow")


def test_status_line(open_page):
    visitor = open_page()
    status = visitor.wait_for(lambda: visitor.page.inner_text("#parley-status"))
    assert "GB" in status and "cpu" in status and "waiting" in status


def test_switching_in_mid_reply_leaves_the_other_dialogue_alone(open_page):
    visitor = open_page()
    visitor.choose("Text")
    visitor.ask(LONG)
    visitor.wait_for(lambda: any("Rom" in reply for reply in visitor.replies()), what="text")
    visitor.choose("TTS")
    visitor.wait_until_idle()
    assert "Rom" not in visitor.dialogue()
    visitor.choose("Text")
    visitor.wait_for(lambda: "Stopped." in visitor.dialogue(), what="what was said")


def test_clearing_in_mid_reply_clears(open_page):
    visitor = open_page()
    visitor.choose("Text")
    visitor.ask(LONG)
    visitor.wait_for(lambda: any("Rom" in reply for reply in visitor.replies()), what="text")
    visitor.page.click("#clear")
    visitor.wait_until_idle()
    visitor.page.wait_for_timeout(500)
    assert "Rom" not in visitor.dialogue()


def test_asking_in_mid_reply_is_refused_and_nothing_is_lost(open_page):
    visitor = open_page()
    visitor.choose("Text")
    visitor.ask(LONG)
    visitor.wait_for(lambda: any("Rom" in reply for reply in visitor.replies()), what="text")
    visitor.ask("And of Athens?")
    visitor.wait_for(lambda: "Press Stop" in visitor.page.inner_text("body"), what="a warning")
    assert visitor.page.input_value("#text textarea") == "And of Athens?"
    visitor.page.click("#stop")
    visitor.wait_until_idle()
    visitor.page.click("#send")
    visitor.wait_for_figures()
    assert "And of Athens?" in visitor.dialogue()


def test_closing_the_page_stops_the_model(open_page, services):
    visitor = open_page()
    visitor.choose("Text")
    visitor.ask(LONG)
    visitor.wait_for(lambda: services.turnstile.active == 1, what="the model at work")
    visitor.context.close()
    deadline = time.monotonic() + 20
    while services.turnstile.active and time.monotonic() < deadline:
        time.sleep(0.1)
    assert services.turnstile.active == 0
