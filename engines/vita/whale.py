"""Whale, VITA's audio encoder: convolutions, a transformer, and an adapter to the language model.

Positions are not added to the rows. Attention is given the sinusoid of each key's place beside the
key (Dai et al., 2019, "Transformer-XL", without the relative shift): score(i, j) =
((q_i + u) k_j + (q_i + v) W p_j) / sqrt(d).
"""

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from codec.checkpoint import CheckpointError
from engines.vita.fbank import MELS
from errors import InputError

#: How the names of its tensors begin in a snapshot.
PREFIX = "model.audio_encoder."

#: Places that there are positions for, 40 ms each: 200 s.
PLACES = 5000

#: Frames of 10 ms that a row stands for: two convolutions of stride 2, and the adapter's.
FRAMES_PER_ROW = 8

_KERNEL = 3
_ADAPTER_EPS = 1e-3


@dataclass(frozen=True, slots=True)
class WhaleConfig:
    """Sizes of the encoder.

    Attributes:
        width: Of its rows, D.
        heads: Of attention.
        inner: Of the feed-forward part.
        layers: Of the transformer.
        kernel: Of the adapter's convolution.
        output: Width of the language model, H.
    """

    width: int = 1024
    heads: int = 16
    inner: int = 4096
    layers: int = 24
    kernel: int = 5
    output: int = 3584

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]], folder: Path) -> "WhaleConfig":
        """The sizes of an encoder, from those of its tensors.

        Args:
            shapes: Of the tensors of a snapshot, by name.
            folder: Of the snapshot, for errors.

        Raises:
            CheckpointError: If it holds no such encoder.
        """
        layer = f"{PREFIX}encoder.enc.1.encoders."
        names = {
            "heads": (f"{layer}0.self_attn.pos_bias_u", 2),
            "inner": (f"{layer}0.feed_forward.w_1.weight", 2),
            "adapter": (f"{PREFIX}adpter.conv1d2.weight", 3),
            "output": (f"{PREFIX}adpter.project.weight", 2),
        }
        for name, dimensions in names.values():
            if len(shapes.get(name, ())) != dimensions:
                raise CheckpointError(
                    f"{folder} has no tensor {name} of {dimensions} dimensions: it holds no Whale."
                )
        inner, width = shapes[names["inner"][0]]
        return cls(
            width=width,
            heads=shapes[names["heads"][0]][0],
            inner=inner,
            layers=len({n.split(".")[6] for n in shapes if n.startswith(layer)}),
            kernel=shapes[names["adapter"][0]][2],
            output=shapes[names["output"][0]][0],
        )


@dataclass(frozen=True, slots=True)
class Blocks:
    """How far attention sees.

    Attributes:
        size: Rows of a block; a row sees its own block whole. 0: it sees everything.
        left: Blocks before its own that a row sees; -1: all of them.
    """

    size: int = 0
    left: int = -1

    def mask(self, rows: int, device: torch.device) -> Tensor | None:
        """[rows, rows] bool, what sees what; None where all sees all."""
        if self.size <= 0:
            return None
        block = torch.arange(rows, device=device) // self.size
        mask = block[None] <= block[:, None]
        if self.left >= 0:
            mask &= block[None] >= block[:, None] - self.left
        return mask


