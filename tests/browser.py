"""A real browser for the tests: Debian's chromium, with a microphone that says what tests want."""

import base64
import json
import os
import shutil
import time
import wave
from pathlib import Path

import pytest
from conftest import ROOT

SHOTS = ROOT / "build" / "screenshots"
MICROPHONE = Path(__file__).parent / "microphone.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

#: Said by Gradio and its libraries about themselves, not about the page.
HARMLESS = ("svelte.dev/e/", "ResizeObserver loop")


def need_chromium() -> None:
    """Skip where there is no browser; never in CI."""
    if CHROMIUM:
        return
    if os.environ.get("CI"):
        pytest.fail("CI has to have chromium: see .ci/run")
    pytest.skip(
        "NO BROWSER: the page itself is NOT tested on this machine. "
        "Install chromium (apt-get install chromium) and run again."
    )


def launch(playwright, microphone: Path, *, again=False, camera: Path | None = None):
    """Chromium with its fake devices: its microphone hears the file `microphone`.

    When the file begins depends on how fast the machine is: see `Caller.say` for sound on time.

    Args:
        playwright: Starts it.
        microphone: A WAV file, heard from the moment the microphone is opened.
        again: When it is over, it begins again.
        camera: A Y4M or MJPEG file that the camera sees; None: the browser's own test picture.
    """
    sees = [f"--use-file-for-fake-video-capture={camera}"] if camera else []
    heard = microphone if again else f"{microphone}%noloop"
    return playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=[
            "--no-sandbox",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={heard}",
            *sees,
            "--autoplay-policy=no-user-gesture-required",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    )


def write_wav(path: Path, audio) -> None:
    """Write what a microphone shall hear."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.rate)
        file.writeframes(audio.pcm16().tobytes())


def choose_engine(page, title):
    """Choose an engine in the header, by its title."""
    page.click(".engine-button")
    page.fill(".engine-search", title)
    # Nothing can be chosen before the server has said what there is.
    page.wait_for_selector(".engine-active")
    page.press(".engine-search", "Enter")


class Window:
    """A session in a window of its own."""

    def __init__(self, browser, url, *, size=(1200, 900), dark=False, script=None):
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
        )
        if script:
            self.context.add_init_script(path=script)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url + ("?__theme=dark" if dark else ""))

    def _note(self, message):
        if message.type == "error" and not any(known in message.text for known in HARMLESS):
            self.complaints.append(message.text)

    def wait_for(self, condition, seconds=60, what="the page"):
        """Poll until `condition()` holds; returns its value."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
            self.page.wait_for_timeout(50)
        return value

    def shoot(self, name, part=None):
        """Take a picture of the window, or of a part of the page, which may be longer."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        shown = self.page.query_selector(part) if part else self.page
        shown.screenshot(path=SHOTS / f"{name}.png")

    def close(self):
        self.context.close()


class Visitor(Window):
    """The chat tab's parts by name."""

    def __init__(self, browser, url, **options):
        super().__init__(browser, url, **options)
        self.page.get_by_role("tab", name="Chat").click()
        self.page.wait_for_selector("#send")
        # Components mount one after the other; a click before that is lost.
        self.page.wait_for_selector("#clip button:has-text('Record')")
        self.page.wait_for_timeout(500)

    def choose(self, task):
        self.page.click(f"#task label:has-text('{task}')")
        self.page.wait_for_timeout(500)

    def sample(self, number):
        self.page.click(f"#samples button >> nth={number}")

    def ask(self, text):
        self.page.fill("#text textarea", text)
        self.page.press("#text textarea", "Enter")

    def replies(self):
        return [
            message.inner_text().strip() for message in self.page.query_selector_all("#chat .bot")
        ]

    def dialogue(self):
        return self.page.inner_text("#chat")

    def wait_for_figures(self, count=1):
        """Wait until so many replies are complete."""
        shown = "#chat .parley-timings"
        self.wait_for(
            lambda: len(self.page.query_selector_all(shown)) >= count, what=f"{count} replies"
        )

    def wait_until_idle(self):
        self.wait_for(lambda: self.page.is_enabled("#send"), what="the end of the reply")

    def wait_until_busy(self):
        self.wait_for(lambda: self.page.is_enabled("#stop"), seconds=10, what="Stop")

    def played(self):
        """Seconds of the live reply that have been played."""
        return self.page.evaluate(
            "Math.max(0, ...[...document.querySelectorAll('#live audio')].map(a => a.currentTime))"
        )


