"""The engine switch of the page in a real browser, over engines that load, fail and do not fit."""

import browser
import many_engines
import pytest
from conftest import SAMPLES
from many_engines import TERMS, Snail
from playwright.sync_api import sync_playwright

from engines.base import Cancel
from engines.catalog import CATALOG
from services import Services
from settings import Settings

pytestmark = pytest.mark.browser

#: The lowest contrast of each piece of text in the panel, and that text.
LOWEST_CONTRAST = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = channels(getComputedStyle(node).backgroundColor);
      if ((colour[3] ?? 1) > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const of = (node) => {
    const [a, b] = [channels(getComputedStyle(node).color), behind(node)].map(light);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  return [...document.querySelectorAll("#parley-engine *")]
    .filter((node) => node.offsetParent !== null && !node.disabled)
    .filter((node) => [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((node) => [of(node), node.textContent]).sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.fixture(scope="module")
def chromium():
    browser.need_chromium()
    with sync_playwright() as playwright:
        chromium = browser.launch(playwright, SAMPLES / "sky.wav")
        yield chromium
        chromium.close()


@pytest.fixture
def snail():
    return Snail()


@pytest.fixture
def house(snail):
    """Services of its own for each test: what is loaded in one must not help the next."""
    settings = Settings(_env_file=None, port=0, warm=False, temperature=0, chat_model="small")
    catalog = [CATALOG[0], *many_engines.entries(snail)]
    with Services(settings, catalog) as services:
        # Agreed to or not, nothing of that stays on this machine.
        services.desk._agreements.add = lambda name, terms: services.desk._agreements._kept.update(
            {name: {"terms": terms}}
        )
        yield services


@pytest.fixture
def open_page(chromium, house):
    from demos.page import launch  # noqa: PLC0415

    page = launch(house, block=False)
    switches = []

    def open_page(**options):
        switches.append(Switch(chromium, page.local_url, **options))
        return switches[-1]

    yield open_page
    for switch in switches:
        complaints = switch.complaints
        switch.close()
        assert not complaints, "the browser's console shows errors"
    page.close()


class Switch(browser.Window):
    """The switch's parts by name."""

    def __init__(self, chromium, url, **options):
        super().__init__(chromium, url, **options)
        self.wait_for(self.chosen, what="the switch")

    def chosen(self):
        return self.page.inner_text(".engine-chosen")

    def beside(self):
        return self.page.inner_text(".engine-only")

    def open(self):
        self.page.click(".engine-button")
        self.page.wait_for_selector(".engine-panel:popover-open")

    def find(self, words):
        self.page.fill(".engine-search", words)

    def enter(self):
        self.page.press(".engine-search", "Enter")

    def choose(self, title):
        browser.choose_engine(self.page, title)

    def rows(self):
        return [row.inner_text() for row in self.page.query_selector_all(".engine-list > li")]

    def facts(self):
        return self.page.inner_text(".engine-facts")

    def said(self):
        return self.page.inner_text(".engine-note") + self.page.inner_text(".engine-alert")

    def press(self, words):
        self.page.click(f".engine-actions button:text-is('{words}')")

    def tab(self, name):
        self.page.get_by_role("tab", name=name).click()

    def answer(self, text):
        """Ask in the chat tab; the answer."""
        self.tab("Chat")
        self.page.wait_for_selector("#clip button:has-text('Record')")
        self.page.click("#task label:has-text('Text')")
        self.page.wait_for_timeout(500)
        self.page.fill("#text textarea", text)
        self.page.press("#text textarea", "Enter")
        self.page.wait_for_selector("#chat .parley-timings")
        return self.page.inner_text("#chat")


def test_a_slow_load_is_shown_and_the_old_engine_answers_meanwhile(open_page, snail):
    switch = open_page()
    switch.choose("Snail")
    snail.go(3)
    switch.wait_for(lambda: "750 MB of 2.5 GB" in switch.facts(), what="progress")
    facts = switch.facts()
    assert "downloading" in facts and "42 s left" in facts and "models ready" in facts
    assert "2.5 GB to fetch" in facts and "reads as slowly" not in facts
    assert switch.chosen() == "Embedded (CPU)" and "Snail: loading 30 %" in switch.beside()
    assert "answers until Snail is loaded" in switch.said()
    switch.shoot("engines-loading")
    snail.go(7)
    switch.wait_for(lambda: switch.chosen() == "Snail", what="the choice")
    assert "Snail answers in all tabs now" in switch.said()
    switch.page.keyboard.press("Escape")
    # The talk tab heard of it, and so did the chat tab.
    model = "document.querySelector('#talk .talk').view.settings.value('model')"
    assert switch.page.evaluate(model) == "snail"
    assert "Snail: I see 0" in switch.answer("What do you see?")


def test_a_failed_load_keeps_the_old_engine_and_can_be_tried_again(open_page, snail):
    switch = open_page()
    snail.failure = "The Snail's shell is broken. Bring another one."
    switch.choose("Snail")
    snail.go()
    switch.wait_for(lambda: "shell is broken" in switch.said(), what="the reason")
    assert "Embedded (CPU) goes on answering" in switch.said()
    assert switch.chosen() == "Embedded (CPU)"
    switch.shoot("engines-failed")
    snail.failure = ""
    switch.press("Retry")
    snail.go()
    switch.wait_for(lambda: switch.chosen() == "Snail", what="the second attempt")


def test_what_is_typed_at_once_is_not_lost(open_page, snail):
    switch = open_page()
    switch.page.evaluate(
        """() => {
          const search = document.querySelector(".engine-search");
          document.querySelector(".engine-button").click();
          search.value = "Snail";
          search.dispatchEvent(new Event("input"));
        }"""
    )
    switch.page.wait_for_timeout(300)
    switch.enter()
    snail.go()
    switch.wait_for(lambda: switch.chosen() == "Snail", what="the choice")


def test_an_answer_from_before_the_load_does_not_end_the_wait(open_page, snail):
    switch = open_page()
    # The list that opening the panel asks for is made now, and arrives when the load has begun.
    switch.page.evaluate(
        """() => {
          const real = window.fetch;
          window.fetch = async (place, options) => {
            const answer = await real(place, options);
            if (!String(options?.body).includes("list_engines") || window.held) return answer;
            window.held = true;
            await new Promise((done) => { window.release = done; });
            return answer;
          };
        }"""
    )
    switch.open()
    switch.page.wait_for_function("() => window.release")
    switch.find("Snail")
    switch.enter()
    switch.wait_for(lambda: snail.loads, what="the load")
    switch.page.evaluate("window.release()")
    switch.page.wait_for_timeout(300)
    assert "was stopped" not in switch.said()
    snail.go()
    switch.wait_for(lambda: switch.chosen() == "Snail", what="the choice")


def test_a_load_is_stopped_and_what_is_in_use_stays(open_page, snail, house):
    switch = open_page()
    switch.choose("Snail")
    switch.wait_for(lambda: snail.loads, what="the load")
    switch.press("Stop")
    switch.wait_for(lambda: "was stopped" in switch.said(), what="the end of it")
    assert switch.chosen() == "Embedded (CPU)"
    switch.press("Load")
    snail.go()
    switch.wait_for(lambda: "Unload" in switch.facts(), what="the load")
    assert switch.chosen() == "Embedded (CPU)", "it was loaded, not chosen"
    with house.models.use("snail", cancel=Cancel()):
        switch.wait_for(
            lambda: switch.page.is_disabled(".engine-actions [data-does=unload]"), what="its user"
        )
        # Somebody who was quicker than the page hears why.
        assert "in use" in switch.page.evaluate(
            """() => fetch("gradio_api/component_server", { method: "POST",
              headers: { "Content-Type": "application/json" },
              body: JSON.stringify({ data: "snail", fn_name: "unload_engine", session_hash: "x",
                component_id: gradio_config.components.find(
                  ({ props }) => props.elem_id === "parley-engine").id }) })
              .then((answer) => answer.text())"""
        )
    switch.wait_for(
        lambda: switch.page.is_enabled(".engine-actions [data-does=unload]"), what="its end"
    )
    switch.press("Unload")
    switch.wait_for(lambda: "Snail is unloaded" in switch.said(), what="the end of it")
    assert house.desk.status("snail").state == "absent"


def test_terms_come_first_and_a_tab_can_have_an_engine_of_its_own(open_page, house):
    switch = open_page()
    switch.tab("Chat")
    switch.page.wait_for_selector("#send")
    switch.open()
    switch.find("scholar")
    assert TERMS in switch.facts()
    assert switch.page.is_disabled(".engine-actions [data-does=use]")
    switch.enter()
    assert "agree to them first" in switch.said()
    assert house.desk.status("scholar").terms == TERMS, "nobody has agreed yet"
    switch.page.check(".engine-terms input")
    switch.page.check(".engine-scope [value=tab]")
    switch.press("Load and use")
    switch.wait_for(lambda: switch.chosen() == "Scholar", what="the choice")
    assert switch.beside() == "Chat only" and house.desk.status("scholar").terms == ""
    switch.page.keyboard.press("Escape")
    switch.tab("Talk")
    switch.wait_for(lambda: switch.chosen() == "Embedded (CPU)", what="the other tab's engine")
    model = "document.querySelector('#talk .talk').view.settings.value('model')"
    assert switch.page.evaluate(model) == "embedded"
    assert "Scholar: I see 0" in switch.answer("What do you see?")
    # What holds in all tabs holds in this one again.
    switch.open()
    switch.page.check(".engine-scope [value=all]")
    switch.find("embedded")
    switch.page.click(".engine-actions [data-does=use]")
    switch.wait_for(lambda: switch.chosen() == "Embedded (CPU)", what="the choice")
    assert switch.beside() == ""


def test_what_does_not_fit_is_listed_with_reason_and_remedy(open_page):
    switch = open_page()
    switch.open()
    rows = switch.rows()
    assert len(rows) == 7
    (giant,) = (row for row in rows if row.startswith("Giant"))
    assert "needs 21 GB of GPU memory; this machine has none" in giant
    assert "hears and speaks English and Chinese" in giant
    (embedded,) = (row for row in rows if row.startswith("Embedded"))
    assert "matches voices" in embedded and "of memory" in embedded and "MIT" in embedded
    switch.find("chinese")
    assert [row.split("\n")[0] for row in switch.rows()] == ["Giant"]
    switch.enter()
    assert "It runs on a GPU with 24 GB." in switch.said()
    assert switch.chosen() == "Embedded (CPU)"
    assert "Load" not in switch.page.inner_text(".engine-facts h3 ~ *")
    switch.find("needs a telephone")
    assert switch.rows() == ["No engine is like that."]
    switch.shoot("engines-none")


def test_keyboard_alone_does(open_page):
    switch = open_page()
    page = switch.page

    def focused(name):
        page.wait_for_function("name => document.activeElement.className === name", arg=name)

    def at(name):
        page.wait_for_function(
            "name => document.querySelector('.engine-search')"
            ".getAttribute('aria-activedescendant') === name",
            arg=f"engine-{name}",
        )

    page.focus(".engine-button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".engine-panel:popover-open")
    page.wait_for_selector(".engine-button[aria-expanded=true]")
    focused("engine-search")
    at("embedded")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    at("scholar")
    assert "Scholar" in page.inner_text("#engine-scholar.engine-active")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    at("parcel")
    assert page.get_attribute("#engine-parcel", "aria-disabled") == "true"
    assert page.get_attribute("#engine-embedded", "aria-selected") == "true"
    page.keyboard.press("Escape")
    focused("engine-button")
    page.wait_for_selector(".engine-button[aria-expanded=false]")
    assert page.get_attribute(".engine-button", "aria-label") == (
        "Engine: Embedded (CPU), not loaded"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [(390, 844), (1200, 900)], ids=["narrow", "wide"])
def test_it_fits_and_can_be_read(open_page, dark, size):
    switch = open_page(dark=dark, size=size)
    switch.open()
    switch.page.wait_for_timeout(300)
    name = f"engines-{'dark' if dark else 'light'}-{size[0]}"
    for engine in ("giant", "scholar"):
        switch.page.click(f"#engine-{engine}", force=True)  # Greyed ones can be read, too.
        contrast, text = switch.page.evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, f"{text!r} has a contrast of {contrast:.1f}"
        switch.shoot(f"{name}-{engine}")
    box = switch.page.query_selector(".engine-panel").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= size[0]
    wide = switch.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= size[0], f"the page is {wide} px wide"
