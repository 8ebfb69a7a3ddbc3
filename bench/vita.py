"""How soon VITA-1.5 answers prompts of text, sound, an image and a video, and how it shares.

    python -m bench.vita
    python -m bench.vita --size mid --threads 2
    python -m bench.vita --size 7b --device cuda

Random weights: time does not depend on values. All rows are measured in one run:

- `encoders` is what sound and pictures take before the language model reads them;
- `first token` is all until the mark is there, from the end of the turn;
- `a token` is the median of the steps after it, beside what reading the weights takes at the speed
  at which this machine copies memory (the floor);
- `while another is answered` is a turn while a reply is being written for somebody else, and how
  much longer a token of that reply takes meanwhile: two conversations on one set of weights.
"""

import argparse
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from bench.vita_audio import copy_bandwidth, random_model, synchronize
from engines.base import Cancel
from engines.native.quantization import stored_bytes
from engines.native.sampling import Drawing
from engines.native.steps import Steps
from engines.vita.config import VisionConfig
from engines.vita.fbank import MELS
from engines.vita.layout import PUBLISHED, Sizes
from engines.vita.tiling import Lens, tiles_of
from engines.vita.vision import Vision
from engines.vita.whale import Whale, WhaleConfig, rows_of
from engines.vita_audio.config import LanguageConfig
from engines.vita_audio.generation import Generation

M = TypeVar("M", bound=nn.Module)

#: What can be measured. `mid` has the published encoders and a language model of 0.4e9 weights,
#: `tiny` is for trying things out.
SIZES = {
    "tiny": Sizes(
        vocabulary=4096,
        hidden=256,
        intermediate=1024,
        layers=6,
        attention_heads=8,
        key_value_heads=2,
        audio=WhaleConfig(128, 4, 512, 4, 5, 256),
        vision=VisionConfig(128, 4, 512, 4),
    ),
    "mid": Sizes(
        vocabulary=38_400,
        hidden=1024,
        intermediate=4096,
        layers=24,
        attention_heads=16,
        key_value_heads=4,
        audio=replace(PUBLISHED.audio, output=1024),
        vision=PUBLISHED.vision,
    ),
    "7b": PUBLISHED,
}

#: Tokens of a prompt around what is shown and said: the model's instructions, and a question.
TEXT = 120
#: Seconds that a spoken question takes.
SPOKEN = 4.0
#: The picture of the published demo's camera.
PICTURE = (1280, 768)
#: Steps that are measured.
TOKENS = 16


@dataclass(frozen=True)
class Case:
    """A turn.

    Attributes:
        clips: Spoken questions.
        tiles: Of images and frames.
    """

    clips: int = 0
    tiles: int = 0


class Bench:
    """Random models of one size, at work.

    Args:
        sizes: Of the models.
        device: Where they run.
        dtype: Of the language model.
    """

    def __init__(self, sizes: Sizes, device: str, dtype: torch.dtype) -> None:
        self.device, self.sizes = device, sizes
        self.config = LanguageConfig(
            hears="embeddings",
            vocabulary=sizes.vocabulary,
            hidden=sizes.hidden,
            intermediate=sizes.intermediate,
            layers=sizes.layers,
            heads=0,
            attention_heads=sizes.attention_heads,
            key_value_heads=sizes.key_value_heads,
            window=32_768,
            rope_theta=1e6,
            norm_eps=1e-6,
            ends=(0,),
            mode=(1, 0),
        )
        self.model = random_model(self.config, device, dtype, "full")
        self.whale = _random(Whale(sizes.audio), device)
        self.vision = _random(Vision(sizes.vision, sizes.hidden), device)
        self.steps = Steps("vita", 2)
        self.language = Generation(self.model, self.steps)

    def encode(self, case: Case) -> Iterator[torch.Tensor | None]:
        """Rows of a prompt, None after each step but the last."""
        frames = round(SPOKEN * 100)
        size = self.sizes.vision
        length = TEXT + case.clips * rows_of(frames) + case.tiles * size.tokens
        rows = torch.zeros(length, self.sizes.hidden, dtype=self.model.dtype, device=self.device)
        for _ in range(case.clips):
            yield from self.whale.encode(torch.randn(frames, MELS))
        at_once = 8 if self.device == "cuda" else 1
        for first in range(0, case.tiles, at_once):
            tiles = torch.zeros(min(at_once, case.tiles - first), 3, size.size, size.size)
            self.vision(tiles)
            yield None
        yield rows

    def answer(self, case: Case) -> Iterator[int]:
        """The tokens of a reply without end."""
        (rows,) = deque(self.steps.run(self.encode(case), cancel=Cancel()), maxlen=1)
        assert rows is not None
        yield from self.language.generate(
            [0] * len(rows),
            embeddings=rows,
            drawing=Drawing(),
            max_tokens=10_000,
            cancel=Cancel(),
        )

    def encoders(self, case: Case) -> float:
        """Seconds until a prompt's rows are there."""
        synchronize(self.device)
        began = time.perf_counter()
        for _ in self.steps.run(self.encode(case), cancel=Cancel()):
            pass
        synchronize(self.device)
        return time.perf_counter() - began

    def timed(self, tokens: Iterator[int], count: int) -> tuple[float, float]:
        """Seconds until the first token, and the median of the following ones."""
        stamps = [time.perf_counter()]
        for _ in islice(tokens, count + 1):
            stamps.append(time.perf_counter())
        steps = np.diff(stamps)
        return float(steps[0]), float(np.median(steps[1:]))