class Caller(Window):
    """The talk tab's parts by name.

    Args:
        browser: From `launch`.
        url: The page's.
        own_device: The microphone is the browser's, not `say`.
        options: See `Window`.
    """

    def __init__(self, browser, url, *, own_device=False, **options):
        super().__init__(browser, url, script=None if own_device else MICROPHONE, **options)
        self.frames: list[tuple[str, dict]] = []
        self.page.on("websocket", self._record)
        self.page.wait_for_function("document.querySelector('#talk .talk')?.view !== undefined")

    def _record(self, socket):
        """Keep what goes over the line: ("sent" or "received", event)."""
        if "/v1/realtime" not in socket.url:
            return
        socket.on("framesent", lambda text: self.frames.append(("sent", json.loads(text))))
        socket.on("framereceived", lambda text: self.frames.append(("received", json.loads(text))))

    def sent(self, kind):
        return [event for way, event in self.frames if way == "sent" and event["type"] == kind]

    def received(self, kind):
        return [event for way, event in self.frames if way == "received" and event["type"] == kind]

    def view(self):
        return self.page.evaluate_handle("document.querySelector('#talk .talk').view")

    def figures(self):
        return self.page.evaluate("document.querySelector('#talk .talk').view.figures")

    def call(self):
        self.page.click(".talk-call")

    def listens(self):
        """Start talking, and wait until the line and the microphone are open."""
        self.call()
        self.wait_for(lambda: self.page.query_selector(".talk[data-line=open]"), what="the line")

    def say(self, wav: Path, *, wait=True, over=0):
        """Say a sound file into the microphone.

        Args:
            wav: The file.
            wait: Return when all of it has been said.
            over: Begin when so much of a reply has been played, ms.
        """
        self.page.evaluate(
            """async ([view, wav, wait, over]) => {
              while (view.figures.playedMs < over) await new Promise(requestAnimationFrame);
              const said = say(wav);
              if (wait) await said;
            }""",
            [self.view(), base64.b64encode(wav.read_bytes()).decode(), wait, over],
        )

    def hear_to_the_end(self):
        """Wait until the microphone has heard speech, and then a second without any."""
        self.page.evaluate(
            """view => new Promise(resolve => {
              const { level } = view.client.on;
              let heard = false, quiet = 0;
              view.client.on.level = (who, value) => {
                level(who, value);
                if (who !== "me") return;
                quiet = value < 0.01 ? quiet + 1 : 0;
                heard ||= value > 0.05;
                if (!heard || quiet < 50) return;
                view.client.on.level = level;
                resolve();
              };
            })""",
            self.view(),
        )

    def type(self, text):
        self.page.fill(".talk-text", text)
        self.page.press(".talk-text", "Enter")

    def state(self):
        return self.page.inner_text(".talk-state")

    def note(self):
        return self.page.inner_text(".talk-note")

    def dispatch(self, kind, **fields):
        """Give the client an event as if the server had sent it."""
        self.page.evaluate(
            "([view, event]) => view.client.take(event)", [self.view(), {"type": kind, **fields}]
        )

    def choose_engine(self, name):
        """Tell the tab what the header tells it; what is offered there is what there really is."""
        self.page.evaluate(
            "name => dispatchEvent(new CustomEvent('parley-engine', { detail: name }))", name
        )

    def keep_notes(self):
        """Remember all that is told from now on, however short it stands there: see `notes`."""
        self.page.evaluate(
            """view => {
              const note = view.note.bind(view);
              view.notes = [];
              view.note = (text) => { view.notes.push(text ?? ""); note(text); };
            }""",
            self.view(),
        )

    def notes(self):
        return self.page.evaluate("view => view.notes", self.view())

    def said(self, role):
        rows = self.page.query_selector_all(f".talk-{role} .talk-words")
        return [text for row in rows if (text := row.inner_text().strip())]

    def waterfalls(self):
        return [line.inner_text() for line in self.page.query_selector_all(".talk-waterfall")]
