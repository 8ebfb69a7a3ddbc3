"""How near does matching bring the embedded synthesizer to a person's voice, and at what price?

    python -m bench.voice_match [name ...]

For each of the people in `bench.people`: similarity of hibari to the reference before and
after matching (Resemblyzer), word error rate of two recognizers, DNSMOS, and the real-time
factor of matching, all on sentences that took no part in tuning. The similarity of the two
halves of a recording says what the same voice reaches.
"""

import sys
import time
from dataclasses import dataclass
from statistics import median

import numpy as np
from speechmos import dnsmos

from bench.people import PEOPLE, Person
from bench.roundtrip_wer import RECOGNIZERS, SENTENCES, error_rate, hear
from engines.base import Cancel
from engines.cascade import embedded
from services import Services
from settings import Settings
from speech.matching import Matcher
from speech.pcm import Audio, concatenate
from speech.reference import LONGEST, choose
from speech.speaker import WEIGHTS, SpeakerEncoder, similarity
from speech.timbre import measure
from speech.tuning import CALIBRATION, tune

#: Sentences that are matched and measured.
HELD_OUT = SENTENCES[:15]
#: DNSMOS is slow: it judges every third sentence.
JUDGED = 3
#: Arctic's single sentences hold little over two seconds of speech.
LEAST_SPEECH = 2.0
MOS_RATE = 16_000
#: From this rise of the similarity on, matching is said to work.
WORKS = 0.05


@dataclass(frozen=True, slots=True)
class Speech:
    """The held-out sentences as they were spoken, and what was measured of them.

    Attributes:
        clips: One a sentence.
        voice: Embedding of all together.
        errors: Word error rate by recognizer.
        mos: Mean overall DNSMOS.
    """

    clips: list[Audio]
    voice: np.ndarray
    errors: tuple[float, ...]
    mos: float


@dataclass(frozen=True, slots=True)
class Row:
    """What matching did for one voice; pairs are before and after."""

    name: str
    halves: float
    near: tuple[float, float]
    errors: tuple[float, ...]
    mos: float
    factor: float
    tuning: float


def measured(services: Services, encoder: SpeakerEncoder, clips: list[Audio]) -> Speech:
    """Measure the held-out sentences."""
    errors = [
        error_rate(HELD_OUT, [hear(services, clip, code) for clip in clips])
        for code in RECOGNIZERS.values()
    ]
    return Speech(clips, encoder.embed(concatenate(clips)), tuple(errors), quality(clips[::JUDGED]))


def quality(clips: list[Audio]) -> float:
    """Mean overall DNSMOS."""
    return float(
        np.mean(
            [
                dnsmos.run(np.clip(clip.resampled(MOS_RATE).samples, -1, 1), MOS_RATE)["ovrl_mos"]
                for clip in clips
            ]
        )
    )


class Bench:
    """The synthesizer's own speech, against which each voice is held."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._encoder = SpeakerEncoder(services.store.ensure(WEIGHTS))
        random = np.random.default_rng(0)
        with services.models.use(embedded.HIBARI, cancel=Cancel()) as (voice,):
            calibration, plain = (
                [voice.synthesize(text, "heart", random) for text in texts]
                for texts in (CALIBRATION, HELD_OUT)
            )
        self._calibration = concatenate(calibration)
        self._source = measure(self._calibration)
        self.plain = measured(services, self._encoder, plain)

    def row(self, person: Person) -> Row:
        """Match the synthesizer to a person and measure."""
        recording = person.recording(self._services.store.folder.parent / "bench")
        reference = choose(recording, shortest=LEAST_SPEECH, longest=LONGEST).audio
        voice, target = self._encoder.embed(reference), measure(reference)
        began = time.perf_counter()
        plan = tune(self._calibration, self._source, target, voice, self._encoder)
        matcher = Matcher(self._source, target, plan)
        tuned = time.perf_counter()
        clips = [matcher.match(clip) for clip in self.plain.clips]
        matched = time.perf_counter()
        after = measured(self._services, self._encoder, clips)
        return Row(
            name=person.name,
            halves=self._halves(reference),
            near=(similarity(self.plain.voice, voice), similarity(after.voice, voice)),
            errors=after.errors,
            mos=after.mos,
            factor=(matched - tuned) / sum(clip.seconds for clip in clips),
            tuning=tuned - began,
        )

    def _halves(self, reference: Audio) -> float:
        middle = len(reference) // 2
        first, second = (
            self._encoder.embed(Audio(part, reference.rate))
            for part in (reference.samples[:middle], reference.samples[middle:])
        )
        return similarity(first, second)


def line(row: Row) -> str:
    """A row of the table."""
    before, after = row.near
    errors = " | ".join(f"{rate:8.1%}" for rate in row.errors)
    return (
        f"{row.name:14} | {row.halves:6.2f} | {before:6.2f} | {after:5.2f} | {after - before:+5.2f}"
        f" | {errors} | {row.mos:6.2f} | {row.factor:5.3f} | {row.tuning:6.1f}"
    )


def medians(rows: list[Row]) -> Row:
    """The median of each column."""
    return Row(
        name="median",
        halves=median(row.halves for row in rows),
        near=(median(row.near[0] for row in rows), median(row.near[1] for row in rows)),
        errors=tuple(median(rates) for rates in zip(*(row.errors for row in rows), strict=True)),
        mos=median(row.mos for row in rows),
        factor=median(row.factor for row in rows),
        tuning=median(row.tuning for row in rows),
    )


def main(names: list[str]) -> None:
    """Run the benchmark and print the table; for all people, or those named."""
    with Services(Settings(warm=False)) as services:
        bench = Bench(services)
        seconds = sum(clip.seconds for clip in bench.plain.clips)
        print(f"{len(HELD_OUT)} sentences, {seconds:.0f} s of speech; all voices are people's")
        print(
            f"{'voice':14} | halves | before | after |  rise | "
            + " | ".join(f"{name[:8]:8}" for name in RECOGNIZERS)
            + " | DNSMOS |   RTF | tuning"
        )
        own = " | ".join(f"{rate:8.1%}" for rate in bench.plain.errors)
        print(
            f"{'unmatched':14} |        |        |       |       | {own} | {bench.plain.mos:6.2f}"
        )
        rows = []
        for person in [person for person in PEOPLE if not names or person.name in names]:
            rows.append(bench.row(person))
            print(line(rows[-1]), flush=True)
        print(line(medians(rows)))
    failed = [row.name for row in rows if row.near[1] - row.near[0] < WORKS]
    print(f"similarity rises by less than {WORKS}: {', '.join(failed) or 'nowhere'}")
    print("targets: word errors at most 3 points above, DNSMOS at most 0.2 below, RTF below 0.3")


if __name__ == "__main__":
    main(sys.argv[1:])