def _random(module: M, device: str) -> M:
    module = module.to(device).eval().requires_grad_(requires_grad=False)
    draws = torch.Generator(device).manual_seed(0)
    for parameter in module.parameters():
        parameter.normal_(0, 0.02, generator=draws)
    return module


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--tiles", type=int, default=12, help="of an image at most")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    bench = Bench(SIZES[given.size], given.device, getattr(torch, given.dtype))
    lens = Lens(SIZES[given.size].vision.size)
    cases = {
        "text": Case(),
        "speech": Case(clips=1),
        "image and speech": Case(1, tiles_of(*PICTURE, lens.size, given.tiles)),
        "four frames and speech": Case(1, 4),
    }
    weights = stored_bytes(bench.model) - stored_bytes(bench.model.model.embed_tokens)
    floor = weights / copy_bandwidth(given.device)
    print(f"{given.size}, {given.device}, {given.dtype}, {torch.get_num_threads()} threads")
    print(
        f"{'prompt':24}{'tokens':>8}{'encoders':>10}{'first token':>13}{'a token':>9}{'floor':>8}"
    )
    for warm in (True, False):
        for name, case in cases.items():
            encoders = bench.encoders(case)
            first, step = bench.timed(bench.answer(case), TOKENS)
            rows = sum(len(r) for r in bench.encode(case) if r is not None)
            if not warm:
                print(
                    f"{name:24}{rows:8}{encoders:9.2f}s{first:12.2f}s{step * 1000:7.0f}ms"
                    f"{step / floor:7.1f}x"
                )
            elif given.device == "cpu":
                break  # One is enough to have everything in memory.
    share(bench, cases["speech"])


def share(bench: Bench, case: Case) -> None:
    """A turn alone, and while a reply is being written for somebody else."""
    alone, _ = bench.timed(bench.answer(case), TOKENS)
    stamps: list[float] = []
    over = threading.Event()

    def listen() -> None:
        for _ in bench.answer(Case()):
            stamps.append(time.perf_counter())
            if over.is_set():
                return

    listener = threading.Thread(target=listen)
    listener.start()
    while len(stamps) <= TOKENS:
        time.sleep(0.01)
    began = time.perf_counter()
    first, step = bench.timed(bench.answer(case), TOKENS)
    over.set()
    listener.join()
    bench.steps.close()
    times = np.array(stamps)
    gaps, before = np.diff(times), times[1:] < began
    usual, meanwhile = float(np.median(gaps[before])), float(np.median(gaps[~before]))
    print(
        f"speech while another is answered: first token after {first:.2f} s, alone {alone:.2f} s "
        f"({first / alone:.2f}x), then {step * 1000:.0f} ms a token; a token of the other one "
        f"{meanwhile * 1000:.0f} ms, before {usual * 1000:.0f} ms ({meanwhile / usual:.2f}x), at "
        f"most {gaps[~before].max() * 1000:.0f} ms"
    )


if __name__ == "__main__":
    with torch.inference_mode():
        main()
