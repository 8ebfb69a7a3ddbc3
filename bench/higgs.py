"""Higgs Audio: what a second of speech costs, in stages, and streaming against one decode.

    python -m bench.higgs

The published weights need a GPU; here a random model of a middle size stands for them, with the
published codebooks, strides and reach. Its speed says nothing; the ratios do, by and large: what
streaming costs beside decoding everything at once, and what sharing costs beside working alone.
"""

import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engines.base import Cancel
from engines.higgs import codec as codecs
from engines.higgs import model as models
from engines.higgs.codec import Codec
from engines.higgs.synthesizer import Higgs
from errors import EngineError
from model_spec import LoadReport

#: Frames that are decoded for the comparison: 20 s.
FRAMES = 500
ROUNDS = 3
TEXT = "The lighthouse keeper counted the ships."


def main() -> None:
    """Print the tables."""
    sys.path.append("tests")
    checkpoint = import_module("higgs_checkpoint")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        codec = codecs.load(checkpoint.make_codec(Path(folder, "codec"), width=128), "cpu")
        path = checkpoint.make_model(Path(folder, "model"), width=384, layers=4, eager=2.0)
        higgs = Higgs(models.load(path, "cpu", torch.float32, LoadReport()), codec)
        print_decoding(codec)
        print_reply(higgs)
        print_sharing(higgs)
        higgs.close()


def print_decoding(codec: Codec) -> None:
    """Streaming against decoding everything at once."""
    frames = np.random.default_rng(0).integers(0, codec.entries, (FRAMES, codec.books))

    def stream() -> float:
        began = time.perf_counter()
        decoder = codec.stream()
        for frame in frames:
            decoder.push(frame)
        for _ in decoder.finish():
            pass
        return time.perf_counter() - began

    def whole() -> float:
        began = time.perf_counter()
        codec.decode(frames)
        return time.perf_counter() - began

    times = [(stream(), whole()) for _ in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in times)
    print(f"decoding {FRAMES} frames: streamed over one-shot {ratio:.2f}")


def print_reply(higgs: Higgs) -> None:
    """One reply: when its first sound came, and which stage took what."""
    shares: dict[str, float] = defaultdict(float)
    columns = 0
    firsts, totals, seconds = [], [], 0.0

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            nonlocal columns
            began = time.perf_counter()
            result = call(*args, **options)
            shares[name] += time.perf_counter() - began
            columns += name == "columns"
            return result

        return run

    network, codec, prompter = higgs.model.network, higgs.codec, higgs.model.prompter
    forward = network.forward

    def stage(*args: Any, **options: Any) -> Any:
        name = "prompt" if options.get("input_ids") is not None else "columns"
        return timed(name, forward)(*args, **options)

    with (
        _replaced(network, "forward", stage),
        _replaced(codec, "decode", timed("codec", codec.decode)),
        _replaced(prompter, "prompt", timed("text", prompter.prompt)),
    ):
        for seed in range(ROUNDS):
            began = time.perf_counter()
            first = None
            for length in _spoken(higgs, seed):
                first = first or time.perf_counter() - began
                seconds += length
            totals.append(time.perf_counter() - began)
            firsts.append(first or totals[-1])
    total = sum(totals)
    print(
        f"one reply at a time: {columns / total:.0f} columns/s, {total / seconds:.2f} s of work "
        f"for a second of speech, first sound after {statistics.median(firsts):.2f} s"
    )
    rest = total - sum(shares.values())
    words = [f"{name} {share / total:.0%}" for name, share in sorted(shares.items())]
    print(f"shares: {', '.join(words)}, drawing and everything else {rest / total:.0%}")


def print_sharing(higgs: Higgs) -> None:
    """Four replies at once against the same four one after the other."""
    began = time.perf_counter()
    alone = sum(sum(_spoken(higgs, seed)) for seed in range(4))
    sequential = time.perf_counter() - began
    made = [0.0] * 4

    def run(seed: int) -> None:
        made[seed] = sum(_spoken(higgs, seed))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = time.perf_counter() - began
    assert sum(made) == alone, "another reply changed one"
    print(f"four replies at once over one after the other: {together / sequential:.2f}")


def _spoken(higgs: Higgs, seed: int) -> Iterator[float]:
    """Seconds of each piece of a reply; a random model may not come to an end."""
    random = np.random.default_rng(seed)
    with higgs.begin("feminine", style="", random=random, cancel=Cancel()) as reply:
        try:
            for piece in reply.speak(TEXT):
                yield piece.seconds
        except EngineError:
            return


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


if __name__ == "__main__":
    main()
