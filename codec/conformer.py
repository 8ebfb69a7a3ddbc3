"""The encoder of codes: a transformer with relative positions, causal by blocks.

WeNet's Conformer encoder (Zhang et al., 2022) without its convolutions, as
CosyVoice configures it for GLM-4-Voice's decoder.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from codec.config import EncoderConfig
from codec.products import Linear


def relative_positions(steps: int, width: int, like: Tensor) -> Tensor:
    """Sinusoids of the distances `steps - 1` down to `-(steps - 1)`.

    Transformer-XL (Dai et al., 2019), in ESPnet's order: sine at even, cosine at odd channels.

    Returns:
        `[1, 2 * steps - 1, width]`, of the device and dtype of `like`.
    """
    distance = torch.arange(steps - 1, -steps, -1, dtype=torch.float32, device=like.device)
    rate = torch.arange(0, width, 2, dtype=torch.float32, device=like.device)
    angle = distance[:, None] * torch.exp(rate * -(math.log(10000.0) / width))
    table = torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)
    return table[None].to(like.dtype)


def block_mask(steps: int, block: int, device: torch.device) -> Tensor:
    """Who sees whom, bool `[steps, steps]`: everything up to the end of one's own block."""
    index = torch.arange(steps, device=device)
    return index < (index[:, None] // block + 1) * block


class _Attention(nn.Module):
    """Multi-head attention with relative positions; names as in the checkpoint."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q = Linear(width, width)
        self.linear_k = Linear(width, width)
        self.linear_v = Linear(width, width)
        self.linear_out = Linear(width, width)
        self.linear_pos = Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(heads, width // heads))
        self.pos_bias_v = nn.Parameter(torch.zeros(heads, width // heads))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        batch, steps, width = x.shape
        q = self._split(self.linear_q(x))
        k = self._split(self.linear_k(x))
        v = self._split(self.linear_v(x))
        p = self._split(self.linear_pos(positions))
        by_distance = (q + self.pos_bias_v[:, None]) @ p.transpose(-2, -1)
        index = torch.arange(steps, device=x.device)
        distance = steps - 1 - index[:, None] + index
        bias = by_distance.gather(-1, distance.expand(batch, self.heads, steps, steps))
        bias = (bias / math.sqrt(width // self.heads)).masked_fill(~mask, -math.inf)
        attended = functional.scaled_dot_product_attention(
            q + self.pos_bias_u[:, None], k, v, attn_mask=bias
        )
        mixed: Tensor = self.linear_out(attended.transpose(1, 2).reshape(batch, steps, width))
        return mixed

    def _split(self, x: Tensor) -> Tensor:
        """`[batch, steps, width]` to `[batch, heads, steps, width / heads]`."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class _FeedForward(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w_1 = Linear(width, inner)
        self.w_2 = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.w_2(functional.silu(self.w_1(x)))
        return out


class _Layer(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self_attn = _Attention(config.width, config.heads)
        self.feed_forward = _FeedForward(config.width, config.feed_forward)
        self.norm_ff = nn.LayerNorm(config.width)
        self.norm_mha = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm_mha(x), positions, mask)
        out: Tensor = x + self.feed_forward(self.norm_ff(x))
        return out


class _Embedding(nn.Module):
    """The input layer; a module of its own only for the names in the checkpoint."""

    def __init__(self, source: int, width: int) -> None:
        super().__init__()
        self.out = nn.Sequential(Linear(source, width), nn.LayerNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(x)
        return out


class BlockEncoder(nn.Module):
    """Codes' embeddings to hidden states.

    Args:
        source: Width of the embeddings.
        config: Sizes.
    """

    def __init__(self, source: int, config: EncoderConfig) -> None:
        super().__init__()
        self.width = config.width
        self.block = config.block
        self.embed = _Embedding(source, config.width)
        self.encoders = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.after_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, steps, source]` to `[batch, steps, width]`.

        Blocks are counted from the first step given.
        """
        steps = x.shape[1]
        x = self.embed(x) * math.sqrt(self.width)
        positions = relative_positions(steps, self.width, x)
        mask = block_mask(steps, self.block, x.device)
        for layer in self.encoders:
            x = layer(x, positions, mask)
        out: Tensor = self.after_norm(x)
        return out
