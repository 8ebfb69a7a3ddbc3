"""How fast VITA-Audio's language model writes in each speed mode, and how soon it speaks.

    python -m bench.vita_audio
    python -m bench.vita_audio --size tiny --threads 1
    python -m bench.vita_audio --size 7b --device cuda --seat 4096

Random weights: time does not depend on values, but for one thing. Guessing among codes (see
`engines.vita_audio.fast`) pays as long as speech goes on, so the output projection is made to
prefer codes, as that of the real model does in speech. All rows are measured in one run:

- `stepwise`: one step of the model after the other, the same modules without the fast path;
- `runs`: a run of heads in one step;
- `guessing`: and scores of codes only, checked afterwards;
- `seat`: and caches in fixed places; on a GPU, with CUDA graphs.

The floor is what reading the weights of a step takes at the speed at which this machine copies
memory. In one token the main model and the output projection are read; in a round of Turbo (11
tokens) the main model, ten heads, and the projection 11 times, or, with guessing, twice and a
tenth of it ten times.

Last, the time from a prompt to the first codes and their sound, and the same from a clip, which
the encoder of the Plus checkpoints hears first, at its published size.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from bench.codec_sizes import random_decoder
from codec.stream import StreamPlan
from engines.base import Cancel
from engines.native.quantization import Precision, rounding, stored_bytes
from engines.native.sampling import Drawing, Sampler
from engines.native.steps import Steps
from engines.vita_audio.config import LanguageConfig
from engines.vita_audio.decoding import Decoding
from engines.vita_audio.fast import FastDecoding
from engines.vita_audio.fbank import RATE, WIDTH, FilterBank
from engines.vita_audio.generation import Generation
from engines.vita_audio.language_model import LanguageModel
from engines.vita_audio.runtime import Ears
from engines.vita_audio.schedule import BOOST, MODES, VANILLA, Schedule
from engines.vita_audio.seat import Seat
from engines.vita_audio.sensevoice import EncoderConfig, SenseVoice

PUBLISHED = LanguageConfig(
    hears="codes",
    vocabulary=168_072,
    hidden=3584,
    intermediate=18_944,
    layers=28,
    heads=10,
    attention_heads=28,
    key_value_heads=4,
    window=32_768,
    rope_theta=1e6,
    norm_eps=1e-6,
    ends=(151_645,),
    mode=(1, 10, 4, 10),
)

#: What can be measured. `mid` has the proportions of the published model (28 layers, an output
#: projection of 2.6 layers) at a fifteenth of its weights; `tiny` is for trying things out.
SIZES = {
    "tiny": replace(
        PUBLISHED,
        vocabulary=4096,
        hidden=256,
        intermediate=1024,
        layers=6,
        attention_heads=8,
        key_value_heads=2,
    ),
    "mid": replace(
        PUBLISHED,
        vocabulary=38_400,
        hidden=1024,
        intermediate=4096,
        attention_heads=16,
        key_value_heads=4,
    ),
    "7b": PUBLISHED,
}

#: Codes are this part of the vocabulary in the published model.
CODES = 16_384 / 168_072
#: Codes of the first group of speech, between its markers.
FIRST_CODES = 8
PROMPT = 32
#: What is asked, where it is heard, seconds.
CLIP = 2.0


def random_model(
    config: LanguageConfig, device: str, dtype: torch.dtype, precision: Precision
) -> LanguageModel:
    """A model with random weights, always the same, that prefers codes."""
    with torch.device("meta"):
        model = LanguageModel(config)
    draws = torch.Generator(device).manual_seed(0)
    finish = rounding(precision, device, dtype)
    for module in model.modules():
        for name, tensor in tuple(module._parameters.items()):
            if tensor is not None:
                filled = torch.empty(tensor.shape, device=device, dtype=dtype)
                filled.normal_(0, 0.02, generator=draws)
                if name == "weight" and tensor.dim() == 1:
                    filled.fill_(1.0)  # A norm.
                module._parameters[name] = torch.nn.Parameter(filled, requires_grad=False)
        if module is model.lm_head:
            module._parameters["weight"][: codes_of(config)[0]] /= 16  # type: ignore[index]
        if finish is not None:
            finish(module)
    model.rotary.to(device)
    return model.eval()


def codes_of(config: LanguageConfig) -> tuple[int, int]:
    """The range of ids that are codes."""
    return config.vocabulary - int(config.vocabulary * CODES), config.vocabulary


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def copy_bandwidth(device: str) -> float:
    """Bytes a second that are read and written when memory is copied, the best of some tries."""
    one = torch.ones(2**28 if device == "cuda" else 2**26, device=device)
    other = torch.empty_like(one)
    best = float("inf")
    for _ in range(6):
        synchronize(device)
        began = time.perf_counter()
        other.copy_(one)
        synchronize(device)
        best = min(best, time.perf_counter() - began)
    return 2 * one.nbytes / best


@dataclass(frozen=True)
class Weights:
    """Bytes that are read of the model's parts."""

    main: int
    heads: int
    projection: int

    @classmethod
    def of(cls, model: LanguageModel) -> "Weights":
        """Of a model, rounded or not."""
        layers = model.model.layers
        main = sum(map(stored_bytes, layers[: model.config.layers]))
        parts = (*layers[model.config.layers :], *model.mtp_projs)
        return cls(main, sum(map(stored_bytes, parts)), stored_bytes(model.lm_head))

    def round(self, mode: Schedule, *, guessing: bool) -> tuple[int, int]:
        """Bytes of a round of the mode's last two counts, and its tokens."""
        mains, heads = mode.mode[-2:]
        read = mains * (self.main + self.projection)
        if heads and not guessing:
            read += self.heads * heads // 10 + heads * self.projection
        elif heads:
            read += self.heads * heads // 10 + int((1 + CODES * heads) * self.projection)
        return read, mains + heads


