"""How soon the voice of VITA-1.5 is heard, and where its time goes.

    python -m bench.vita_speech
    python -m bench.vita_speech --size tiny
    python -m bench.vita_speech --device cuda --dtype bfloat16

Random weights of the published sizes (by the size of its file; Freeze-Omni's are known): time does
not depend on values. Every figure beside a time is a ratio of two times of the same run: the first
sound with the first sentence's speed-up and without, the whole sentence as a stream and as codes
first and sound then, and a step to what reading the weights once takes at the speed at which this
machine copies memory (the floor).
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from bench.opens2s import copy_speed, size_of
from engines.base import Cancel
from engines.vita.speech.codec import Codec
from engines.vita.speech.config import RATE, CodecConfig, DecoderConfig
from engines.vita.speech.decoder import TokenDecoder
from engines.vita.speech.drawing import write_codes
from engines.vita.speech.head import SpeechHead
from engines.vita.speech.stream import LATER, Options

#: Of the language model.
_TOKENS = 1000
_PER_TOKEN = 4
_SENTENCE = "The sky is blue because short waves of light bend more than long ones."

SIZES = {
    "full": (
        DecoderConfig(width=896, heads=14, inner=4864, blocks=4, codes=1024),
        CodecConfig(
            codes=1024,
            channels=512,
            rates=(8, 5, 5, 3),
            kernels=(16, 11, 11, 5),
            residual_kernels=(3, 7, 11),
            dilations=((1, 3, 5),) * 3,
            style_width=128,
            style=(473, 975, 419, 219, 565, 121, 550, 616),
        ),
    ),
    "tiny": (
        DecoderConfig(width=64, heads=4, inner=128, blocks=2, codes=64),
        CodecConfig(
            codes=64,
            channels=64,
            rates=(8, 5, 5, 3),
            kernels=(16, 11, 11, 5),
            residual_kernels=(3,),
            dilations=((1, 3, 5),),
            style_width=16,
            style=(1, 2, 3, 4),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one sentence.

    Attributes:
        first: To its first sound.
        total: To its last.
        audio: How long it is heard.
    """

    first: float
    total: float
    audio: float


def random_head(size: str, device: str, dtype: torch.dtype) -> SpeechHead:
    """A head of random weights, whose sentences do not end by themselves."""
    torch.manual_seed(0)
    sizes, sounds = SIZES[size]
    decoder = TokenDecoder(sizes).requires_grad_(False).eval()
    decoder.out_fnn.bias[sizes.codes :] = -torch.inf
    codec = Codec(sounds).requires_grad_(False).eval()
    rotary = decoder.rotary
    decoder = decoder.to(device=device, dtype=dtype)
    decoder.rotary = rotary.to(device=device, dtype=torch.float32)
    table = torch.randn(_TOKENS, _PER_TOKEN * sizes.width, device=device, dtype=dtype)

    def encode(text: str) -> list[int]:
        # About as many tokens as Qwen's tokenizer makes of English.
        return [ord(word[0]) for word in text.split()]

    return SpeechHead(decoder, codec.to(device), table, encode)


def timed(sound: Callable[[], Iterator[int]], device: str) -> Times:
    """Time what gives the lengths of its pieces, samples."""
    began = _now(device)
    first, samples = 0.0, 0
    for piece in sound():
        first = first or _now(device) - began
        samples += piece
    return Times(first, _now(device) - began, samples / RATE)


def streamed(head: SpeechHead, options: Options) -> Iterator[int]:
    """One sentence as replies are spoken."""
    stream = head.open(1, Cancel(), options)
    for audio, _ in itertools.chain(stream.push(_SENTENCE), stream.finish()):
        yield len(audio)


def in_one_go(head: SpeechHead, most: int) -> Iterator[int]:
    """One sentence: all codes, then all sound."""
    rows = head.rows([ord(word[0]) for word in _SENTENCE.split()])
    config = head.decoder.config
    special = (config.begin, config.start, config.pad)
    codes = write_codes(head.decoder, rows, lambda: 0.5, most=most, blocked=special)
    yield len(head.codec.decode(list(codes)))


def report(head: SpeechHead, device: str, codes: int, rounds: int) -> None:
    """Measure in turns, and print medians of times and ratios."""
    options = Options(most=codes)
    ways: dict[str, Callable[[], Iterator[int]]] = {
        "speed-up": lambda: streamed(head, options),
        "without": lambda: streamed(head, replace(options, first=LATER)),
        "one go": lambda: in_one_go(head, codes),
    }
    runs: dict[str, list[Times]] = {name: [] for name in ways}
    for way in ways.values():
        timed(way, device)  # Warms up.
    for _ in range(rounds):
        for name, way in ways.items():
            runs[name].append(timed(way, device))
    first = {name: _median([run.first for run in made]) for name, made in runs.items()}
    total = {name: _median([run.total for run in made]) for name, made in runs.items()}
    audio = runs["speed-up"][0].audio
    print(f"a sentence of {audio:.2f} s")
    others = {name: first[name] / first["speed-up"] for name in ways}
    print(f"first sound after {first['speed-up']:.3f} s; of that,", end=" ")
    print(f"{others['without']:.2f} times without the speed-up,", end=" ")
    print(f"{others['one go']:.2f} times with all codes first")
    whole = total["speed-up"] / total["one go"]
    print(f"the whole sentence takes {whole:.2f} times as long as with all codes first")
    print(f"real-time factor {total['speed-up'] / audio:.2f}")
    step = _median([_step_seconds(head, device) for _ in range(rounds)])
    floor = size_of(head.decoder.layers, head.decoder.out_fnn) / copy_speed(device)
    print(f"a step takes {step * 1000:.1f} ms, {step / floor:.2f} times the floor")


def _step_seconds(head: SpeechHead, device: str, count: int = 40) -> float:
    rows = head.rows(list(range(20)))
    codes = write_codes(head.decoder, rows, lambda: 0.5, most=count + 1)
    next(codes)
    began = _now(device)
    for _ in codes:
        pass
    return (_now(device) - began) / count


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _now(device: str) -> float:
    """The clock, once the device has done what it was asked."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main() -> None:
    """Measure, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--codes", type=int, default=160, help="of the sentence; 40 are a second")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    head = random_head(given.size, given.device, getattr(torch, given.dtype))
    print(f"voice {given.size}, {given.device}, {given.dtype}")
    report(head, given.device, given.codes, given.rounds)


if __name__ == "__main__":
    main()
