"""The talk tab where no WebSocket comes through, in a real browser behind a real proxy."""

import base64
import copy
from contextlib import ExitStack
from pathlib import Path

import browser
import pytest
from conftest import SAMPLES
from gradio.utils import get_upload_folder
from plain_proxy import proxied

from demos.page import launch
from errors import EngineError

pytestmark = pytest.mark.browser
pytest_plugins = ["talk_fixtures"]

#: Sound files, and a word of each.
BEES, SKY = (SAMPLES / "bees.wav", "honey"), (SAMPLES / "sky.wav", "sky")
#: What a browser says by itself about a WebSocket that does not open.
REFUSED = "WebSocket connection to"
#: Why the server hangs up on a browser that cannot keep up.
LATE = "seconds late"


class Caller(browser.Caller):
    """The parts of the fallback by name."""

    def talk(self):
        """Press Start once, and wait until the fallback listens."""
        self.call()
        self.wait_for(lambda: self.state() == "listening", what="the fallback")

    def press(self, label):
        self.page.click(f"#fallback-microphone button:has-text('{label}')")

    def state(self):
        return self.text(".fallback-state")

    def notice(self):
        return self.text(".fallback-notice")

    def text(self, selector):
        found = self.page.query_selector(f"#fallback {selector}")
        return found.inner_text() if found else ""

    def said(self, role):
        who = {"user": "user", "assistant": "bot"}[role]
        rows = self.page.query_selector_all(f"#fallback-dialogue .{who}.message")
        return [text for row in rows if (text := row.inner_text().strip()) not in ("", "…")]

    def ask(self, question, tries=4):
        """Say a question, and wait until it was heard.

        A browser that has no time for its sound garbles it, or sends it so late that the
        server hangs up; then it is said again.
        """
        wav, word = question
        # What is shown first is not yet all of it, and two questions in a row may be one row.
        times = lambda: " ".join(self.said("user")).count(word)  # noqa: E731
        before = times()
        for _ in range(tries):
            self.say(wav)
            try:
                self.wait_for(lambda: times() > before or LATE in self.notice(), 20, "a transcript")
            except AssertionError:
                continue
            if times() > before:
                return
            self.press("Stop")
            self.press("Record")
            self.wait_for(lambda: self.state() == "listening", what="the fallback, again")
        raise AssertionError(f"no {word!r} in {self.said('user')}: {self.state()} {self.notice()}")

    def say(self, wav):
        """Say a sound file into the microphone, to the end."""
        self.page.evaluate("wav => say(wav)", base64.b64encode(wav.read_bytes()).decode())

    def played(self):
        """Seconds of the reply that have been played; 0 if there is none."""
        return self.page.evaluate(
            "document.querySelector('#fallback-player audio')?.currentTime ?? 0"
        )

    def wait_for_sound(self):
        """Wait until a reply sounds, and goes on to."""
        first = self.wait_for(self.played, what="sound")
        self.wait_for(lambda: self.played() > first, what="sound to advance")

    def wait_for_silence(self):
        self.wait_for(lambda: not self.played() and self.state() == "listening", what="silence")


@pytest.fixture(scope="module")
def proxy_url(page_url):
    with proxied(page_url) as url:
        yield url


@pytest.fixture
def open_fallback(talk_chromium, proxy_url):
    callers = []

    def open_fallback(url=proxy_url, **options):
        callers.append(Caller(talk_chromium, url, **options))
        return callers[-1]

    yield open_fallback
    for caller in callers:
        complaints = [line for line in caller.complaints if not line.startswith(REFUSED)]
        caller.close()
        assert not complaints, "the browser's console shows errors"


def test_two_turns(open_fallback):
    kept = set(Path(get_upload_folder()).rglob("audio.wav"))
    caller = open_fallback()
    caller.talk()
    assert "no WebSocket" in caller.text(".fallback-note")
    assert not caller.page.is_visible("#talk")
    for question in (BEES, SKY):
        caller.ask(question)
        caller.wait_for_sound()
        caller.shoot("talk-fallback")
        caller.wait_for_silence()
        assert question[1] in caller.said("assistant")[-1]
        assert "from your last word" in caller.text(".fallback-delay")
    caller.press("Stop")
    caller.wait_for(lambda: caller.state() == "ready", what="the end")
    pieces = set(Path(get_upload_folder()).rglob("audio.wav")) - kept
    assert len(pieces) <= 2, "what was said is left on the disk"


