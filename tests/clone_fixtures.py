"""The voices tab in a browser, over a library of its own: `pytest_plugins = ["clone_fixtures"]`."""

import base64
import re

import browser
import pytest
from conftest import IDLE
from playwright.sync_api import sync_playwright

from services import Services
from settings import Settings


class VoicesTab(browser.Window):
    """The voices tab's parts by name; its microphone says what `say` is given."""

    def __init__(self, chromium, url, **options):
        super().__init__(chromium, url, script=browser.MICROPHONE, **options)
        self.page.get_by_role("tab", name="Voices").click()
        self.page.wait_for_selector("#voice-speak")
        # Components mount one after the other; a click before that is lost.
        self.wait_for(lambda: "Clara" in self.text("#voice-cards"), what="the library")
        self.wait_for(lambda: self.page.is_enabled("#voice-speak"), what="the first voice")

    def text(self, part):
        return self.page.inner_text(part)

    def choose(self, group, label):
        self.page.click(f"{group} label:has-text('{label}')")

    def unfold(self, part):
        self.page.click(f"{part} button.label-wrap")

    def to_recording(self):
        self.choose("#voice-source", "A recording")
        self.page.wait_for_selector("#voice-clip button:has-text('Record')")

    def record(self, part, wav):
        """Say a sound file into one of the recorders."""
        self.page.click(f"{part} button:has-text('Record')")
        self.page.wait_for_selector(f"{part} button:has-text('Stop')")
        self.page.evaluate("wav => say(wav)", base64.b64encode(wav.read_bytes()).decode())
        self.page.click(f"{part} button:has-text('Stop')")

    def upload(self, path):
        """Give a file as the reference; returns what is said about it."""
        clear = "#voice-clip button[aria-label='Clear']"
        if self.page.query_selector(clear):
            self.page.click(clear)
            self.page.wait_for_selector("#voice-report p", state="detached")
        self.page.click("#voice-clip button[aria-label*='pload']")
        self.page.set_input_files("#voice-clip input[type=file]", path)
        return self.report()

    def give(self, button, path):
        """Choose a file with a button."""
        with self.page.expect_file_chooser() as chooser:
            self.page.click(button)
        chooser.value.set_files(path)

    def report(self):
        """What the check said, once it has."""
        self.page.wait_for_selector("#voice-report .voice-verdict, #voice-report .voice-problem")
        return self.text("#voice-report")

    def card(self, name):
        return f".voice-card:has(b:text-is('{name}'))"

    def press(self, name, action):
        self.page.click(f"{self.card(name)} [data-action={action}]")

    def wait_for_text(self, part, pattern, seconds=60):
        found = re.compile(pattern, re.S)
        try:
            self.wait_for(lambda: found.search(self.text(part)), seconds, what=pattern)
        except AssertionError as error:
            raise AssertionError(f"{error}; there is: {self.text(part)!r}") from None
        return self.text(part)

    def wait_for_result(self):
        self.wait_for_text("#voice-status", r"of speech by")

    def streamed(self):
        """Seconds of the stream that have been played."""
        return self.page.evaluate(
            "Math.max(0, ...[...document.querySelectorAll('#voice-live audio')]"
            ".map((player) => player.currentTime))"
        )

    def playing(self):
        """Name and place of the player that sounds."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll("#voice-compare audio")]
              .filter((player) => !player.paused)
              .map((player) => [player.getAttribute("aria-label"), player.currentTime])"""
        )


@pytest.fixture(scope="session")
def clone_services(tmp_path_factory):
    """Services with a library that no other test sees; the weights are those of the machine."""
    data = tmp_path_factory.mktemp("data")
    known = Settings(_env_file=None, port=0, warm=False, idle_unload=IDLE, temperature=0)
    (data / "weights").symlink_to(known.data / "weights")
    with Services(known.model_copy(update={"data": data})) as services:
        yield services


@pytest.fixture(scope="session")
def clone_url(clone_services):
    from demos.page import launch  # noqa: PLC0415

    page = launch(clone_services, block=False)
    yield page.local_url
    page.close()


@pytest.fixture(scope="module")
def clone_chromium(tmp_path_factory):
    browser.need_chromium()
    from voice_clips import chords  # noqa: PLC0415

    unheard = tmp_path_factory.mktemp("microphone") / "unheard.wav"
    browser.write_wav(unheard, chords(1))
    with sync_playwright() as playwright:
        chromium = browser.launch(playwright, unheard)
        yield chromium
        chromium.close()


@pytest.fixture
def open_tab(clone_chromium, clone_url):
    """Opens the voices tab, in a window of its own each time."""
    tabs = []

    def open_tab(**options):
        tabs.append(VoicesTab(clone_chromium, clone_url, **options))
        return tabs[-1]

    yield open_tab
    for tab in tabs:
        complaints = tab.complaints
        tab.close()
        assert not complaints, "the browser's console shows errors"
