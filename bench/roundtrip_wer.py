"""Can what Parley says be understood, and does it understand people?

    python -m bench.roundtrip_wer

Speaks 50 sentences and recognizes them again with each recognizer, and
recognizes the human clips inside the moonshine-voice wheel whose words are
published (Dickens, Beckett). Word error rates by jiwer, after lower case and
without punctuation. The ratio is to hibari's speech as it comes: what Parley's
trimming, pauses and level cost.
"""

from pathlib import Path

import jiwer
import numpy as np
from moonshine_voice.utils import get_assets_path

from engines.base import Cancel
from engines.cascade import embedded
from engines.messages import AudioChunk, Transcript
from services import Services
from settings import Settings
from speech.pcm import Audio, concatenate

SENTENCES = (Path(__file__).parent / "sentences.txt").read_text().splitlines()
HUMAN = {
    "two_cities": "It was the best of times, it was the worst of times, it was the age of wisdom, "
    "it was the age of foolishness, it was the epoch of belief, it was the epoch of incredulity, "
    "it was the season of Light, it was the season of Darkness, it was the spring of hope, it was "
    "the winter of despair, we had everything before us, we had nothing before us, we were all "
    "going direct to Heaven, we were all going direct the other way. In short, the period was so "
    "far like the present period, that some of its noisiest authorities insisted on its being "
    "received, for good or for evil, in the superlative degree of comparison only.",
    "beckett": "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better.",
}
#: Codes that pick the recognizer.
RECOGNIZERS = {"Whisper base": None, "Moonshine tiny": "en"}

NORMALIZE = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.SubstituteRegexes({"[-–—]": " "}),
        jiwer.RemovePunctuation(),
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)


def error_rate(wanted: list[str], heard: list[str]) -> float:
    """Word error rate over all pairs together."""
    return float(
        jiwer.wer(wanted, heard, reference_transform=NORMALIZE, hypothesis_transform=NORMALIZE)
    )


def hear(services: Services, audio: Audio, language: str | None) -> str:
    """The final transcript; nothing if no speech was found."""
    text = ""
    for event in services.transcribe(audio, language=language, cancel=Cancel()):
        if isinstance(event, Transcript):
            text = event.text
    return text


def speak(services: Services, text: str) -> Audio:
    """A sentence as Parley speaks it."""
    events = services.speak(text, seed=0, cancel=Cancel())
    return concatenate([event.audio for event in events if isinstance(event, AudioChunk)])


def main() -> None:
    """Run the benchmark and print the table."""
    with Services(Settings(warm=False)) as services:
        ours = [speak(services, text) for text in SENTENCES]
        with services.models.use(embedded.HIBARI, cancel=Cancel()) as (voice,):
            random = np.random.default_rng(0)
            plain = [voice.synthesize(text, "heart", random) for text in SENTENCES]
        people = {
            name: services.clip(Path(get_assets_path()) / f"{name}.wav").audio for name in HUMAN
        }
        print(f"{len(SENTENCES)} sentences, {sum(a.seconds for a in ours):.0f} s of speech")
        print("word error rate                | round trip | hibari as it comes | people")
        for name, language in RECOGNIZERS.items():
            trip = error_rate(SENTENCES, [hear(services, audio, language) for audio in ours])
            bare = error_rate(SENTENCES, [hear(services, audio, language) for audio in plain])
            human = error_rate(
                list(HUMAN.values()),
                [hear(services, people[clip], language) for clip in HUMAN],
            )
            print(f"  {name:28} | {trip:10.1%} | {bare:18.1%} | {human:6.1%}")
            print(f"  ratio, round trip to hibari as it comes: {trip / max(bare, 1e-9):.2f}")
        print("targets: round trip at most 5 %, people at most 8 %")


if __name__ == "__main__":
    main()
