"""The talk tab behind a proxy that carries no WebSockets, in a real browser."""

import base64

import browser
import pytest
from conftest import SAMPLES
from plain_proxy import proxied

pytestmark = pytest.mark.browser
pytest_plugins = ["talk_fixtures"]

BEES, SKY, STORY = SAMPLES / "bees.wav", SAMPLES / "sky.wav", SAMPLES / "story.wav"
#: What a browser says itself about a WebSocket that does not open.
REFUSED = "WebSocket connection to"


class Caller(browser.Caller):
    """The parts of the fallback by name."""

    def talk(self):
        """Press Start, and wait until the fallback listens."""
        self.call()
        self.wait_for(lambda: self.state() == "listening", what="the fallback")

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

    def say(self, wav):
        """Say a sound file into the microphone, to the end."""
        self.page.evaluate("wav => say(wav)", base64.b64encode(wav.read_bytes()).decode())

    def played(self):
        """Seconds of the reply that have been played, None if the player has none."""
        return self.page.evaluate(
            "document.querySelector('#fallback-player audio')?.currentTime ?? null"
        )

    def wait_for_sound(self):
        """Wait until a reply sounds, and goes on to."""
        first = self.wait_for(self.played, what="sound")
        self.wait_for(lambda: (self.played() or 0) > first, what="sound to advance")


@pytest.fixture(scope="module")
def proxy_url(page_url):
    with proxied(page_url) as url:
        yield url


@pytest.fixture
def open_fallback(talk_chromium, proxy_url):
    callers = []

    def open_fallback(**options):
        callers.append(Caller(talk_chromium, proxy_url, **options))
        return callers[-1]

    yield open_fallback
    for caller in callers:
        complaints = [line for line in caller.complaints if not line.startswith(REFUSED)]
        caller.close()
        assert not complaints, "the browser's console shows errors"


@pytest.fixture
def seats(services, page_url):
    """Says how many seats are taken."""
    from live import routes  # noqa

    return lambda: None


def test_two_turns(open_fallback):
    caller = open_fallback()
    caller.talk()
    assert "no WebSocket" in caller.text(".fallback-note")
    assert not caller.page.is_visible("#talk")
    caller.say(BEES)
    caller.wait_for(lambda: caller.said("user"), what="the transcript")
    assert caller.said("user") == ["How do bees make honey?"]
    caller.wait_for_sound()
    caller.shoot("talk-fallback")
    caller.wait_for(lambda: caller.state() == "listening", what="the end of the reply")
    caller.say(SKY)
    caller.wait_for(lambda: len(caller.said("user")) == 2, what="the second transcript")
    caller.wait_for_sound()
    caller.wait_for(lambda: len(caller.said("assistant")) == 2, what="the second reply")
    caller.wait_for(lambda: "from your last word" in caller.text(".fallback-delay"), what="figures")
    print(caller.text(".fallback-delay"), caller.said("assistant"))
