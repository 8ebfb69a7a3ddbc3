"""The camera of the talk tab, with the browser's fake one: 640 x 480 pixels."""

import base64
import io
import time

import numpy as np
import pytest
from between import EMBEDDED, SEER, Between
from PIL import Image

pytest_plugins = ["talk_fixtures"]
pytestmark = pytest.mark.browser


@pytest.fixture
def seen(open_talk):
    """A caller on a line, and what is between: no engine of a test can see."""
    caller = open_talk()
    between = Between(caller, swallows=["parley.camera", "session.update"], drops=["parley.engine"])
    caller.type("Hello.")
    caller.wait_for(caller.waterfalls, what="the reply")
    return caller, between


def is_on(caller):
    # Both at one moment, as it may be switching just now.
    pressed, shown = caller.page.evaluate(
        """() => [
          document.querySelector(".talk-camera").getAttribute("aria-pressed") === "true",
          document.querySelector(".talk-preview").checkVisibility(),
        ]"""
    )
    assert shown == pressed
    return pressed


def switch_on(caller):
    caller.dispatch("parley.engine", **SEER)
    caller.page.evaluate(
        """() => {
          const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = async (wanted) => (window.film = await ask(wanted));
        }"""
    )
    caller.page.click(".talk-camera")
    caller.wait_for(lambda: is_on(caller), what="the camera")


def is_released(caller):
    return caller.page.evaluate(
        "film.getTracks().every(({ readyState }) => readyState === 'ended')"
    )


def test_frames_are_sent_while_it_is_on(seen):
    caller, between = seen
    switch_on(caller)
    began = time.monotonic()
    caller.wait_for(lambda: len(between.of("parley.camera")) >= 4, what="frames")
    assert time.monotonic() - began > 1.2, "more than two frames a second"
    jpeg = base64.b64decode(between.of("parley.camera")[-1]["image"], validate=True)
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.format == "JPEG"
        assert image.size == (448, 336)
        assert np.asarray(image.convert("L")).std() > 5, "the picture is empty"
    mirrored = "getComputedStyle(document.querySelector('.talk-preview')).transform"
    assert caller.page.evaluate(mirrored) == "matrix(-1, 0, 0, 1, 0, 0)"
    caller.shoot("talk-camera")
    caller.page.click(".talk-camera")
    assert not is_on(caller)
    assert is_released(caller)
    count = len(between.of("parley.camera"))
    caller.page.wait_for_timeout(1200)
    assert len(between.of("parley.camera")) <= count + 1, "it goes on"


def test_dispatched_blind_engine_switches_it_off(seen):
    caller, _ = seen
    caller.dispatch("parley.engine", **EMBEDDED)
    assert caller.page.is_disabled(".talk-camera")
    title = caller.page.get_attribute(".talk-camera", "title")
    assert title == "Embedded (CPU) cannot see. Choose an engine that can."
    switch_on(caller)
    caller.dispatch("parley.engine", **EMBEDDED)
    assert not is_on(caller)
    assert is_released(caller)
    assert caller.page.is_disabled(".talk-camera")
    assert "Embedded (CPU) cannot see." in caller.note()


def test_dispatched_refusal_switches_it_off(seen):
    caller, _ = seen
    switch_on(caller)
    error = {"code": "cannot_see", "message": "Seer cannot see. Choose another engine."}
    caller.dispatch("error", error=error)
    assert not is_on(caller)
    assert caller.note() == "Seer cannot see. Choose another engine."


def test_it_stays_on_through_a_drop_and_goes_off_at_the_end(seen):
    caller, between = seen
    # A wish for an engine that sees: a new session begins with another one, for a moment.
    caller.dispatch("parley.engine", **EMBEDDED)
    caller.choose_engine("seer")
    switch_on(caller)
    between.hang_up(1012, "The server restarts.")
    caller.wait_for(lambda: len(between.urls) == 2 and not caller.note(), what="the new line")
    between.say("parley.engine", **EMBEDDED)
    between.say("parley.engine", **SEER)
    caller.wait_for(lambda: between.of("parley.camera"), what="frames on the new line")
    assert is_on(caller)
    between.hang_up(4408, "Nothing was said for 10 minutes.")
    caller.wait_for(lambda: not is_on(caller), what="the end")
    assert is_released(caller)


def test_a_camera_that_is_not_allowed_is_told_in_plain_words(seen):
    caller, _ = seen
    caller.dispatch("parley.engine", **SEER)
    caller.page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia ="
        " async () => { throw new DOMException('', 'NotAllowedError'); }; }"
    )
    caller.page.click(".talk-camera")
    caller.wait_for(lambda: "does not let this page use the camera" in caller.note())
    assert not is_on(caller)
    assert caller.page.query_selector(".talk[data-line=open]"), "the line is gone"