def tokens_of(
    way: str, model: LanguageModel, prompt: list[int], mode: Schedule, rows: int
) -> Iterator[int]:
    """Tokens of a reply without end."""
    sampler = Sampler(
        Drawing(), vocabulary=model.config.vocabulary, prompt=prompt, device=model.device
    )
    if way == "stepwise":
        decoding = Decoding(model, prompt, schedule=mode)
        while True:
            token = int(sampler.draw(decoding.advance()))
            decoding.append(token)
            yield token
    codes = codes_of(model.config) if way in ("guessing", "seat") else None
    seat = Seat(model, rows) if way == "seat" else None
    quick = FastDecoding(model, prompt, sampler=sampler, schedule=mode, codes=codes, seat=seat)
    while True:
        yield from quick.step()


def steady(tokens: Iterator[int], skipped: int, size: int, rounds: int, device: str) -> float:
    """Median seconds of a round of `size` tokens."""
    for _ in range(skipped):
        next(tokens)
    taken = []
    for _ in range(rounds):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(size):
            next(tokens)
        synchronize(device)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]


def random_ears(config: LanguageConfig, device: str) -> Ears:
    """The encoder of the Plus checkpoints with random weights, in float32, as they are loaded."""
    sizes = EncoderConfig(output=config.hidden)
    if config.hidden < SIZES["mid"].hidden:
        sizes = replace(sizes, hidden=64, inner=128, blocks=4, text_blocks=2)
    torch.manual_seed(0)
    with torch.device(device):
        encoder = SenseVoice(sizes).eval()
    return Ears(FilterBank(np.zeros(WIDTH, np.float32), np.ones(WIDTH, np.float32)), encoder)


