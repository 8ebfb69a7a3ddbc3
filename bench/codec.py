"""What decoding speech costs, streamed and not, against how the published demos stream.

    python -m bench.codec
    python -m bench.codec --seconds 60 --skip redecoding pieces whole --together
    python -m bench.codec --device cuda --dtype bfloat16

Decoders of the published size with random weights: time does not depend on values.
All rows are measured in one run, one after the other, or in turns with `--together`: then
a machine that changes its speed does so for all of them (but peak memory is everybody's).
`bench.codec_policies` has the demos' ways of streaming. On a machine that does other things
too, threads that spin while they wait cost most of the time: set OMP_WAIT_POLICY=passive.

`--quick` takes two Euler steps of each rendering of the demos and counts the second as
often as steps are left: all steps of a rendering are the same work. Our own rows are
always measured whole.
"""

import argparse
import itertools
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from bench.codec_policies import growing, redecoding
from bench.codec_sizes import random_decoder
from codec.decoder import SpeechDecoder
from codec.flow import Velocity
from codec.mel import log_mel
from codec.stream import StreamPlan

#: The reference for 2, 10 and 30 s of speech on 2 CPU threads in float32, seconds.
REFERENCE = {2: 2.8, 10: 15.2, 30: 96.5}
PLAN = StreamPlan(first=10)
#: One-shot decoding is compared in pieces of so many codes, 10 s.
PIECE = 125


@dataclass
class Row:
    """One way of decoding.

    Attributes:
        name: What it is.
        seconds: Time of each piece.
        pieces: Its samples.
        memory: Bytes that the process, or the device, held at most by then.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    pieces: list[NDArray[np.float32]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(self.seconds)

    @property
    def samples(self) -> NDArray[np.float32]:
        """All of the speech."""
        return np.concatenate(self.pieces)


class Counted:
    """The estimator, run twice per rendering; the rest is counted and not done.

    Attributes:
        owed: Seconds that were not spent.
    """

    def __init__(self, estimator: Velocity) -> None:
        self._estimator = estimator
        self._step = 0
        self._cost = 0.0
        self._estimate = torch.zeros(0)
        self.owed = 0.0

    def __call__(self, x: torch.Tensor, time_: torch.Tensor) -> torch.Tensor:
        """As the estimator."""
        self._step = 1 if float(time_[0]) == 0 else self._step + 1
        if self._step > 2:
            self.owed += self._cost
            return self._estimate
        began = time.perf_counter()
        self._estimate = self._estimator(x, time_)
        self._cost = time.perf_counter() - began
        return self._estimate


def peak(device: str) -> int:
    """Most memory held so far, bytes."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return torch.cuda.max_memory_allocated()


def measure(
    sources: dict[str, Iterable[NDArray[np.float32]]], device: str, counted: Counted | None = None
) -> dict[str, Row]:
    """Run through the pieces of some replies, in turns.

    The one with the least speech so far is next, so that a machine that is faster at one
    time than at another is so for all of them.
    """
    rows = {name: Row(name) for name in sources}
    running = {name: iter(pieces) for name, pieces in sources.items()}
    while running:
        name = min(running, key=lambda name: sum(map(len, rows[name].pieces)))
        row, owed = rows[name], counted.owed if counted else 0.0
        began = time.perf_counter()
        piece = next(running[name], None)
        if piece is None:
            del running[name]
            print(f"{name:34} {row.total:8.2f} s", flush=True)
            continue
        owed = (counted.owed if counted else 0.0) - owed
        row.seconds.append(time.perf_counter() - began + owed)
        row.pieces.append(piece)
        row.memory.append(peak(device))
    return rows


def streamed(decoder: SpeechDecoder, codes: list[int]) -> Iterator[NDArray[np.float32]]:
    """Our own stream, a piece at a time; the end comes with the last one."""
    stream, at, size = decoder.open(plan=PLAN), 0, PLAN.first
    while at < len(codes):
        yield stream.push(codes[at : at + size]).samples
        at, size = at + size, PLAN.chunk
    yield stream.finish().samples


def one_shot(decoder: SpeechDecoder, codes: list[int], size: int) -> Iterator[NDArray[np.float32]]:
    """One-shot decoding of `size` codes at a time."""
    for at in range(0, len(codes), size):
        yield decoder.decode(codes[at : at + size]).samples


def distances(one: NDArray[np.float32], other: NDArray[np.float32], rate: int) -> list[float]:
    """Mean difference of two renderings' log-mels, dB, for each second."""
    # From nepers, the natural logarithm of an amplitude, to dB.
    apart = 20 / np.log(10) * np.abs(log_mel(one, rate) - log_mel(other, rate)).mean(axis=0)
    size = rate // 256
    return [float(apart[at : at + size].mean()) for at in range(0, len(apart), size)]


def seam_jumps(row: Row, hop: int) -> tuple[float, float]:
    """Largest step between neighbouring samples at seams, and elsewhere."""
    steps = np.abs(np.diff(row.samples))
    ends = np.cumsum([len(piece) for piece in row.pieces if len(piece)])[:-1]
    at = [
        float(steps[end + place - 2 : end + place + 1].max()) for end in ends for place in (0, hop)
    ]
    for end in ends:
        steps[end - hop : end + 2 * hop] = 0
    return max(at, default=0.0), float(steps.max())


