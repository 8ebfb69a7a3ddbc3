"""The session as a file: made in the browser, opened here."""

import difflib
import io
import json
import re
import wave
import zipfile

import numpy as np
import pytest
from conftest import SAMPLES

from engines.base import Cancel
from engines.messages import Transcript
from speech.pcm import Audio

pytest_plugins = ["talk_fixtures"]
pytestmark = pytest.mark.browser

RATE = 24_000


def download(caller, path):
    with caller.page.expect_download() as started:
        caller.page.click(".talk-download")
    started.value.save_as(path)
    return zipfile.ZipFile(path)


def read_sound(archive, name):
    with wave.open(io.BytesIO(archive.read(name))) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        assert file.getframerate() == RATE
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)


def cut(sound, begin_ms, end_ms):
    return sound[int(begin_ms * RATE / 1000) : int(end_ms * RATE / 1000)]


def alike(one, other):
    """Whether most words agree: a busy machine may tear a gap into what is played."""
    words = [re.findall(r"\w+", text.lower()) for text in (one, other)]
    return difflib.SequenceMatcher(None, *words).ratio() > 0.7


@pytest.fixture(scope="module")
def words(services):
    """Recognizes what is in a piece of a file."""

    def words(sound):
        events = services.transcribe(Audio(sound, RATE), language="en", cancel=Cancel())
        return [event.text for event in events if isinstance(event, Transcript)][-1]

    return words


def test_a_session_as_a_file(open_talk, tmp_path, words):
    caller = open_talk()
    assert caller.page.is_disabled(".talk-download")
    caller.listens()
    began = caller.page.evaluate("performance.now()")
    caller.say(SAMPLES / "bees.wav")
    caller.wait_for(lambda: caller.said("user"), what="the transcript")
    caller.say(SAMPLES / "sky.wav", over=400)
    caller.wait_for(lambda: len(caller.waterfalls()) == 2, what="both replies")
    caller.wait_for(lambda: caller.state() == "listening", what="the end of the reply")
    caller.wait_for(lambda: "2 turns" in caller.page.inner_text(".talk-figures"), what="figures")
    ended = caller.page.evaluate("performance.now()")
    heard_ms = caller.figures()["heardMs"]
    archive = download(caller, tmp_path / "session.zip")
    downloaded = caller.page.evaluate("performance.now()")  # Since the page was opened.
    assert archive.testzip() is None
    assert archive.namelist() == ["you.wav", "parley.wav", "transcript.json", "timings.json"]
    you, parley = read_sound(archive, "you.wav"), read_sound(archive, "parley.wav")

    # One time line, as long as the session.
    assert len(you) == len(parley)
    assert ended - began - 100 < len(you) / RATE * 1000 < downloaded
    transcript = json.loads(archive.read("transcript.json"))
    bees, answer, sky, other = transcript["items"]
    assert [item["role"] for item in transcript["items"]] == ["user", "assistant"] * 2
    assert [item["interrupted"] for item in transcript["items"]] == [False, True, False, False]

    # What was said is where the transcript says, in the words of the transcript.
    assert bees["text"] == "How do bees make honey?"
    for item in (bees, sky):
        said = words(cut(you, item["begin_ms"], item["end_ms"] + 200))
        assert alike(said, item["text"]), f"{said!r} is not {item['text']!r}"

    # What was heard of the replies, and nothing after the interruption.
    heard = cut(parley, answer["begin_ms"], answer["end_ms"])
    assert np.sqrt(np.mean(heard**2)) > 0.01
    assert len(heard) / RATE * 1000 > heard_ms - 10
    assert not cut(parley, answer["end_ms"] + 1, other["begin_ms"] - 1).any()
    assert not cut(parley, 0, answer["begin_ms"] - 1).any()
    assert answer["begin_ms"] < sky["begin_ms"] < answer["end_ms"], "it was not spoken over"
    said = words(cut(parley, other["begin_ms"], other["end_ms"] + 100))
    assert alike(said, other["text"]), f"{said!r} is not {other['text']!r}"

    timings = json.loads(archive.read("timings.json"))
    assert [turn["item"] for turn in timings["responses"]] == [answer["id"], other["id"]]
    assert all(turn["voice"] and not turn["typed"] for turn in timings["responses"])
    played = sorted(turn["marks"]["first_played"] for turn in timings["responses"])
    assert (timings["count"], timings["p50_ms"], timings["p95_ms"]) == (2, *played)


def test_a_new_conversation_begins_a_new_file(open_talk, tmp_path):
    caller = open_talk()
    caller.type("My boat is called Pelican. Say hello to it.")
    caller.wait_for(lambda: caller.waterfalls() and caller.state() == "ready", what="the reply")
    archive = download(caller, tmp_path / "typed.zip")
    question, answer = json.loads(archive.read("transcript.json"))["items"]
    assert question["text"] == "My boat is called Pelican. Say hello to it."
    assert 0 <= question["begin_ms"] <= answer["begin_ms"]
    assert not read_sound(archive, "you.wav").any()
    assert json.loads(archive.read("timings.json"))["p50_ms"] is None, "typed turns are not timed"
    caller.listens()
    caller.call()
    assert caller.page.is_enabled(".talk-download"), "after hanging up it can still be had"
    caller.listens()
    assert caller.page.is_disabled(".talk-download")


def test_the_oldest_minutes_go(open_talk, page_url):
    caller = open_talk()
    kept = caller.page.evaluate(
        """async (url) => {
          const { Recording } = await import(url);
          let now = 0;
          const recording = new Recording(() => now);
          recording.begin(false);
          const say = (minute) => {
            now = minute * 60_000 + 1000;
            recording.hear(new Int16Array(24_000).fill(minute + 1));
          };
          [0, 30, 59].forEach(say);
          const whole = recording.wavs()["you.wav"].size;
          say(61);
          const { "you.wav": you, "parley.wav": parley } = recording.wavs();
          const sound = new Int16Array((await you.arrayBuffer()).slice(44));
          const minute = 60 * 24_000;
          return {
            whole, size: you.size, other: parley.size, first: sound[0], middle: sound[28 * minute],
            last: sound.at(-1), forgotten: recording.transcript(new Map()).forgotten_ms,
          };
        }""",
        f"{page_url}live-page/recording.js",
    )
    minute = 60 * RATE * 2
    assert kept["whole"] == 44 + 59 * minute + 2 * RATE
    assert kept["forgotten"] == 2 * 60_000
    assert kept["size"] == kept["other"] == 44 + 59 * minute + 2 * RATE
    assert (kept["first"], kept["middle"], kept["last"]) == (0, 31, 62)