def first_sound(
    model: LanguageModel, prompt: list[int], device: str, tries: int, ears: Ears | None
) -> None:
    """Time from the prompt to the first group of codes, and to its sound.

    With `ears` a clip is heard first: its rows come before the prompt.
    """
    decoder = random_decoder(device, torch.float32)
    steps = Steps("language")
    language = Generation(model, steps, codes=codes_of(model.config))
    clip = np.random.default_rng(0).normal(0, 0.1, round(CLIP * RATE)).astype(np.float32)
    times: list[list[float]] = []
    for _ in range(tries + 1):  # The first one warms up.
        synchronize(device)
        began = time.perf_counter()
        marks: list[float] = []

        def mark(began: float = began, marks: list[float] = marks) -> None:
            synchronize(device)
            marks.append(time.perf_counter() - began)

        ids, embeddings = prompt, None
        if ears is not None:
            features = torch.from_numpy(ears.bank(clip, RATE))
            mark()
            (rows,) = ears.encoder([features])
            mark()
            ids = [0] * len(rows) + prompt
            embeddings = model.embed(torch.tensor(ids, device=device))[0]
            embeddings[: len(rows)] = rows.to(embeddings)
        reply = language.generate(
            ids, embeddings=embeddings, mode=BOOST, max_tokens=64, cancel=Cancel()
        )
        next(reply)
        mark()
        codes = [next(reply) % 16_384 for _ in range(FIRST_CODES + 2)][1:-1]
        mark()
        stream = decoder.open(plan=StreamPlan(first=FIRST_CODES))
        assert len(stream.push(codes).samples)
        mark()
        times.append(marks)
        reply.close()
    steps.close()
    names = ["first token", "first codes", "first PCM"]
    begin = f"prompt of {PROMPT}"
    if ears is not None:
        names = ["features", "rows of it", *names]
        begin = f"clip of {CLIP:g} s and {begin}"
    for name, values in zip(names, zip(*times[1:], strict=True), strict=True):
        middle = sorted(values)[tries // 2]
        print(f"{begin} to {name:12} {1e3 * middle:9.1f} ms", flush=True)


def stages(model: LanguageModel, prompt: list[int], device: str) -> None:
    """What the parts of the first round cost."""
    decoding = Decoding(model, prompt, schedule=BOOST)
    for name in ("reading the prompt", *(f"head {k}, with the prompt" for k in range(2))):
        synchronize(device)
        began = time.perf_counter()
        decoding.append(int(decoding.advance().argmax()))
        print(f"{name:28} {1e3 * (time.perf_counter() - began):9.1f} ms", flush=True)


def memory(device: str) -> float:
    """Most memory so far, MB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Measure, and print a table with ratios."""
    parser = argparse.ArgumentParser(description="How fast VITA-Audio's language model writes.")
    parser.add_argument("--size", choices=list(SIZES), default="mid")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--precision", choices=("full", "int8", "int4"), default="full")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--modes", nargs="*", choices=list(MODES), default=list(MODES))
    ways = ("stepwise", "runs", "guessing", "seat")
    parser.add_argument("--ways", nargs="*", choices=ways, default=list(ways))
    parser.add_argument("--seat", type=int, default=512, help="Rows of a seat.")
    parser.add_argument("--no-sound", action="store_true", help="Without the codec.")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config, device = SIZES[options.size], options.device
    model = random_model(config, device, getattr(torch, options.dtype), options.precision)
    weights = Weights.of(model)
    bandwidth = copy_bandwidth(device)
    print(
        f"{options.size}: {config.weights / 1e9:.2f}e9 weights, {stored_bytes(model) / 1e6:.0f} MB"
    )
    print(f"{device}, {options.dtype}, {options.precision}, {options.threads} threads")
    print(f"copy bandwidth {bandwidth / 1e9:.1f} GB/s; a token of a conversation takes ", end="")
    print(f"{config.cached_per_token * model.dtype.itemsize / 1e3:.0f} kB")
    draws = torch.Generator().manual_seed(1)
    prompt = torch.randint(config.vocabulary, (PROMPT,), generator=draws).tolist()
    with torch.inference_mode():
        stages(model, prompt, device)
        print(f"{'':20} {'tokens/s':>9} {'over vanilla':>13} {'of the floor':>13}")
        vanilla: float | None = None
        for mode in options.modes:
            for way in options.ways:
                schedule = MODES[mode]
                if schedule == VANILLA and way in ("runs", "guessing"):
                    continue
                read, size = weights.round(schedule, guessing=way in ("guessing", "seat"))
                tokens = tokens_of(way, model, prompt, schedule, options.seat)
                # The first rounds read the prompt with every head.
                skipped = sum(schedule.mode) + size * (2 if device == "cpu" else 4)
                rounds = options.rounds * (4 if schedule == VANILLA else 1)
                rate = size / steady(tokens, skipped, size, rounds, device)
                vanilla = vanilla or rate
                floor = rate * read / size / bandwidth
                print(
                    f"{mode:9} {way:10} {rate:9.2f} {rate / vanilla:13.2f} {floor:13.2f}",
                    flush=True,
                )
        if not options.no_sound:
            for ears in (None, random_ears(config, device)):
                first_sound(model, prompt, device, tries=3, ears=ears)
    print(f"peak memory {memory(device):.0f} MB")


if __name__ == "__main__":
    main()