def report_stream(row: Row, decoder: SpeechDecoder) -> None:
    """First sound, evenness, memory and seams of a stream."""
    audio = len(row.samples) / decoder.rate
    third, last = row.seconds[2], row.seconds[-3]
    print(f"  first {PLAN.first} codes to sound            {row.seconds[0]:8.3f} s")
    print(f"  real-time factor                 {row.total / audio:8.3f}")
    print(f"  last whole piece over the third  {last / third:8.2f}     (at most 1.2)")
    early, late = row.seconds[4:9], row.seconds[-7:-2]
    print(f"  five late pieces over five early {sum(late) / sum(early):8.2f}")
    then, end = row.memory[2] / 1e6, row.memory[-1] / 1e6
    print(f"  peak memory, third and last piece {then:7.0f}, {end:.0f} MB")
    at, inside = seam_jumps(row, decoder.models.clock.hop)
    print(f"  largest step at a seam, elsewhere {at:7.3f}, {inside:.3f}")


def main() -> None:
    """Measure, and print a table with ratios."""
    parser = argparse.ArgumentParser(description="What decoding speech costs.")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    ways = ("calibration", "pieces", "whole", "stream", "growing", "redecoding")
    parser.add_argument("--skip", nargs="*", default=[], choices=ways)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--together", action="store_true")
    options = parser.parse_args()
    if options.seconds < 20:
        parser.error("--seconds: at least 20, so that there are late pieces and early ones.")
    torch.set_num_threads(options.threads)
    decoder = random_decoder(options.device, getattr(torch, options.dtype))
    vocabulary = decoder.models.config.flow.vocabulary
    codes = np.random.default_rng(0).integers(0, vocabulary, int(12.5 * options.seconds)).tolist()
    print(f"{options.seconds} s of speech, {options.device}, {options.dtype}, ", end="")
    print(f"{options.threads} threads")
    decoder.decode(codes[:25], steps=1)

    models, counted = decoder.models, None
    if options.quick:
        counted = Counted(models.flow.decoder.estimator)
        models = replace(models, velocity=counted)
    made: dict[str, Callable[[], Iterable[NDArray[np.float32]]]] = {
        "calibration": lambda: one_shot(decoder, codes[:25], 25),
        "pieces": lambda: one_shot(decoder, codes, PIECE),
        "stream": lambda: streamed(decoder, codes),
        "whole": lambda: one_shot(decoder, codes, len(codes)),
        "growing": lambda: (wave.cpu().numpy() for wave in growing(models, codes)),
        "redecoding": lambda: (wave.cpu().numpy() for wave in redecoding(models, codes)),
    }
    titles = {
        "calibration": "one-shot, 2 s",
        "pieces": "one-shot, pieces of 10 s",
        "whole": f"one-shot, {options.seconds} s",
        "stream": "stream",
        "growing": "growing prompt (GLM-4-Voice)",
        "redecoding": "re-decoding (VITA-Audio)",
    }
    groups = [[name] for name in made if name not in options.skip]
    if options.together:
        groups = [[*itertools.chain(*groups)]]
    rows: dict[str, Row] = {}
    with torch.inference_mode():
        for group in groups:
            found = measure({titles[way]: made[way]() for way in group}, options.device, counted)
            rows |= {way: found[titles[way]] for way in group}
            if "stream" in group:
                report_stream(rows["stream"], decoder)
    report(rows, decoder, options.seconds)


def report(rows: dict[str, Row], decoder: SpeechDecoder, seconds: int) -> None:
    """The ratios that matter."""
    stream = rows.get("stream")
    pieces, calibration = rows.get("pieces"), rows.get("calibration")
    if calibration:
        print(f"reference over ours, 2 s            {REFERENCE[2] / calibration.total:8.2f}")
    if pieces:
        ten = pieces.seconds[0]
        print(f"reference over ours, 10 s           {REFERENCE[10] / ten:8.2f}     (at least 1.3)")
    if stream and pieces:
        ratio = stream.total / pieces.total
        print(f"stream over pieces of 10 s          {ratio:8.2f}     (at most 1.6)")
    for name, least in (("growing", 2.5 if seconds < 60 else 5.0), ("redecoding", 8.0)):
        if stream and name in rows:
            ratio = rows[name].total / stream.total
            print(f"{name} over stream{'':16}{ratio:13.2f}     (at least {least})")
    whole = rows.get("whole")
    if stream and whole:
        apart = distances(stream.samples, whole.samples, decoder.rate)
        print("log-mel distance to one-shot, dB:", " ".join(f"{d:.1f}" for d in apart))
        other = decoder.decode([0] * 25, seed=1).samples
        yardstick = distances(decoder.decode([0] * 25, seed=0).samples, other, decoder.rate)
        print("  between two seeds of one-shot:  ", " ".join(f"{d:.1f}" for d in yardstick))


if __name__ == "__main__":
    main()
