"""The monitor tab in a real browser."""

import json

import browser
import pytest
from conftest import SAMPLES
from playwright.sync_api import sync_playwright

from monitor.turns import percentile

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium():
    browser.need_chromium()
    with sync_playwright() as playwright:
        chromium = browser.launch(playwright, SAMPLES / "sky.wav")
        yield chromium
        chromium.close()


@pytest.fixture
def open_monitor(chromium, page_url):
    windows = []

    def open_monitor(**options):
        window = browser.Window(chromium, page_url, **options)
        windows.append(window)
        window.page.get_by_role("tab", name="Monitor").click()
        window.page.wait_for_selector(".monitor-tiles")
        return window

    yield open_monitor
    for window in windows:
        complaints = window.complaints
        window.close()
        assert not complaints, "the browser's console shows errors"


@pytest.fixture(scope="module", autouse=True)
def busy(services, openai_client):
    """A server at which something happens."""
    services.watch.start()
    for text in ("Good morning.", "The sky is blue, and the grass is green.", "Good night."):
        openai_client.audio.speech.create(model="default", voice="default", input=text)
    steps = [300, 420, 560, 700, 705, 760, 2900]
    names = ["endpoint", "transcript", "first_token", "first_audio", "first_sent", "first_played"]
    for late in (0, 40, -60, 130):
        marks = dict(zip([*names, "last_sent"], (step + late for step in steps), strict=True))
        services.watch.live_turn("embedded", marks, 2.4)


def test_what_happens_is_drawn_while_it_is_looked_at(open_monitor, openai_client, services):
    window = open_monitor()
    page = window.page
    tiles = page.inner_text(".monitor-tiles")
    median = percentile(services.watch.stages()["mouth_to_ear"], 0.5)
    assert "Mouth to ear" in tiles and f"{median:.0f} ms" in tiles
    assert "embedded" in page.inner_text(".monitor-turns")
    page.wait_for_selector("#monitor .vega-embed canvas, #monitor .vega-embed svg")
    first = page.inner_text(".monitor-turns li >> nth=0")
    openai_client.audio.speech.create(model="default", voice="default", input="Good evening.")
    window.wait_for(
        lambda: page.inner_text(".monitor-turns li >> nth=0") != first, 20, "the new turn"
    )
    page.wait_for_timeout(6000)
    window.shoot("monitor", "#monitor")


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_export(open_monitor, kind):
    window = open_monitor()
    with window.page.expect_download() as download:
        window.page.get_by_role("button", name=kind.upper()).click()
    content = download.value.path().read_text()
    assert download.value.suggested_filename.endswith(kind)
    if kind == "json":
        assert json.loads(content)["stages_ms"]["mouth_to_ear"]["count"] >= 4
    else:
        assert len(content.splitlines()) > 4 and "first_played_ms" in content.splitlines()[0]


@pytest.mark.parametrize(
    ("name", "options"), [("dark", {"dark": True}), ("narrow", {"size": (390, 844)})]
)
def test_looks(open_monitor, name, options):
    window = open_monitor(**options)
    window.page.wait_for_timeout(2000)
    width = window.page.evaluate("document.documentElement.scrollWidth")
    assert width <= (options.get("size") or (1200, 0))[0], "it scrolls sideways"
    window.shoot(f"monitor-{name}", "#monitor")
