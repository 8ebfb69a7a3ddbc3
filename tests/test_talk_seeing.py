"""A conversation in front of a camera that sees a file, with an engine that says what it sees."""

import browser
import pytest
from conftest import SAMPLES
from playwright.sync_api import sync_playwright
from sight_files import write_y4m

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser.need_chromium()
    path = write_y4m(tmp_path_factory.mktemp("camera") / "blue.y4m", "blue")
    with sync_playwright() as playwright:
        chromium = browser.launch(playwright, "/dev/null", camera=path)
        yield chromium
        chromium.close()


@pytest.fixture
def caller(chromium, seeing_url):
    caller = browser.Caller(chromium, seeing_url)
    caller.choose_engine("seer")
    yield caller
    complaints = caller.complaints
    caller.close()
    assert not complaints, "the browser's console shows errors"


def answers(caller):
    return [said for said in caller.said("assistant") if "I see" in said]


def shown(caller):
    """The mean colour of the frame that stands beside the last turn."""
    return caller.page.evaluate(
        """async () => {
          const image = [...document.querySelectorAll(".talk-seen img")].at(-1);
          if (!image) return null;
          await image.decode();
          const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0, 1, 1);
          return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
        }"""
    )


def test_what_the_camera_sees_goes_with_what_is_said(caller):
    caller.wait_for(lambda: caller.page.is_enabled(".talk-camera"), what="the Seer")
    caller.listens()
    caller.page.wait_for_timeout(700)
    assert not caller.sent("parley.camera"), "it is on though nobody switched it on"
    caller.page.click(".talk-camera")
    caller.wait_for(lambda: len(caller.sent("parley.camera")) >= 3, what="frames")
    caller.say(SAMPLES / "sky.wav")
    caller.wait_for(lambda: "blue" in " ".join(answers(caller)), what="the answer")
    red, green, blue = caller.wait_for(lambda: shown(caller), what="the frame in the dialogue")
    assert blue > 200 and red < 60 and green < 60
    assert "were shown" in caller.page.inner_text(".talk-seen") or "was shown" in (
        caller.page.inner_text(".talk-seen")
    )
    caller.shoot("talk-seeing")

    # The camera is pulled out: the browser ends its track.
    caller.page.evaluate(
        """() => {
          const [track] = document.querySelector(".talk-preview").srcObject.getVideoTracks();
          track.stop();
          track.dispatchEvent(new Event("ended"));
        }"""
    )
    assert "The camera is gone. The conversation goes on" in caller.note()
    assert caller.page.get_attribute(".talk-camera", "aria-pressed") == "false"
    caller.wait_for(lambda: caller.state() == "listening", what="the end of the answer")
    caller.page.wait_for_timeout(2200)
    caller.say(SAMPLES / "bees.wav")
    caller.wait_for(lambda: len(answers(caller)) == 2, what="the second answer")
    assert "I see 0: nothing" in answers(caller)[1]
    assert caller.page.query_selector(".talk[data-line=open]"), "the line is gone"


def test_a_camera_that_sends_nothing_for_a_while(caller):
    """As when another program takes it: the browser mutes its track, and may bring it back."""
    muted = """muted => {
      const [track] = document.querySelector(".talk-preview").srcObject.getVideoTracks();
      Object.defineProperty(track, "muted", { value: muted, configurable: true });
      track.dispatchEvent(new Event(muted ? "mute" : "unmute"));
    }"""
    frames = lambda: len(caller.sent("parley.camera"))  # noqa: E731
    caller.wait_for(lambda: caller.page.is_enabled(".talk-camera"), what="the Seer")
    caller.listens()
    caller.page.click(".talk-camera")
    caller.wait_for(lambda: frames() >= 2, what="frames")
    caller.page.evaluate(muted, True)
    assert "The camera sends no pictures now" in caller.note()
    caller.page.wait_for_timeout(300)  # One may be on its way.
    before = frames()
    caller.page.wait_for_timeout(1500)
    assert frames() == before, "a still picture is sent as if it were new"
    assert caller.page.get_attribute(".talk-camera", "aria-pressed") == "true"
    caller.page.evaluate(muted, False)
    caller.wait_for(lambda: frames() > before, what="frames again")
    assert "no pictures" not in caller.note()
    assert caller.page.query_selector(".talk[data-line=open]"), "the line is gone"
