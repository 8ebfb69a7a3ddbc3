"""How the published demos stream, as plain policies over our own modules.

They are the baselines of `bench.codec`, and follow the demos step by step, mistakes
included: `tests/test_codec_policies.py` compares them with recordings of the originals.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from codec.reply import Models

#: Codes whose frames are held back and cross-faded, in `GrowingPrompt`.
_OVERLAP_CODES = 5
#: Block sizes of GLM-4-Voice's demo; the last one repeats.
GROWING_BLOCKS = (25, 50, 100, 150, 200)
#: Codes between two renderings in VITA-Audio's demo, at least.
REDECODE_GROUP = 26
#: Euler steps of its first, second, ... rendering; the last one repeats.
REDECODE_STEPS = (1, 3, 5, 7, 9, 10)


class Draws(Protocol):
    """The random numbers of one call of the reference."""

    def noise(self, mels: int, frames: int) -> Tensor:
        """Where the flow starts, `[1, mels, frames]`."""
        ...

    def phases(self, sources: int) -> Tensor:
        """Where the sines start, `[1, sources, 1]`."""
        ...

    def source_noise(self, sources: int, samples: int) -> Tensor:
        """The excitation's noise, `[1, sources, samples]`."""
        ...


class Seeded:
    """The reference's numbers: it seeds the global generator with 42 at every call."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(42)

    def noise(self, mels: int, frames: int) -> Tensor:
        """See `Draws`."""
        return torch.randn(1, mels, frames, generator=self._generator)

    def phases(self, sources: int) -> Tensor:
        """See `Draws`."""
        return (2 * torch.rand(1, sources, 1, generator=self._generator) - 1) * torch.pi

    def source_noise(self, sources: int, samples: int) -> Tensor:
        """See `Draws`."""
        return torch.randn(1, sources, samples, generator=self._generator)


def vocode(
    models: Models, mel: Tensor, draws: Draws, cached: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Waveform and excitation; the beginning of the excitation is replaced by `cached`."""
    vocoder, hop = models.vocoder, models.clock.hop
    sources = models.config.vocoder.harmonics + 1
    phases = draws.phases(sources).to(mel.device)
    noise = draws.source_noise(sources, mel.shape[2] * hop).to(mel.device)
    excitation, _ = vocoder.excite(vocoder.pitch(mel), phases, noise)
    if cached is not None:
        excitation = excitation.clone()
        excitation[:, :, : cached.shape[2]] = cached
    return vocoder.render(mel, excitation), excitation


def flow(
    models: Models,
    codes: Sequence[int],
    draws: Draws,
    steps: int,
    prompt_codes: Sequence[int] = (),
    prompt_mel: Tensor | None = None,
) -> Tensor:
    """The mel of `codes` after a prompt."""
    device = models.flow.device
    frames = models.clock.frames(len(prompt_codes) + len(codes))
    return models.flow.infer(
        torch.tensor([list(codes)], device=device),
        frames,
        draws.noise(models.config.flow.mels, frames).to(device),
        steps,
        prompt_codes=torch.tensor([list(prompt_codes)], dtype=torch.int64, device=device),
        prompt_mel=prompt_mel,
        velocity=models.velocity,
    )


@dataclass
class _Cache:
    mel: Tensor
    excitation: Tensor


class GrowingPrompt:
    """GLM-4-Voice's demo: the flow is prompted with all of the reply so far.

    Args:
        models: The loaded decoder.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        clock, config = models.clock, models.config.flow
        self._overlap = int(_OVERLAP_CODES / clock.code_rate * clock.sample_rate / clock.hop)
        window = torch.from_numpy(np.hamming(2 * self._overlap)).to(models.flow.device)
        self._window = window.float()
        self.codes: list[int] = []
        self.mel = torch.zeros(1, config.mels, 0, device=models.flow.device)
        self._held: Tensor | None = None
        self._cache: _Cache | None = None

    def block(
        self, codes: Sequence[int], draws: Draws, *, final: bool, steps: int = 10
    ) -> tuple[Tensor, Tensor]:
        """The waveform `[1, samples]` and mel `[1, mels, frames]` of one more block."""
        mel = flow(self.models, codes, draws, steps, self.codes, self.mel)
        size = self._overlap
        if self._held is not None:
            new, old = self._window[:size], self._window[size:]
            mel = torch.cat((mel[:, :, :size] * new + self._held * old, mel[:, :, size:]), dim=2)
        cached = None
        if self._cache is not None:
            mel, cached = torch.cat((self._cache.mel, mel), dim=2), self._cache.excitation
        if final:
            wave, _ = vocode(self.models, mel, draws, cached)
        else:
            self._held, mel = mel[:, :, -size:], mel[:, :, :-size]
            wave, excitation = vocode(self.models, mel, draws, cached)
            hop = self.models.clock.hop
            self._cache = _Cache(mel[:, :, -1:], excitation[:, :, -hop:])
            wave = wave[:, :-hop]
        self.codes += codes
        self.mel = torch.cat((self.mel, mel), dim=2)
        return wave, mel


def growing(models: Models, codes: Sequence[int]) -> Iterator[Tensor]:
    """A whole reply by `GrowingPrompt`, `[samples]` per block."""
    policy, at, piece = GrowingPrompt(models), 0, 0
    while at < len(codes):
        size = GROWING_BLOCKS[min(piece, len(GROWING_BLOCKS) - 1)]
        final = at + size >= len(codes)
        yield policy.block(codes[at : at + size], Seeded(), final=final)[0][0]
        at, piece = at + size, piece + 1


def redecode(models: Models, codes: Sequence[int], draws: Draws, steps: int, heard: int) -> Tensor:
    """VITA-Audio's demo: render all codes again, take what was not heard, `[samples]`."""
    mel = flow(models, codes, draws, steps)
    return vocode(models, mel, draws, None)[0][0, heard:]


def redecoding(
    models: Models,
    codes: Sequence[int],
    group: int = REDECODE_GROUP,
    draws: Callable[[], Draws] = Seeded,
) -> Iterator[Tensor]:
    """A whole reply by `redecode`, a group at a time; the end, which it loses, included."""
    heard = 0
    for piece, at in enumerate(range(0, len(codes), group)):
        steps = REDECODE_STEPS[min(piece, len(REDECODE_STEPS) - 1)]
        wave = redecode(models, codes[: at + group], draws(), steps, heard)
        heard += len(wave)
        yield wave
