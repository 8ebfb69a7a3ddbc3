"""The monitor tab in a real browser."""

import json
import time

import browser
import gpu_driver
import pytest
import slow_engine
from conftest import SAMPLES
from fake_models import until
from gpu_driver import CARDS, Driver
from playwright.sync_api import sync_playwright

from demos.monitor_frames import LATENCIES, SHARES, STAGES
from demos.monitor_pictures import SHOWN
from demos.page import launch
from monitor.turns import Turn, percentile
from services import Services
from settings import Settings

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
    typed = (("first_token", 250.0), ("first_audio", 510.0), ("total", 1900.0))
    services.watch.turns.add(Turn(time.time(), "embedded", "sqa", "finished", typed, 3.0))
    for _ in range(2):
        services.watch.underrun()


def texts(page, plot, role):
    """What is written in a plot: at its axes, or in its legend."""
    page.wait_for_selector(f"#monitor-{plot} svg .role-{role}")
    return page.locator(f"#monitor-{plot} svg .role-{role} text").all_text_contents()


def test_what_happens_is_drawn_while_it_is_looked_at(open_monitor, openai_client, services):
    window = open_monitor()
    page = window.page
    tiles = page.inner_text(".monitor-tiles")
    median = percentile(services.watch.stages()["mouth_to_ear"], 0.5)
    assert "Mouth to ear" in tiles and f"{median:.0f} ms" in tiles
    assert f"{services.watch.underruns()} underruns" in tiles
    assert "embedded" in page.inner_text(".monitor-turns")
    page.wait_for_selector("#monitor .vega-embed canvas, #monitor .vega-embed svg")
    first = page.inner_text(".monitor-turns li >> nth=0")
    openai_client.audio.speech.create(model="default", voice="default", input="Good evening.")
    window.wait_for(
        lambda: page.inner_text(".monitor-turns li >> nth=0") != first, 20, "the new turn"
    )
    page.wait_for_timeout(6000)
    window.shoot("monitor", "#monitor")


def test_nothing_was_asked_yet(chromium):
    """Plots without a point have axes, too; the browser has nothing to complain of."""
    settings = Settings(_env_file=None, port=0, warm=False, engine="slow")
    with Services(settings, [slow_engine.entry(slow_engine.Slow())]) as services:
        services.watch.start()
        page = launch(services, block=False)
        window = browser.Window(chromium, page.local_url)
        window.page.get_by_role("tab", name="Monitor").click()
        window.page.wait_for_selector(".monitor-empty")
        assert texts(window.page, "memory", "legend-label") == ["process"]
        turn = Turn(time.time(), "slow", "tts", "finished", (("first_audio", 510.0),), 3.0)
        services.watch.turns.add(turn)
        window.page.wait_for_selector(".monitor-turns")
        assert texts(window.page, "latencies", "legend-label") == list(LATENCIES)
        assert texts(window.page, "stages", "legend-label") == list(SHARES)
        window.close()
        page.close()
        assert not window.complaints


def test_memory_is_drawn_from_zero_and_gpus_beside_it(open_monitor, services, monkeypatch):
    gpu_driver.install(monkeypatch, Driver(*CARDS))
    until(lambda: services.watch.notes()[-1].gpus)
    page = open_monitor().page
    loaded = page.inner_text("#monitor-tiles .monitor-small")
    assert "NVIDIA L4 1.0 of 24.0 GB; NVIDIA A100 1.0 of 40.0 GB" in loaded
    assert texts(page, "memory", "legend-label") == ["process", "GPU"]
    marks = [text for text in texts(page, "memory", "axis-label") if ":" not in text]
    assert float(marks[0]) == 0, "growth is seen only from zero"


def test_no_more_than_the_last_turns_are_shown(open_monitor, services):
    for number in range(SHOWN + 1):
        done = (("total", 100.0 + number),)
        services.watch.turns.add(Turn(time.time(), f"e{number}", "text", "finished", done))
    page = open_monitor().page
    shown = page.locator(".monitor-turns li .monitor-what").all_inner_texts()
    assert shown == [f"text, e{number}" for number in range(SHOWN, 0, -1)]
    kept = len(services.watch.turns.all())
    heading = page.inner_text("#monitor-turns h3")
    assert heading == f"The last {SHOWN} turns, of {kept} that are kept"


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
    assert texts(window.page, "latencies", "legend-label") == list(LATENCIES)
    cut = window.page.evaluate(
        """() => [...document.querySelectorAll("#monitor .role-legend-label text")].filter(text =>
          text.getBoundingClientRect().right
            > text.closest("svg").getBoundingClientRect().right).map(text => text.textContent)"""
    )
    assert not cut, "names of lines are cut off"
    touching = window.page.evaluate(
        """names => [...document.querySelectorAll("#monitor-stages .role-axis-label text")]
          .filter(text => names.includes(text.textContent))
          .map(text => text.getBoundingClientRect())
          .filter((box, at, all) => at && box.left < all[at - 1].right + 2).length""",
        list(STAGES.values()),
    )
    assert not touching, "names of stages run into each other"
    assert width <= (options.get("size") or (1200, 0))[0], "it scrolls sideways"
    window.shoot(f"monitor-{name}", "#monitor")
