"""VITA-1.5 in a real browser, with tiny random weights: chat with a picture, talk with the camera.

What it says means nothing; that pictures and frames reach it, and that its answers come as text
and as sound, does.
"""

import browser
import pytest
from conftest import SAMPLES
from playwright.sync_api import sync_playwright
from seeing_engine import picture
from sight_files import write_y4m
from vita15_checkpoint import place
from vita15_house import NAME, services_over

from demos.page import launch
from engines.base import Cancel

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    data = place(tmp_path_factory.mktemp("data"))
    for services in services_over(data, engine=NAME, temperature=0):
        with services.models.use(*services.engine("embedded").models("asr", "en"), cancel=Cancel()):
            yield services


@pytest.fixture(scope="module")
def url(services):
    page = launch(services, block=False)
    yield page.local_url
    page.close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser.need_chromium()
    film = write_y4m(tmp_path_factory.mktemp("camera") / "red.y4m", "red")
    with sync_playwright() as playwright:
        chromium = browser.launch(playwright, "/dev/null", camera=film)
        yield chromium
        chromium.close()


@pytest.fixture
def open_window(chromium, url):
    windows = []

    def open_window(kind):
        windows.append(kind(chromium, url))
        return windows[-1]

    yield open_window
    for window in windows:
        complaints = window.complaints
        window.close()
        assert not complaints, "the browser's console shows errors"


@pytest.fixture
def turns(services, monkeypatch):
    """What the engine is asked."""
    found = []
    converse = services.converse

    def conversed(turn, *args, **options):
        found.append(turn)
        return converse(turn, *args, **options)

    monkeypatch.setattr(services, "converse", conversed)
    return found


def give_picture(visitor, folder):
    path = folder / "red.jpg"
    path.write_bytes(picture("red"))
    with visitor.page.expect_file_chooser() as chooser:
        visitor.page.focus("#add-seen")
        visitor.page.keyboard.press("Enter")
    chooser.value.set_files(path)
    visitor.wait_for(lambda: visitor.page.query_selector("#seen img"), what="the picture")


def test_chat_about_a_picture(open_window, turns, tmp_path):
    visitor = open_window(browser.Visitor)
    give_picture(visitor, tmp_path)
    visitor.ask("What is it?")
    visitor.wait_for(lambda: visitor.played() > 0, what="sound")
    visitor.wait_for_figures()
    assert len(next(filter(None, visitor.replies())).split()) > 1
    (turn,) = turns
    assert [(image.width, image.height) for image in turn.images] == [(64, 48)]
    assert not turn.frames


def test_what_the_window_cannot_hold_is_refused_and_kept(open_window, turns, tmp_path):
    visitor = open_window(browser.Visitor)
    give_picture(visitor, tmp_path)
    question = "word " * 9_000
    visitor.ask(question)
    visitor.wait_for(
        lambda: "Nothing was cut" in visitor.page.inner_text("body"), what="the refusal"
    )
    visitor.wait_until_idle()
    # It stands in the dialogue, from where it can be copied, or sent again with other settings.
    assert question.strip() in visitor.dialogue(), "the question is lost"
    assert visitor.page.query_selector("#chat .user img"), "the picture is lost"
    visitor.page.click("#retry")
    visitor.wait_for(lambda: len(turns) == 2, what="the second attempt")
    assert turns[0].text == turns[1].text and turns[0].images == turns[1].images
    visitor.wait_until_idle()
    visitor.ask("What is it?")
    visitor.wait_for_figures()
    assert turns[2].text == "What is it?"


def test_talk_in_front_of_the_camera(open_window, turns):
    caller = open_window(browser.Caller)
    caller.wait_for(lambda: caller.page.is_enabled(".talk-camera"), what="an engine that sees")
    caller.listens()
    caller.page.click(".talk-camera")
    caller.wait_for(lambda: len(caller.sent("parley.camera")) >= 3, what="frames")
    caller.say(SAMPLES / "sky.wav")
    caller.wait_for(caller.waterfalls, what="the reply")
    caller.wait_for(lambda: caller.figures()["playedMs"] > 200, what="sound")
    assert len(caller.said("assistant")[-1].split()) > 1
    caller.wait_for(lambda: caller.page.query_selector(".talk-seen img"), what="the last frame")
    caller.wait_for(lambda: "sky" in " ".join(caller.said("user")).lower(), what="the question")
    answered = [turn for turn in turns if turn.audio is not None][-1]
    assert len(answered.frames) >= 2
    assert not answered.images
    assert not caller.received("error")
    caller.call()