def test_a_reply_is_interrupted_by_speech(open_fallback):
    caller = open_fallback()
    caller.talk()
    caller.ask(BEES)
    caller.wait_for_sound()
    caller.ask(SKY)
    unheard = "#fallback-dialogue .bot del"
    caller.wait_for(lambda: caller.page.query_selector(unheard), what="what was not heard")
    caller.wait_for_sound()
    assert "sky" in caller.said("assistant")[-1]


def test_a_loudspeaker_does_not_interrupt(open_fallback):
    caller = open_fallback()
    caller.talk()
    caller.page.check("#fallback input[type=checkbox]")
    caller.ask(BEES)
    turns = len(caller.said("user"))
    caller.wait_for_sound()
    caller.say(SKY[0])
    caller.wait_for_silence()
    assert len(caller.said("user")) == turns
    assert not caller.page.query_selector("#fallback-dialogue .bot:last-child del")


@pytest.mark.parametrize("how", ["button", "key"])
def test_a_reply_is_stopped(open_fallback, how):
    caller = open_fallback()
    caller.talk()
    caller.ask(BEES)
    caller.wait_for_sound()
    if how == "button":
        caller.page.click("#fallback-stop")
    else:
        caller.page.keyboard.press("Escape")
    caller.wait_for_silence()
    assert not caller.notice()


def test_visitors_do_not_cross(open_fallback):
    one, other = open_fallback(), open_fallback(dark=True)
    one.talk()
    other.talk()
    one.ask(BEES)
    other.ask(SKY)
    one.wait_for_silence()
    other.wait_for_silence()
    other.shoot("talk-fallback-dark")
    assert "honey" in one.said("assistant")[-1] and "honey" not in other.page.inner_text("body")
    assert "sky" in other.said("assistant")[-1] and "sky" not in one.page.inner_text("body")


def test_an_engine_that_fails_is_told(open_fallback, services, monkeypatch):
    caller = open_fallback()
    caller.talk()

    def fail(*args, **options):
        raise EngineError("The chat model ran out of memory.")
        yield

    monkeypatch.setattr(services, "converse", fail)
    caller.say(BEES[0])
    caller.wait_for(lambda: "out of memory" in caller.notice(), what="the message")
    monkeypatch.undo()
    caller.wait_for(lambda: caller.state() == "listening", what="the end of it")
    caller.ask(SKY)
    caller.wait_for_sound()
    assert not caller.notice()


def test_a_full_room_says_so_and_a_closed_page_makes_room(open_fallback, services):
    small = copy.copy(services)
    small.settings = services.settings.model_copy(update={"max_live": 1})
    page = launch(small, block=False)
    try:
        with proxied(page.local_url) as url:
            first, second = open_fallback(url), open_fallback(url)
            first.talk()
            second.call()
            second.wait_for(lambda: "full" in second.notice(), what="the reason")
            first.close()
            second.wait_for(lambda: _listens(second), what="the seat")
    finally:
        page.close()


def _listens(caller):
    """Whether the caller has a seat; tries to get one."""
    record = caller.page.query_selector("#fallback-microphone button:has-text('Record')")
    if record:
        record.click()
        caller.page.wait_for_timeout(500)
    return caller.state() == "listening"


@pytest.mark.parametrize("network", ["never answers", "forbids"])
def test_other_networks_without_websockets(open_fallback, page_url, network):
    with ExitStack() as stack:
        url = page_url
        if network == "never answers":
            url = stack.enter_context(proxied(page_url, silent=True))
        caller = open_fallback(url)
        if network == "forbids":
            caller.page.evaluate("() => { window.WebSocket = function () { throw Error(); }; }")
        caller.talk()
        assert "no WebSocket" in caller.text(".fallback-note")


def test_who_types_is_not_heard(open_fallback):
    caller = open_fallback()
    caller.type("Hello.")
    caller.wait_for(lambda: caller.text(".fallback-note"), what="the fallback")
    caller.page.wait_for_selector("#fallback-microphone button:has-text('Record')")


def test_a_page_with_websockets_has_no_fallback(open_fallback, page_url):
    caller = open_fallback(page_url)
    caller.listens()
    assert not caller.page.query_selector("#fallback")
