"""The velocity estimator of the flow: Matcha-TTS's one-dimensional U-Net.

Mehta et al., "Matcha-TTS: A fast TTS architecture with conditional flow matching"
(2024), in CosyVoice's variant. Module names are those of the checkpoint.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from codec.config import UNetConfig
from codec.products import Linear

#: Groups of every group normalization.
_GROUPS = 8
#: The time of the flow, 0 to 1, is scaled by this before its sinusoids are taken.
_TIME_SCALE = 1000.0
#: Inner width of a feed-forward layer over its outer width; also of the time embedding.
_EXPANSION = 4


def time_sinusoids(time: Tensor, width: int) -> Tensor:
    """Sines, then cosines of a time, float32 `[batch]` to `[batch, width]`."""
    half = width // 2
    rate = torch.arange(half, dtype=torch.float32, device=time.device)
    rate = torch.exp(rate * -(math.log(10000.0) / (half - 1)))
    angle = _TIME_SCALE * time[:, None] * rate
    return torch.cat((angle.sin(), angle.cos()), dim=1)


class _TimeEmbedding(nn.Module):
    def __init__(self, source: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(source, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear_2(functional.silu(self.linear_1(x)))
        return out


class _Convolution(nn.Module):
    """Convolution, group normalization, Mish."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv1d(source, target, 3, padding=1), nn.GroupNorm(_GROUPS, target), nn.Mish()
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return out


class _Residual(nn.Module):
    """Two convolutions with the time between them, beside a straight path."""

    def __init__(self, source: int, target: int, time: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Mish(), nn.Linear(time, target))
        self.block1 = _Convolution(source, target)
        self.block2 = _Convolution(target, target)
        self.res_conv = nn.Conv1d(source, target, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inner: Tensor = self.block2(self.block1(x) + self.mlp(time)[:, :, None])
        straight: Tensor = self.res_conv(x)
        return inner + straight


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * head_width
        self.to_q = Linear(width, inner, bias=False)
        self.to_k = Linear(width, inner, bias=False)
        self.to_v = Linear(width, inner, bias=False)
        self.to_out = nn.Sequential(Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        attended = functional.scaled_dot_product_attention(
            self._split(self.to_q(x)), self._split(self.to_k(x)), self._split(self.to_v(x))
        )
        out: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """`[batch, steps, inner]` to `[batch, heads, steps, head_width]`."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class _Gelu(nn.Module):
    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        self.proj = Linear(source, target)

    def forward(self, x: Tensor) -> Tensor:
        return functional.gelu(self.proj(x))


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width * _EXPANSION
        # The identity stands where training had dropout: the checkpoint counts it.
        self.net = nn.Sequential(_Gelu(width, inner), nn.Identity(), Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class _Transformer(nn.Module):
    """One transformer layer, `[batch, steps, width]`."""

    def __init__(self, width: int, config: UNetConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = _Attention(width, config.heads, config.head_width)
        self.norm3 = nn.LayerNorm(width)
        self.ff = _FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class _Downsampling(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class _Upsampling(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(width, width, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class _Level(nn.ModuleList):
    """A residual block, transformer layers, and what leads to the next level (if anything)."""

    def __init__(
        self, source: int, target: int, layers: int, config: UNetConfig, onward: nn.Module | None
    ) -> None:
        time = config.channels[0] * _EXPANSION
        parts: list[nn.Module] = [
            _Residual(source, target, time),
            nn.ModuleList(_Transformer(target, config) for _ in range(layers)),
        ]
        super().__init__([*parts, onward] if onward is not None else parts)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Everything but the way onward, `[batch, channels, steps]`."""
        residual, layers = self[0], self[1]
        # Copied once, so that no layer works on scattered memory.
        x = residual(x, time).transpose(1, 2).contiguous()
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            x = layer(x)
        return x.transpose(1, 2).contiguous()

    def onward(self, x: Tensor) -> Tensor:
        """To the steps of the next level."""
        out: Tensor = self[2](x)
        return out


class UNet(nn.Module):
    """Estimates the velocity of the flow at a point and a time."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.in_channels = config.in_channels
        channels = config.channels
        self.time_mlp = _TimeEmbedding(config.in_channels, channels[0] * _EXPANSION)
        last = len(channels) - 1
        sources = (config.in_channels, *channels)
        self.down_blocks = nn.ModuleList(
            _Level(
                sources[index],
                width,
                config.blocks,
                config,
                nn.Conv1d(width, width, 3, padding=1) if index == last else _Downsampling(width),
            )
            for index, width in enumerate(channels)
        )
        self.mid_blocks = nn.ModuleList(
            _Level(channels[-1], channels[-1], config.blocks, config, None)
            for _ in range(config.middle_blocks)
        )
        # On the way up, each level also gets what its counterpart on the way down made.
        rising = (*channels[::-1], channels[0])
        self.up_blocks = nn.ModuleList(
            _Level(
                2 * rising[index],
                rising[index + 1],
                config.blocks,
                config,
                nn.Conv1d(rising[index + 1], rising[index + 1], 3, padding=1)
                if index == last
                else _Upsampling(rising[index + 1]),
            )
            for index in range(len(channels))
        )
        self.final_block = _Convolution(rising[-1], rising[-1])
        self.final_proj = nn.Conv1d(rising[-1], config.out_channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """One estimate.

        Args:
            x: State, condition, speaker and prompt, stacked: `[batch, in_channels, frames]`.
            time: float32 `[batch]`, 0 is noise and 1 is mel.

        Returns:
            `[batch, out_channels, frames]`.
        """
        embedded = self.time_mlp(time_sinusoids(time, self.in_channels).to(x.dtype))
        kept = []
        for level in self.down_blocks:
            assert isinstance(level, _Level)
            x = level(x, embedded)
            kept.append(x)
            x = level.onward(x)
        for level in self.mid_blocks:
            x = level(x, embedded)
        for level in self.up_blocks:
            assert isinstance(level, _Level)
            beside = kept.pop()
            x = torch.cat((x[:, :, : beside.shape[2]], beside), dim=1)
            x = level.onward(level(x, embedded))
        out: Tensor = self.final_proj(self.final_block(x))
        return out
