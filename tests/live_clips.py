"""Clips for the tests of turn taking, all of them made here: noises, and sentences by hibari."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor

from engines.cascade.hibari import Hibari
from speech.pcm import Audio

RATE = 16_000

#: A sample is heard from this level on (full scale is 1).
AUDIBLE = 0.02

#: 30 sentences with a place where a speaker stops to think: half of them between two
#: clauses, half of them after a conjunction, an article or a preposition. Where hibari
#: pauses by itself ("I like tea | but ...") it would be two hesitations, so there is none such.
HESITATIONS = (
    ("When the rain stops,", "we could walk down to the lake."),
    ("If you have some time tomorrow,", "could you help me move the table?"),
    ("After the meeting with the teachers,", "I went straight home."),
    ("Before you book the flight,", "please check the price of the train."),
    ("Since nobody answered the phone,", "I wrote them a letter."),
    ("Although the house is very old,", "it is warm in winter."),
    ("As soon as the bread is ready,", "take it out of the oven."),
    ("While my brother was cooking,", "I set the table for six."),
    ("Because the road was closed,", "we had to drive around the mountain."),
    ("In the small town near the river,", "there is a very good bakery."),
    ("Once the children are asleep,", "we can watch the film."),
    ("Whenever I visit my grandmother,", "she makes a cake with apples."),
    ("Unless the weather changes,", "the boat will leave at seven."),
    ("For the party on Saturday,", "what kind of music should I play?"),
    ("Until the doctor has called,", "stay in bed and drink tea."),
    ("I wanted to ask you about the", "opening hours of the museum."),
    ("Can you tell me how to", "get from the station to the harbour?"),
    ("The soup is ready when", "the carrots are soft."),
    ("I know a place where", "you can swim at night."),
    ("What is the difference between", "a lake and a pond?"),
    ("Please remind me to call my", "dentist on Monday morning."),
    ("I am looking for a book that", "explains how clocks work."),
    ("She always sings while", "she is working in the garden."),
    ("Do you think that", "it will snow in the mountains this week?"),
    ("The man at the door said he was from", "the company that reads the meters."),
    ("I need a recipe for", "soup with carrots and ginger."),
    ("Could you set a timer for", "fifteen minutes, please?"),
    ("He asked whether", "we had seen his little dog."),
    ("You can either take the bus or", "walk through the park."),
    ("She told me that the", "concert starts at half past eight."),
)

QUESTIONS = (
    "Why is the sky blue?",
    "What is the capital of France?",
    "How many days are there in a year?",
    "What color is a clear sky at noon?",
    "Can you tell me a short story?",
    "Who wrote Romeo and Juliet?",
    "What time is it in Tokyo?",
    "How do bees make honey?",
    "Is it going to rain tomorrow?",
    "Where do penguins live?",
    "How far away is the moon?",
    "What should I cook for dinner tonight?",
    "Do fish ever sleep?",
    "Which planet is the largest?",
    "When was the telephone invented?",
    "How tall is the Eiffel Tower?",
    "What is the best way to learn a language?",
    "Could you recommend a good book?",
    "Why do leaves turn red in autumn?",
    "How long does it take to boil an egg?",
)

WORDS = ("Yes.", "No.", "Stop.", "Hm.")


@dataclass(frozen=True)
class Hesitation:
    """A sentence with a pause inside; positions in samples of `audio`."""

    audio: Audio
    pause_start: int
    pause_end: int
    end: int


@cache
def hibari() -> Hibari:
    return Hibari()


@cache
def spoken(text: str) -> Audio:
    """One sentence at 16 kHz from its first to its last audible sample."""
    audio = hibari().synthesize(text, "heart", np.random.default_rng(0))
    return _audible(audio.resampled(RATE).samples)


@cache
def hesitations() -> list[Hesitation]:
    """The sentences as if said in one go, and halted in the middle.

    Each is spoken whole and then cut, since hibari lowers its voice at the end of
    whatever it is given, be it half a sentence.
    """
    rng = np.random.default_rng(1)
    made = []
    for before, after in HESITATIONS:
        pause = round(rng.uniform(0.4, 0.7) * RATE)
        whole = spoken(f"{before} {after}".replace(",", ""))
        cut = _boundary(whole, spoken(before), spoken(after))
        first, second = _audible(whole.samples[:cut]), _audible(whole.samples[cut:])
        audio = joined([first, Audio(np.zeros(pause, np.float32), RATE), second])
        made.append(Hesitation(audio, len(first), len(first) + pause, len(audio)))
    return made


def _boundary(whole: Audio, first: Audio, second: Audio) -> int:
    """The sample of `whole` where `second` begins: dynamic time warping of log-mel frames."""
    step = 2  # frames of 10 ms
    mel = FeatureExtractor()
    seen, apart = (
        mel(audio.samples, padding=0)[:, ::step].T for audio in (whole, joined([first, second]))
    )
    distance = np.linalg.norm(seen[:, None] - apart[None], axis=2)
    cost = np.full((len(seen) + 1, len(apart) + 1), np.inf)
    cost[0, 0] = 0
    for i, row in enumerate(distance.tolist()):
        above, here = cost[i].tolist(), [np.inf]
        for j, value in enumerate(row):
            here.append(value + min(above[j], above[j + 1], here[j]))
        cost[i + 1] = here
    i, j = len(seen), len(apart)
    while j > len(first) / (160 * step):
        i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda at: cost[at])
    # Words touch: the quietest 10 ms nearby are taken.
    near = np.arange(max(0, i * step - 6), i * step + 7) * 160
    return int(min(near, key=lambda at: np.square(whole.samples[at : at + 160]).sum())) + 80


def _audible(samples: np.ndarray) -> Audio:
    heard = np.flatnonzero(np.abs(samples) > AUDIBLE)
    return Audio(samples[heard[0] : heard[-1] + 1], RATE)


def joined(parts: list[Audio]) -> Audio:
    return Audio(np.concatenate([part.samples for part in parts]), RATE)


def in_room(clip: Audio, before: float = 0.6, after: float = 1.5, level: float = 0.0005) -> Audio:
    """The clip with a quiet room around it and under it (-66 dBFS)."""
    padded = np.pad(clip.samples, (round(before * RATE), round(after * RATE)))
    hiss = np.random.default_rng(2).normal(0, level, len(padded))
    return Audio((padded + hiss).astype(np.float32), RATE)


def fan(seconds: float, seed: int = 0, level: float = 0.03) -> Audio:
    """Noise that falls by 6 dB an octave, with hum, swelling slowly."""
    rng = np.random.default_rng(seed)
    count = round(seconds * RATE)
    frequency = np.fft.rfftfreq(count, 1 / RATE)
    spectrum = np.fft.rfft(rng.normal(size=count)) / np.maximum(frequency, 60) * 60
    noise = np.fft.irfft(spectrum, count)
    noise /= noise.std()
    time = np.arange(count) / RATE
    for harmonic in (1, 2, 3, 5):
        noise += 0.4 / harmonic * np.sin(2 * np.pi * 49 * harmonic * time + harmonic)
    noise *= 1 + 0.4 * np.sin(2 * np.pi * 0.3 * time)
    return Audio((level * noise).astype(np.float32), RATE)


def music(seconds: float, seed: int = 0, level: float = 0.1) -> Audio:
    """Chords of three tones with overtones and vibrato, each a third of a second to a second."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    left = round(seconds * RATE)
    while left > 0:
        count = min(left, round(rng.uniform(0.33, 1.0) * RATE))
        time = np.arange(count) / RATE
        root = 110 * 2 ** (rng.integers(0, 25) / 12)
        chord = np.zeros(count)
        for step in (0, rng.choice([3, 4]), 7):
            pitch = root * 2 ** (step / 12)
            phase = 2 * np.pi * pitch * time + 0.02 * pitch / 5.5 * np.sin(2 * np.pi * 5.5 * time)
            chord += sum(np.sin(overtone * phase) / overtone**1.5 for overtone in range(1, 6))
        attack = np.minimum(1, time / 0.02) * np.exp(-2 * time)
        parts.append(chord / 4 * attack)
        left -= count
    return Audio((level * np.concatenate(parts)).astype(np.float32), RATE)


