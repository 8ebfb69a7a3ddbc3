"""What strangers send: files and texts that are broken, odd, or fine but unusual."""

import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import soundfile
from conftest import ROOT, SAMPLES
from fake_models import until
from gradio_client import handle_file
from gradio_client.exceptions import AppError

from demos.panel import Options
from demos.thread import Ask, Thread
from engines.base import Cancel
from engines.messages import (
    AudioChunk,
    Conversation,
    Finished,
    Sampling,
    TextDelta,
    Timings,
    Transcript,
    Turn,
)
from errors import InputError

RATE = 16_000
#: What is said in `assets/samples/sky.wav`, as far as a bad line lets it through.
SAID = r"sky"


@dataclass(frozen=True)
class BadClip:
    """A file and what is to become of it.

    Attributes:
        name: File name.
        told: Pattern of the message that refuses it; empty: it is recognized.
        advice: Pattern of what to do about it, in the same message.
        noted: Pattern of a note on a clip that is recognized; empty: none.
    """

    name: str
    told: str = ""
    advice: str = ""
    noted: str = ""

    @property
    def refused(self) -> bool:
        return bool(self.told)


CLIPS = (
    BadClip("zero-bytes.wav", r"empty \(0 bytes\)", r"again"),
    BadClip("no-frames.wav", r"empty|no sound|0 ms", r"Record|again|at least"),
    BadClip("blip-20ms.wav", r"only 20 ms", r"at least a word"),
    BadClip("silence.wav", r"could not hear speech.*silent", r"microphone is on"),
    BadClip("clipping-noise.wav", r"could not hear speech", r"only noise or music"),
    BadClip("all-nan.wav", r"NaN|damaged|could not hear speech", r"again|microphone"),
    BadClip("header-only.wav", r"not a sound file|empty|0 ms", r"Try|Record|again"),
    BadClip("text.wav", r"not a sound file", r"Try wav, flac, mp3"),
    BadClip("some-nan.wav", noted="damaged samples"),
    BadClip("eight-channels.wav", noted="8 channels were mixed"),
    BadClip("8khz.wav", noted="8 kHz"),
    BadClip("192khz.wav"),
    BadClip("truncated.wav", noted="ends early"),
    BadClip("speech.mp3"),
    BadClip("speech.m4a"),
    BadClip("speech.webm"),
    BadClip("speech.ogg"),
    BadClip("speech.flac"),
)
REFUSED = [clip for clip in CLIPS if clip.refused]
TAKEN = [clip for clip in CLIPS if not clip.refused]

FOX = "The quick brown fox jumps over the lazy dog. "
#: Names as an attacker or a careless person gives them, as far as a file system takes them.
ODD_NAMES = (
    "\u202evaw.live.wav",
    "bell\x07\x1b[31mred\nline.wav",
    "<img src=x onerror=alert(1)>.wav",
    "x" * 240 + ".wav",
    "-rf ..wav",
)


@dataclass(frozen=True)
class Text:
    """A text to speak; without `told` it is to be spoken."""

    name: str
    text: str
    told: str = ""
    advice: str = ""


