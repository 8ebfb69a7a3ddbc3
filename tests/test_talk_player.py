"""The loudspeaker's worklet, sample by sample: the page's own file, driven by hand in a browser.

In an `AudioContext` messages and sound meet when they like; here they meet where the test
wants it, so that every sample can be looked at.
"""

import numpy as np
import pytest

pytest_plugins = ["talk_fixtures"]
pytestmark = pytest.mark.browser

RATE = 24_000
QUANTUM = 128
#: From the moment that the worklet is told to be silent, s.
SILENT_AFTER = 0.02
#: A loud low note; cut dead, it steps by its amplitude.
AMPLITUDE, PITCH = 0.9, 120.0
#: Nothing may step by more than twice what the steepest part of the note does.
STEEPEST = 2 * AMPLITUDE * 2 * np.pi * PITCH / RATE

#: A worklet's world without its thread: what is posted arrives at once, and sound is pulled.
DRIVER = """
async (address) => {
  Object.assign(globalThis, {
    sampleRate: 24000, currentTime: 0,
    AudioWorkletProcessor: class { constructor() { this.port = globalThis.port; } },
    registerProcessor: (_, Processor) => { globalThis.Processor = Processor; },
    port: { postMessage: (message) => globalThis.reports.push(message) },
    reports: [],
  });
  await import(address);
  globalThis.player = new Processor();
  globalThis.tell = (message) => player.port.onmessage({ data: message });
  globalThis.pull = (quanta) => {
    const heard = [];
    for (let quantum = 0; quantum < quanta; quantum++) {
      const out = new Float32Array(128);
      player.process([], [[out]]);
      heard.push(...out);
      globalThis.currentTime += 128 / sampleRate;
    }
    return heard;
  };
}
"""


class Player:
    """The worklet in the hands of a test."""

    def __init__(self, page, url):
        self.page = page
        page.goto(url)
        page.evaluate(DRIVER, f"{url}live-page/playback-worklet.js")

    def play(self, item, samples):
        self.page.evaluate(
            "([item, pcm]) => tell({ type: 'audio', item, pcm: Float32Array.from(pcm) })",
            [item, np.asarray(samples, float).tolist()],
        )

    def end(self, item):
        self.page.evaluate("item => tell({ type: 'end', item })", item)

    def flush(self):
        self.page.evaluate("() => tell({ type: 'flush', at: currentTime })")

    def pull(self, quanta):
        return np.array(self.page.evaluate("quanta => pull(quanta)", quanta))

    def reports(self, kind):
        reports = self.page.evaluate(
            "() => reports.map(({ pcm, ...report }) =>"
            " ({ ...report, pcm: pcm ? Array.from(pcm) : [] }))"
        )
        return [report for report in reports if report["type"] == kind]


@pytest.fixture
def player(talk_chromium, page_url):
    page = talk_chromium.new_page()
    yield Player(page, page_url)
    page.close()


def note(seconds):
    return AMPLITUDE * np.sin(2 * np.pi * PITCH * np.arange(round(seconds * RATE)) / RATE)


def steepest(heard):
    return np.abs(np.diff(heard)).max()


@pytest.mark.parametrize("quanta", [10, 13, 17, 24])
def test_a_flush_is_silent_soon_and_does_not_click(player, quanta):
    player.play("one", note(1.0))
    before = player.pull(quanta)
    player.flush()
    after = player.pull(20)
    heard = np.concatenate([before, after])
    assert abs(before[-1]) > AMPLITUDE / 10, "cut where it is silent anyway: this tells nothing"
    assert steepest(heard) < STEEPEST
    assert np.flatnonzero(after)[-1] < SILENT_AFTER * RATE
    (report,) = player.reports("flushed")
    assert report["silentMs"] <= SILENT_AFTER * 1000
    assert report["ms"] == pytest.approx(len(before) / RATE * 1000)


def test_pieces_of_any_size_join_without_a_seam(player):
    whole, random = note(2.0), np.random.default_rng(0)
    cuts = np.sort(random.choice(len(whole), 60, replace=False))
    heard = []
    for piece in np.split(whole, cuts):
        player.play("one", piece)
        # As much as there is by then, so that it never runs dry.
        heard.append(player.pull(len(piece) // QUANTUM))
    player.end("one")
    heard.append(player.pull(40 * 60))
    heard = np.concatenate(heard)
    assert np.abs(heard[: len(whole)] - whole).max() < 1e-6
    assert not heard[len(whole) :].any()
    (report,) = player.reports("ended")
    assert report["underruns"] == 0
    taped = np.concatenate([r["pcm"] for r in player.reports("playhead")] + [report["pcm"]])
    assert np.abs(taped[: len(whole)] - whole * 32767).max() <= 1


def test_sound_that_is_late_is_counted_and_not_lost(player):
    whole = note(0.4)
    player.play("one", whole[: 10 * QUANTUM])
    heard = [player.pull(15)]
    player.play("one", whole[10 * QUANTUM :])
    player.end("one")
    heard = np.concatenate([*heard, player.pull(100)])
    assert not heard[10 * QUANTUM : 15 * QUANTUM].any()
    late = heard[15 * QUANTUM :][: len(whole) - 10 * QUANTUM]
    assert np.abs(late - whole[10 * QUANTUM :]).max() < 1e-6
    assert player.reports("ended")[0]["underruns"] == 1


def test_the_next_reply_begins_after_the_fade_of_the_one_before(player):
    player.play("one", note(1.0))
    player.pull(13)
    player.flush()
    player.play("two", note(0.5))
    player.end("two")
    heard = player.pull(120)
    assert steepest(heard) < STEEPEST
    silent = np.flatnonzero(heard[:QUANTUM])[-1]
    following = heard[QUANTUM:][: RATE // 2]
    assert silent < QUANTUM
    assert np.abs(following - note(0.5)).max() < 1e-6
    assert [report["item"] for report in player.reports("started")] == ["one", "two"]


def test_flushes_in_a_browser_are_silent_in_time(open_talk):
    """In a real context, by its own clock: most of it is the way of the message."""
    caller = open_talk()
    taken = caller.page.evaluate(
        """async (address) => {
          const { Loudspeaker } = await import(address);
          let answer;
          const loudspeaker = await Loudspeaker.open((report) => {
            if (report.type === "flushed") answer(report.silentMs);
          });
          const taken = [];
          for (let round = 0; round < 15; round++) {
            const flushed = new Promise((resolve) => { answer = resolve; });
            loudspeaker.play(`${round}`, new Float32Array(24000).fill(0.1));
            await new Promise((resolve) => setTimeout(resolve, 150));
            loudspeaker.flush();
            taken.push(await flushed);
          }
          return taken;
        }""",
        f"{caller.page.url.rstrip('/')}/live-page/audio.js",
    )
    print([round(ms, 1) for ms in taken])
    assert np.median(taken) <= SILENT_AFTER * 1000
