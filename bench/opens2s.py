"""How soon OpenS2S is heard, and where its time goes.

    python -m bench.opens2s
    python -m bench.opens2s --size full --device cuda --dtype bfloat16

Random weights: time does not depend on values. Every figure beside a time is a ratio of two
times of the same run: to what reading the weights once per token takes at the speed at which this
machine copies memory (the floor), to the length of the speech that was made, to when the
published server would have sent its first sound (a block of 24 units, after the last unit if the
text has fewer than 24 tokens), and the share of each stage.
"""

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from bench.codec_sizes import random_decoder
from bench.opens2s_sizes import SIZES, random_model
from codec.decoder import SpeechDecoder
from engines.opens2s.features import Mel
from engines.opens2s.generation import Limits, Reply, Unit, Word
from engines.opens2s.model import OpenS2S

#: The published server's block, units. It takes one unit for each text token that it sends.
BLOCK = 24
#: Bytes copied to measure how fast that goes; more than any cache holds.
COPIED = 1 << 28
#: Units a second.
RATE = 12.5


class Draw:
    """Random tokens, none of them an end: the reply is as long as its limits."""

    def __init__(self, vocabulary: int) -> None:
        self._random = np.random.default_rng(0)
        self._vocabulary = vocabulary

    def begin(self) -> None:
        """See `engines.opens2s.generation.Draw`."""

    def __call__(self, logits: Tensor) -> Tensor:
        """See `engines.opens2s.generation.Draw`."""
        logits.argmax()  # What drawing costs, at least.
        return torch.tensor([self._random.integers(self._vocabulary)], device=logits.device)


@dataclass
class Times:
    """Seconds.

    Attributes:
        stages: By stage, in all.
        first_sound: From the prompt to the first PCM.
        as_published: From the prompt to when the published server sends its first block.
        total: The whole reply.
    """

    stages: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    first_sound: float = 0.0
    as_published: float = 0.0
    total: float = 0.0


def now(device: str) -> float:
    """The clock, once the device has done what it was asked."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@torch.inference_mode()
def reply(
    model: OpenS2S, decoder: SpeechDecoder, seconds: float, text: int, units: int, device: str
) -> Times:
    """Answer a clip, one stage after the other, and time each."""
    config, times = model.config, Times()
    frames = int(seconds * 100)
    window = 2 * config.audio.max_source_positions
    windows = -(-frames // window)
    mel = Mel(torch.randn(1, config.audio.num_mel_bins, windows * window), (frames,))
    limits = Limits(text, units, frozenset(), frozenset())
    draws = Draw(config.llm.vocab_size), Draw(config.speech.vocab_size)
    answer = Reply(model, config.strategy, limits, *draws)
    stream = decoder.open()
    began = last = now(device)

    def lap(stage: str) -> float:
        nonlocal last
        before, last = last, now(device)
        times.stages[stage] += last - before
        return last - began

    hearing = model.hear(mel)
    try:
        while True:
            next(hearing)
    except StopIteration as heard:
        prompt = torch.cat([model.llm_model.embed(torch.arange(40, device=device)), *heard.value])
    lap("hearing")
    words = made = 0
    as_published = 0.0
    for token in answer.write(prompt):
        speaking = isinstance(token, Unit)
        at = lap("units" if speaking else "text" if words else "reading")
        words += isinstance(token, Word)
        if not as_published and words >= BLOCK and made >= BLOCK:
            as_published = at - times.stages["sound"]
        if speaking:
            made += 1
            audio = stream.push([made % 500])
            at = lap("sound")
            if len(audio) and not times.first_sound:
                times.first_sound = at
    as_published = as_published or last - began - times.stages["sound"]
    stream.finish()
    times.total = lap("sound")
    times.as_published = as_published + published_block(decoder, device)
    return times


def published_block(decoder: SpeechDecoder, device: str) -> float:
    """Seconds that one block of 24 takes to become sound."""
    began = now(device)
    decoder.decode(list(range(BLOCK)))
    return now(device) - began


def copy_speed(device: str) -> float:
    """Bytes a second that this machine reads while it copies."""
    source = torch.ones(COPIED // 4, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(5):
        began = now(device)
        target.copy_(source)
        best = min(best, now(device) - began)
    return 2 * COPIED / best


def size_of(*parts: nn.Module) -> int:
    """Bytes that a step of these parts reads; of a table of embeddings only a row."""
    every = {p for part in parts for p in part.parameters()}
    tables = {m.weight for part in parts for m in part.modules() if isinstance(m, nn.Embedding)}
    return sum(p.numel() * p.element_size() for p in every - tables)


def main() -> None:
    """Measure, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", choices=SIZES, default="mid")
    parser.add_argument("--strategy", default="1:2", help="text tokens and units of a round")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--clip", type=float, default=5.0, help="seconds of question")
    parser.add_argument("--text", type=int, default=20, help="tokens of the answer")
    parser.add_argument("--units", type=int, default=60, help="units of the answer")
    given = parser.parse_args()
    dtype = getattr(torch, given.dtype)
    model = random_model(given.size, given.strategy, given.device, dtype)
    decoder = random_decoder(given.device)
    reply(model, decoder, given.clip, 6, 12, given.device)  # Warms up.
    times = reply(model, decoder, given.clip, given.text, given.units, given.device)
    speed = copy_speed(given.device)
    print(
        f"{given.size}, {given.device}, {given.dtype}, {given.strategy}; a clip of {given.clip} s"
    )
    for stage, count, parts in (
        ("text", given.text - 1, (model.llm_model, model.llm2tts)),
        ("units", given.units, (model.tts_lm_model,)),
    ):
        each = times.stages[stage] / max(1, count)
        floor = size_of(*parts) / speed
        print(f"{stage:8} {1 / each:8.1f} a second, {each / floor:5.2f} times the floor")
    print(f"first sound {times.first_sound:.3f} s after the prompt;", end=" ")
    print(f"the published server's after {times.as_published / times.first_sound:.1f} times that")
    print(f"whole reply: {times.total / (given.units / RATE):.2f} times the length of its speech")
    for stage in ("hearing", "reading", "text", "units", "sound"):
        print(f"{stage:8} {times.stages[stage] / times.total:6.1%}")


if __name__ == "__main__":
    main()