class Whale(nn.Module):
    """The encoder with its adapter; it holds nothing of a request.

    Args:
        config: Sizes.
        blocks: How far attention sees.
    """

    def __init__(self, config: WhaleConfig, blocks: Blocks = Blocks()) -> None:
        super().__init__()
        self.config = config
        self.blocks = blocks
        self.mean: Tensor
        self.istd: Tensor
        self.register_buffer("mean", torch.zeros(MELS))
        self.register_buffer("istd", torch.ones(MELS))
        self.subsampling = Subsampling(config.width)
        self.embed = nn.Linear(config.width, config.width)
        self.embed_norm = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.adapter = Adapter(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.norm.weight.device

    def forward(self, frames: Tensor) -> Tensor:
        """All of `encode` at once."""
        steps = self.encode(frames)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                made: Tensor = end.value
                return made

    def encode(self, frames: Tensor) -> Generator[None, None, Tensor]:
        """Rows of the language model's input for a clip.

        Args:
            frames: [frames, 80] log-mel energies, not normalised.

        Yields:
            Nothing, once per layer.

        Returns:
            [rows, H], see `rows_of`.

        Raises:
            InputError: If the clip is longer than there are positions.
        """
        normalised = (frames.to(self.device) - self.mean) * self.istd
        rows = self.subsampling(normalised)
        if len(rows) > PLACES:
            raise InputError(
                f"The clip is {len(frames) / 100:.0f} s long; this model hears "
                f"{PLACES * 4 // 100} s at once. Say less at a time."
            )
        rows = functional.relu(self.embed_norm(self.embed(rows))) * math.sqrt(self.config.width)
        places = sinusoid(len(rows), self.config.width).to(rows)
        mask = self.blocks.mask(len(rows), rows.device)
        for layer in self.layers:
            rows = layer(rows, places, mask)
            yield
        made: Tensor = self.adapter(self.norm(rows))
        return made

    def names(self) -> dict[str, str]:
        """Name in a snapshot of each name here."""
        return {name: PREFIX + _in_snapshot(name) for name in self.state_dict()}


class Subsampling(nn.Module):
    """Two convolutions that halve time and bins each.

    Args:
        width: Of the rows.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, _KERNEL, stride=2)
        self.second = nn.Conv2d(width, width, _KERNEL, stride=2)
        self.out = nn.Linear(width * _halved(_halved(MELS)), width)

    def forward(self, frames: Tensor) -> Tensor:
        """[frames, 80] to [about a fourth, width]."""
        maps = functional.relu(self.first(frames[None, None]))
        maps = functional.relu(self.second(maps))
        rows: Tensor = self.out(maps[0].transpose(0, 1).flatten(1))
        return rows


class Layer(nn.Module):
    """A layer of the transformer, normalised before its parts.

    Args:
        config: Sizes.
    """

    def __init__(self, config: WhaleConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.width)
        self.w_1 = nn.Linear(config.width, config.inner)
        self.w_2 = nn.Linear(config.inner, config.width)

    def forward(self, rows: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
        """[rows, width] to the same."""
        rows = rows + self.attention(self.norm1(rows), places, mask)
        inner: Tensor = self.w_2(functional.relu(self.w_1(self.norm2(rows))))
        return rows + inner


class Attention(nn.Module):
    """Attention that is told the place of each key.

    Args:
        config: Sizes.
    """

    def __init__(self, config: WhaleConfig) -> None:
        super().__init__()
        self.heads = config.heads
        size = config.width // config.heads
        self.q, self.k, self.v, self.out = (nn.Linear(config.width, config.width) for _ in range(4))
        self.position = nn.Linear(config.width, config.width, bias=False)
        self.bias_u = nn.Parameter(torch.zeros(config.heads, size))
        self.bias_v = nn.Parameter(torch.zeros(config.heads, size))

    def forward(self, rows: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
        """[rows, width] to the same.

        The sum of the two products is one product of queries and keys twice as wide.
        """
        query, key, value, place = (
            part.unflatten(-1, (self.heads, -1))
            for part in (self.q(rows), self.k(rows), self.v(rows), self.position(places))
        )
        queries = torch.cat((query + self.bias_u, query + self.bias_v), dim=-1)
        keys = torch.cat((key, place), dim=-1)
        seen = functional.scaled_dot_product_attention(
            queries.transpose(0, 1)[None],
            keys.transpose(0, 1)[None],
            value.transpose(0, 1)[None],
            attn_mask=mask,
            scale=value.shape[-1] ** -0.5,
        )
        made: Tensor = self.out(seen[0].transpose(0, 1).flatten(1))
        return made


class Adapter(nn.Module):
    """Halves the rate once more, and turns the encoder's rows into the language model's.

    Args:
        config: Sizes.
    """

    def __init__(self, config: WhaleConfig) -> None:
        super().__init__()
        self.padding = config.kernel - 1
        self.convolution = nn.Conv1d(config.width, 2 * config.width, config.kernel, stride=2)
        self.norm = nn.LayerNorm(2 * config.width, eps=_ADAPTER_EPS)
        self.out = nn.Linear(2 * config.width, config.output)

    def forward(self, rows: Tensor) -> Tensor:
        """[rows, D] to [half of them, H]; what is padded is on the right."""
        padded = functional.pad(rows.T[None], (0, self.padding))
        made: Tensor = self.out(functional.gelu(self.norm(self.convolution(padded)[0].T)))
        return made


def rows_of(frames: int) -> int:
    """Rows that come of so many frames."""
    return (_halved(_halved(frames)) - 1) // 2 + 1


def sinusoid(places: int, width: int) -> Tensor:
    """[places, width] float32: sines in the even columns, cosines in the odd ones."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(places)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def _halved(length: int) -> int:
    """What a convolution of kernel 3 and stride 2 leaves."""
    return (length - _KERNEL) // 2 + 1


#: Parts of names here, and how a snapshot has them.
_PARTS = (
    ("mean", "encoder.global_cmvn.mean"),
    ("istd", "encoder.global_cmvn.istd"),
    ("subsampling.first.", "encoder.enc.0.core.conv.0."),
    ("subsampling.second.", "encoder.enc.0.core.conv.2."),
    ("subsampling.out.", "encoder.enc.0.core.out.0."),
    ("embed.", "encoder.enc.1.embed.0."),
    ("embed_norm.", "encoder.enc.1.embed.1."),
    ("norm.", "encoder.enc.1.after_norm."),
    ("layers.", "encoder.enc.1.encoders."),
    ("adapter.convolution.", "adpter.conv1d2."),
    ("adapter.norm.", "adpter.bn2."),
    ("adapter.out.", "adpter.project."),
)
_IN_LAYERS = (
    (".attention.q.", ".self_attn.linear_q."),
    (".attention.k.", ".self_attn.linear_k."),
    (".attention.v.", ".self_attn.linear_v."),
    (".attention.out.", ".self_attn.linear_out."),
    (".attention.position.", ".self_attn.linear_pos."),
    (".attention.bias_", ".self_attn.pos_bias_"),
    (".w_1.", ".feed_forward.w_1."),
    (".w_2.", ".feed_forward.w_2."),
)


def _in_snapshot(name: str) -> str:
    own, stored = next(pair for pair in _PARTS if name.startswith(pair[0]))
    name = stored + name.removeprefix(own)
    for own, stored in _IN_LAYERS:
        name = name.replace(own, stored)
    return name
