"""Makes the voices that come with Parley: `python assets/make_voices.py`.

They are the project's own: our sentences, spoken by the embedded synthesizer (hibari,
Apache-2.0), taken apart by WORLD (Morise et al. 2016) and put together again with another
pitch, another length of the vocal tract, another pace. So they are nobody's voices.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from engines.cascade.hibari import Hibari
from speech.pcm import Audio, concatenate, silence
from voices.record import Record, content_hash, encode

FOLDER = Path(__file__).parent / "voices"
#: Between sentences, seconds.
PAUSE = 0.35
#: Loudness of every voice: RMS of its samples, and the highest peak.
LEVEL, PEAK = 0.08, 0.9
#: WORLD's analysis: a frame every so many milliseconds; the pitch of the synthesizer, Hz.
FRAME_MS = 5.0
LOWEST_PITCH, HIGHEST_PITCH = 90.0, 500.0
#: Where a spectral tilt turns, Hz.
TILT_CENTRE = 1000.0
CREATED = "2026-11-20T00:00:00+00:00"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a voice differs from the synthesizer's.

    Attributes:
        name: What the voice is called.
        description: What it sounds like.
        sentences: What it says.
        pitch: Factor of the fundamental frequency.
        melody: Factor of the spread of the logarithm of the fundamental frequency.
        formants: Factor of the frequencies of the spectral envelope; above 1 is a shorter
            vocal tract.
        pace: Factor of speed.
        tilt: Of the spectrum, dB per octave; below 0 is darker.
        breath: Share of the harmonics above 2 kHz that becomes noise, 0 to 1.
    """

    name: str
    description: str
    sentences: tuple[str, ...]
    pitch: float
    melody: float = 1.0
    formants: float = 1.0
    pace: float = 1.0
    tilt: float = 0.0
    breath: float = 0.0


RECIPES = {
    "rowan": Recipe(
        "Rowan",
        "older man, low and slow (synthetic)",
        (
            "My grandfather kept a lighthouse, and I kept his dog.",
            "On foggy nights the two of us counted ships until the kettle sang.",
        ),
        pitch=0.46,
        melody=0.8,
        formants=0.83,
        pace=0.9,
        tilt=-1.0,
        breath=0.12,
    ),
    "milo": Recipe(
        "Milo",
        "young man, lively (synthetic)",
        (
            "I built a bicycle from three broken ones, and it nearly works.",
            "The brakes are optimistic, but the bell is excellent.",
            "Would you like a ride to the station?",
        ),
        pitch=0.66,
        melody=1.15,
        formants=0.9,
        pace=1.06,
    ),
    "clara": Recipe(
        "Clara",
        "woman, bright and clear (synthetic)",
        (
            "Good morning, and welcome to the greenhouse.",
            "Please close the door behind you, because the orchids dislike a draught.",
            "The lemons are on your left.",
        ),
        pitch=1.12,
        melody=1.3,
        formants=1.07,
        tilt=1.2,
    ),
    "pip": Recipe(
        "Pip",
        "child-like, high and quick (synthetic)",
        (
            "I drew a dragon with nine legs, because eight looked silly.",
            "He eats only pancakes, and he is afraid of spoons.",
            "Do you want to see him?",
        ),
        pitch=1.5,
        melody=1.1,
        formants=1.24,
        pace=1.02,
        breath=0.05,
    ),
}


def main() -> None:
    """Write every voice."""
    synthesizer = Hibari()
    shutil.rmtree(FOLDER, ignore_errors=True)
    for folder, recipe in RECIPES.items():
        random = np.random.default_rng(0)
        spoken = [synthesizer.synthesize(text, "heart", random) for text in recipe.sentences]
        pause = silence(PAUSE, synthesizer.rate)
        parts = [part for audio in spoken for part in (remade(audio, recipe), pause)][:-1]
        audio = levelled(concatenate(parts))
        record = Record(
            name=recipe.name,
            origin="shipped",
            created=CREATED,
            sha256=content_hash(audio),
            seconds=round(audio.seconds, 3),
            rate=audio.rate,
            transcript=" ".join(recipe.sentences),
            description=recipe.description,
            language="en",
        )
        (FOLDER / folder).mkdir(parents=True)
        (FOLDER / folder / "audio.flac").write_bytes(encode(audio))
        (FOLDER / folder / "voice.json").write_bytes(record.to_json() + b"\n")


def remade(audio: Audio, recipe: Recipe) -> Audio:
    """Speech of the synthesizer as another voice would say it."""
    import pyworld  # noqa: PLC0415

    rate = audio.rate
    samples = audio.samples.astype(np.float64)
    pitch, times = pyworld.harvest(
        samples, rate, LOWEST_PITCH, HIGHEST_PITCH, frame_period=FRAME_MS
    )
    envelope = pyworld.cheaptrick(samples, pitch, times, rate)
    noise = pyworld.d4c(samples, pitch, times, rate)
    frequencies = np.linspace(0, rate / 2, envelope.shape[1])

    voiced = pitch > 0
    centre = np.log(pitch[voiced]).mean()
    melody = centre + recipe.melody * (np.log(pitch[voiced]) - centre)
    pitch[voiced] = recipe.pitch * np.exp(melody)

    def warped(frames: np.ndarray) -> np.ndarray:
        source = frequencies / recipe.formants
        return np.array([np.interp(source, frequencies, frame) for frame in frames])

    octaves = np.log2(np.maximum(frequencies, 100.0) / TILT_CENTRE)
    tilt = 10 ** (recipe.tilt * octaves / 10)
    envelope = np.exp(warped(np.log(envelope))) * tilt
    breath = recipe.breath * np.clip((frequencies - 1500) / 1000, 0, 1)
    noise = np.clip(warped(noise), 0, 1)
    noise = np.clip(noise + (1 - noise) * breath, 0, 1)

    made = pyworld.synthesize(pitch, envelope, noise, rate, frame_period=FRAME_MS / recipe.pace)
    return Audio(made.astype(np.float32), rate)


def levelled(audio: Audio) -> Audio:
    """The same loudness for every voice, without clipping."""
    samples = audio.samples
    gain = LEVEL / np.sqrt(np.mean(np.square(samples)))
    gain = min(gain, PEAK / np.abs(samples).max())
    return Audio((samples * gain).astype(np.float32), audio.rate)


if __name__ == "__main__":
    main()