def keyboard(seconds: float, seed: int = 0, level: float = 0.2) -> Audio:
    """Bursts of keystrokes: two clicks each (down and up), 5 to 15 ms long."""
    rng = np.random.default_rng(seed)
    samples = np.zeros(round(seconds * RATE))
    now = 0.5
    while now < seconds - 0.5:
        for _ in range(rng.integers(3, 14)):
            for delay, gain in ((0.0, 1.0), (rng.uniform(0.05, 0.09), 0.4)):
                start = round((now + delay) * RATE)
                count = min(round(rng.uniform(0.005, 0.015) * RATE), len(samples) - start)
                decay = np.exp(-np.arange(count) / (count / 4))
                burst = rng.normal(size=count) * decay * gain * rng.uniform(0.4, 1)
                samples[start : start + count] += burst
            now += rng.uniform(0.08, 0.25)
            if now >= seconds - 0.5:
                break
        now += rng.uniform(0.3, 2.0)
    return Audio((level * samples).astype(np.float32), RATE)


def click(seconds: float = 0.08, level: float = 0.3) -> Audio:
    """A cough-like burst: noise through the resonances of a throat, decaying."""
    rng = np.random.default_rng(3)
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(rng.normal(size=count))
    frequency = np.fft.rfftfreq(count, 1 / RATE)
    shape = sum(np.exp(-(((frequency - f) / 300) ** 2)) for f in (500, 1500, 2500))
    burst = np.fft.irfft(spectrum * shape, count) * np.exp(-np.arange(count) / (count / 3))
    return Audio((level * burst / np.abs(burst).max()).astype(np.float32), RATE)
