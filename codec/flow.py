"""The flow decoder: codes to mel, by conditional flow matching.

CosyVoice's `MaskedDiffWithXvec` (Du et al., 2024) as GLM-4-Voice uses it. What the
reference computes in training mode (dropout) or from the global random generator
is neither here: the module has no dropout, and noise is given.
"""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from codec.config import FlowConfig
from codec.conformer import BlockEncoder
from codec.frames import nearest
from codec.unet import UNet

Velocity = Callable[[Tensor, Tensor], Tensor]
"""`UNet.forward`, or something faster that gives the same."""

Check = Callable[[], None]
"""Called before every step of the models; stops the work by raising."""


def never() -> None:
    """The check of work that nobody stops."""


class _Regulator(nn.Module):
    """Smooths a condition that was stretched to frames."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for _ in range(layers):
            parts += [nn.Conv1d(width, width, 3, padding=1), nn.GroupNorm(1, width), nn.Mish()]
        self.model = nn.Sequential(*parts, nn.Conv1d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


class _Matching(nn.Module):
    """Holds the estimator under its name in the checkpoint."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.estimator = UNet(config.unet)


class Flow(nn.Module):
    """Codes to mel.

    Args:
        config: Sizes.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.input_embedding = nn.Embedding(config.vocabulary, config.code_width)
        self.spk_embed_affine_layer = nn.Linear(config.speaker_width, config.mels)
        self.encoder = BlockEncoder(config.code_width, config.encoder)
        self.encoder_proj = nn.Linear(config.encoder.width, config.mels)
        self.decoder = _Matching(config)
        self.length_regulator = _Regulator(config.mels, config.regulator_layers)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder_proj.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are kept in."""
        return self.encoder_proj.weight.dtype

    def hidden(self, codes: Tensor) -> Tensor:
        """The encoder's states, `[1, codes]` to `[1, codes, width]`.

        Codes below 0 are taken for 0, like the reference does.
        """
        out: Tensor = self.encoder(self.input_embedding(codes.clamp(min=0)))
        return out

    def condition(self, codes: Tensor, index: Tensor) -> Tensor:
        """What the mel is to follow (the reference's `mu`).

        Args:
            codes: int64 `[1, codes]`.
            index: Which of the codes sounds at each frame, int64 `[frames]`.

        Returns:
            float32 `[1, mels, frames]`.
        """
        projected = self.encoder_proj(self.hidden(codes)).transpose(1, 2)
        out: Tensor = self.length_regulator(projected[:, :, index])
        return out.float()

    def speaker(self, embedding: Tensor | None) -> Tensor:
        """A speaker embedding as the estimator takes it, `[1, speaker_width]` to `[1, mels]`."""
        if embedding is None:
            embedding = torch.zeros(1, self.config.speaker_width)
        # In float32: the guard against a division by 0 is 0 in float16.
        unit = functional.normalize(embedding.to(self.device).float(), dim=1)
        out: Tensor = self.spk_embed_affine_layer(unit.to(self.dtype))
        return out.float()

    def times(self, steps: int) -> Tensor:
        """The times of `steps` Euler steps, float32 `[steps + 1]` from 0 to 1."""
        even = torch.linspace(0, 1, steps + 1)
        return 1 - torch.cos(even * 0.5 * math.pi) if self.config.cosine else even

    def solve(
        self,
        noise: Tensor,
        condition: Tensor,
        speaker: Tensor,
        prompt: Tensor,
        steps: int,
        velocity: Velocity | None = None,
        check: Check = never,
    ) -> Tensor:
        """Follow the flow from noise to mel, with classifier-free guidance.

        Both branches of the guidance are one batch. The state is kept in float32.

        Args:
            noise: float32 `[1, mels, frames]`.
            condition: As `condition` makes it.
            speaker: As `speaker` makes it.
            prompt: Mel where it is known, 0 elsewhere; `[1, mels, frames]`.
            steps: Euler steps.
            velocity: Stands in for the estimator.
            check: Called before every step.

        Returns:
            float32 `[1, mels, frames]`.
        """
        velocity = velocity or self.decoder.estimator
        frames = noise.shape[2]
        guided = torch.cat((condition, speaker[:, :, None].expand(-1, -1, frames), prompt), dim=1)
        fixed = torch.cat((guided, torch.zeros_like(guided)))
        times = self.times(steps).to(noise.device)
        weight = self.config.guidance
        x = noise
        for start, end in itertools.pairwise(times):
            check()
            stacked = torch.cat((x.expand(2, -1, -1), fixed), dim=1).to(self.dtype)
            with_guide, without = velocity(stacked, start.expand(2)).float().chunk(2)
            x = x + (end - start) * ((1 + weight) * with_guide - weight * without)
        return x

    def infer(
        self,
        codes: Tensor,
        frames: int,
        noise: Tensor,
        steps: int,
        *,
        prompt_codes: Tensor | None = None,
        prompt_mel: Tensor | None = None,
        embedding: Tensor | None = None,
        velocity: Velocity | None = None,
    ) -> Tensor:
        """The reference's whole inference.

        Args:
            codes: int64 `[1, codes]`.
            frames: Of prompt and reply together, as `Clock.frames` counts them.
            noise: `[1, mels, frames]`.
            steps: Euler steps.
            prompt_codes: int64 `[1, prompt codes]`.
            prompt_mel: `[1, mels, prompt frames]`.
            embedding: `[1, speaker_width]`.
            velocity: Stands in for the estimator.

        Returns:
            float32 `[1, mels, frames - prompt frames]`.
        """
        if prompt_codes is not None:
            codes = torch.cat((prompt_codes, codes), dim=1)
        index = nearest(codes.shape[1], frames, codes.device)
        prompt = torch.zeros_like(noise)
        known = 0
        if prompt_mel is not None:
            known = prompt_mel.shape[2]
            prompt[:, :, :known] = prompt_mel
        mel = self.solve(
            noise,
            self.condition(codes, index),
            self.speaker(embedding),
            prompt,
            steps,
            velocity,
        )
        return mel[:, :, known:]
