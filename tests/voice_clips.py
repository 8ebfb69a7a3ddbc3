"""Recordings of voices for tests: people, as moonshine-voice ships them, and synthesized ones."""

from importlib.metadata import distribution

import numpy as np

from engines.cascade.hibari import Hibari
from settings import Settings
from speech.files import read_clip
from speech.pcm import Audio, concatenate
from speech.speaker import WEIGHTS, SpeakerEncoder
from weights import Store


def encoder() -> SpeakerEncoder:
    """The real encoder, fetched if need be."""
    return SpeakerEncoder(Store(Settings(_env_file=None).data / "weights").ensure(WEIGHTS))


def person(name: str, start: float = 0.0, end: float | None = None, rate: int = 24_000) -> Audio:
    """A part of a recording inside the moonshine-voice wheel."""
    file = distribution("moonshine-voice").locate_file(f"moonshine_voice/assets/{name}.wav")
    return part(read_clip(str(file), rate).audio, start, end)


def part(audio: Audio, start: float, end: float | None = None) -> Audio:
    """From `start` to `end`, seconds."""
    stop = len(audio) if end is None else round(end * audio.rate)
    return Audio(audio.samples[round(start * audio.rate) : stop], audio.rate)


def spoken(*texts: str) -> Audio:
    """The embedded synthesizer."""
    voice = Hibari()
    random = np.random.default_rng(0)
    return concatenate([voice.synthesize(text, "heart", random) for text in texts])


def chords(seconds: float, rate: int = 24_000) -> Audio:
    """Music: four plucked chords over and over."""
    time = np.arange(round(seconds * rate)) / rate
    beat = time % 0.5
    roots = np.array([220.0, 174.6, 261.6, 196.0])[(time // 0.5).astype(int) % 4]
    tones = sum(np.sin(2 * np.pi * roots * ratio * beat) for ratio in (1, 1.25, 1.5, 2))
    return Audio((0.15 * tones * np.exp(-4 * beat)).astype(np.float32), rate)