NOTHING_TO_SAY = ("nothing in this text that I can speak", "letters, numbers and common signs")
TEXTS = (
    Text("empty", "", "no text yet", "Type something"),
    Text("blank", " \t\n ", "no text yet", "Type something"),
    Text("emoji", "😀🎉👩‍👩‍👧", *NOTHING_TO_SAY),
    Text("arabic", "مرحبا كيف حالك", *NOTHING_TO_SAY),
    Text("control", "\x00\x01\x02\x1b", *NOTHING_TO_SAY),
    Text("zero width", "\u200b\u200d\ufeff", *NOTHING_TO_SAY),
    Text("100,001", "x" * 100_001, r"100,001 .* 100,000 \(PARLEY_MAX_TEXT\)", "Shorten|cut"),
    Text("control inside", "Good\x00 mor\x07ning\x1b.\u202e"),
    Text("emoji inside", "😀 Good morning 🎉"),
    Text("arabic inside", "He said مرحبا and left."),
    Text("markup", "<script>alert(1)</script> ![x](http://127.0.0.1:1/x.png)"),
    Text("37 digits", "The number is " + "7" * 37 + ", I think."),
)
SAY = {text.name: text for text in TEXTS}
#: Control characters, but the line breaks that end a message, and overrides of the direction.
UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def make(folder: Path) -> None:
    """Write every file of `CLIPS` into `folder`."""
    speech, _ = soundfile.read(SAMPLES / "sky.wav", dtype="float32")
    random = np.random.default_rng(0)

    def write(name, samples, rate=RATE, subtype="PCM_16"):
        soundfile.write(folder / name, samples, rate, subtype=subtype)

    (folder / "zero-bytes.wav").touch()
    write("no-frames.wav", np.zeros(0, np.float32))
    write("blip-20ms.wav", speech[RATE : RATE + RATE // 50])
    write("silence.wav", np.zeros(2 * RATE, np.float32))
    write("clipping-noise.wav", np.sign(random.normal(size=2 * RATE)).astype(np.float32))
    write("all-nan.wav", np.full(2 * RATE, np.nan, np.float32), subtype="FLOAT")
    (folder / "header-only.wav").write_bytes((SAMPLES / "sky.wav").read_bytes()[:20])
    (folder / "text.wav").write_text("This is not a sound.\n" * 100)
    holes = speech.copy()
    holes[:: RATE // 10] = np.nan
    write("some-nan.wav", holes, subtype="FLOAT")
    write("eight-channels.wav", np.repeat(speech[:, np.newaxis], 8, axis=1))
    write("8khz.wav", resampled(speech, 8_000), 8_000)
    write("192khz.wav", resampled(speech, 192_000), 192_000)
    whole = (SAMPLES / "sky.wav").read_bytes()
    (folder / "truncated.wav").write_bytes(whole[: len(whole) * 3 // 4])
    write("speech.flac", speech)
    write("speech.ogg", speech, subtype="VORBIS")
    for name, codec in (
        ("speech.mp3", "libmp3lame"),
        ("speech.m4a", "aac"),
        ("speech.webm", "libopus"),
    ):
        encode(folder / name, codec, speech)


def resampled(samples, rate):
    """The speech at another rate."""
    at = np.arange(int(len(samples) * rate / RATE)) * RATE / rate
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


def encode(path: Path, codec: str, samples) -> None:
    """Write speech as FFmpeg would."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(stream.format, "mono", 48_000, stream.frame_size or 1024)
        for piece in (*resampler.resample(frame), *resampler.resample(None), None):
            out.mux(stream.encode(piece))


def half_hour(every: float = 60.0, minutes: int = 30):
    """Silence with the spoken question in it once every so many seconds."""
    speech, _ = soundfile.read(SAMPLES / "sky.wav", dtype="float32")
    samples = np.zeros(minutes * 60 * RATE, np.float32)
    for at in np.arange(1.0, minutes * 60 - 5, every):
        start = int(at * RATE)
        samples[start : start + len(speech)] = speech
    return samples


def assert_helps(message: str, told: str, advice: str = "") -> None:
    """A message for a person: what is wrong, what to do, and nothing of our insides."""
    assert re.search(told, message), f"says not what is wrong: {message!r}"
    assert re.search(advice, message), f"says not what to do: {message!r}"
    assert_plain(message)


def assert_plain(message: str) -> None:
    """No traceback, no class name, no path of ours."""
    for inside in ("Traceback", "Error:", "Exception", ".py", "0x", "site-packages", "None"):
        assert inside not in message, f"shows our insides ({inside}): {message!r}"
    assert not UNSEEN.search(message), f"has unseen characters: {message!r}"
    assert message.rstrip().endswith((".", "…")), f"is no sentence: {message!r}"


def odd_file(folder: Path, name: str) -> Path:
    """The spoken question under an odd name; skips what this file system cannot hold."""
    path = folder / name
    try:
        path.write_bytes((SAMPLES / "sky.wav").read_bytes())
    except OSError as error:
        pytest.skip(f"this file system takes no file of that name: {error}")
    return path


class Blocked:
    """An engine that speaks only when it is let."""

    def __init__(self, info):
        self.info = info
        self.entered = threading.Semaphore(0)
        self.let = threading.Event()

    def models(self, task, language=None):
        return ()

    def converse(self, turn, conversation, voice=None, *, cancel, **options):
        self.entered.release()
        cancel.on_set(self.let.set)
        assert self.let.wait(20)
        cancel.check()
        yield TextDelta(f"You said {turn.text}.")
        yield Finished(Timings())


OPTIONS = Options("embedded", "heart", "en", 0.7, 64, "", 20, "")


def shown(view):
    return " ".join(str(message["content"]) for message in view.messages)


def run(*arguments, cwd=None):
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, ROOT / "app.py", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "1000"},
    )


def heard(services, clip):
    events = services.transcribe(clip.audio, language="en", cancel=Cancel())
    return [event.text for event in events if isinstance(event, Transcript)][-1]


def lines_of(text, name):
    """What the command line says of a file."""
    return "\n".join(
        line.split(f"{name}: ")[1] for line in text.splitlines() if f"{name}: " in line
    )


def recognize(door, services, folder, client, command_line, name):
    """Send a file through one of the doors: the transcript, the message, the notes."""
    try:
        if door == "services":
            clip = services.clip(folder / name)
            return heard(services, clip), "", " ".join(clip.notes)
        if door == "API":
            return client.predict(handle_file(folder / name), api_name="/transcribe"), "", None
    except (InputError, AppError) as error:
        return "", str(error), ""
    text = lines_of(command_line.stdout, name)
    said = lines_of(command_line.stderr, name)
    return text, "" if text else said, said


def notices(visitor):
    return [item.inner_text() for item in visitor.page.query_selector_all("#chat .parley-notice")]


def upload(visitor, path):
    chooser = visitor.page.query_selector("#clip button[aria-label*='pload']")
    if chooser:
        chooser.click()
    visitor.page.set_input_files("#clip input[type=file]", path)
    visitor.page.wait_for_selector("#clip button[aria-label*='lear']", timeout=10_000)


def said_so_far(visitor):
    messages = visitor.page.query_selector_all("#chat .message")
    return [line for message in messages for line in message.inner_text().splitlines() if line]


def told_on_the_page(visitor, send):
    """Do what is bad; returns the message, after checking that nothing was lost by it."""
    before, count = said_so_far(visitor), len(notices(visitor))
    send()
    visitor.wait_for(lambda: len(notices(visitor)) > count, seconds=20, what="a message")
    visitor.wait_until_idle()
    assert said_so_far(visitor)[: len(before)] == before, "the earlier dialogue is lost"
    assert not visitor.page.query_selector(".toast-body.error")
    return notices(visitor)[-1]


def asked(name):
    """A question in a session of that name, for `Answers.answer`."""
    return "text", Ask(text=name), Thread(), OPTIONS, name


def seconds_spoken(services, text, seed=1):
    """How much speech there is of a text."""
    events = services.speak(text, seed=seed, cancel=Cancel())
    return sum(event.audio.seconds for event in events if isinstance(event, AudioChunk))


def answer(services, text, max_tokens=4, seed=1):
    """The chat model's answer, and the tokens that it has read for it."""
    sampling = Sampling(temperature=0, max_tokens=max_tokens, seed=seed)
    events = services.converse(
        Turn(text=text), Conversation(), sampling=sampling, spoken=False, cancel=Cancel()
    )
    said, tokens = "", 0
    for event in events:
        said += event.text if isinstance(event, TextDelta) else ""
        tokens += event.usage.prompt_tokens if isinstance(event, Finished) else 0
    return said, tokens


def send_clip(visitor, path):
    """Choose a file and press Send."""
    upload(visitor, path)
    visitor.page.click("#send")


def ask_on_the_page(visitor, text):
    """Ask by typing and wait until the reply is complete."""
    figures = len(visitor.page.query_selector_all("#chat .parley-timings"))
    visitor.ask(text)
    visitor.wait_for_figures(figures + 1)
    visitor.wait_until_idle()


def call_and_leave(page_url, endpoint, data, turnstile):
    """Call the API and hang up as soon as the work has begun."""
    call = f"{page_url}gradio_api/call/{endpoint}"
    event = httpx.post(call, json={"data": data}).json()["event_id"]
    with httpx.stream("GET", f"{call}/{event}"):
        until(lambda: turnstile.active)
