"""InternViT as transformers has it, and the projector that turns what it sees into rows."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import InternVLVisionConfig, InternVLVisionModel

from engines.native.snapshot import Rows
from engines.vita.config import VisionConfig

#: How the names of its tensors begin in a snapshot.
PREFIX = "model.vision_tower.vision_tower."
PROJECTOR = "model.mm_projector."

#: The published code multiplies features by the factor that it shrinks the grid with.
_SCALE = 0.5


class Vision(nn.Module):
    """The image encoder with its projector; it holds nothing of a request.

    Args:
        config: Sizes.
        hidden: Width H of the language model.
    """

    def __init__(self, config: VisionConfig, hidden: int) -> None:
        super().__init__()
        self.config = config
        self.tower = InternVLVisionModel(_native(config))
        self.first = nn.Linear(4 * config.width, hidden)
        self.second = nn.Linear(hidden, hidden)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.first.weight.device

    def forward(self, tiles: Tensor) -> Tensor:
        """Rows of the language model's input.

        Args:
            tiles: [tiles, 3, size, size] float32, normalised.

        Returns:
            [tiles, tokens, H].
        """
        seen = self.tower(tiles.to(self.device)).last_hidden_state
        merged = merge(seen[:, 1:] * _SCALE, self.config.side)
        made: Tensor = self.second(functional.gelu(self.first(merged)))
        return made

    def names(self) -> dict[str, str | Rows]:
        """Name in a snapshot of each name here; queries, keys and values are one tensor there."""
        return {name: _in_snapshot(name, self.config.width) for name in self.state_dict()}


def merge(rows: Tensor, side: int) -> Tensor:
    """Put the rows of each 2 x 2 patches beside each other.

    Args:
        rows: [tiles, side * side, width].
        side: Patches of a tile, each way.

    Returns:
        [tiles, side * side / 4, 4 * width].
    """
    half, width = side // 2, rows.shape[-1]
    blocks = rows.reshape(-1, half, 2, half, 2, width).transpose(2, 3)
    return blocks.reshape(-1, half * half, 4 * width)


def _native(config: VisionConfig) -> Any:
    native: Any = InternVLVisionConfig(
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        attention_bias=config.bias,
        use_qk_norm=False,
        intermediate_size=config.inner,
        hidden_act="gelu",
        norm_type="layer_norm",
        layer_norm_eps=config.eps,
        image_size=config.size,
        patch_size=config.patch,
        # Whether there is a norm after the last layer, which this model has not.
        use_mean_pooling=True,
    )
    native._attn_implementation = "sdpa"
    return native


#: Parts of names in transformers, and how a snapshot has them.
_PARTS = (
    ("embeddings.cls_token", "embeddings.class_embedding"),
    ("embeddings.position_embeddings", "embeddings.position_embedding"),
    ("embeddings.patch_embeddings.projection.", "embeddings.patch_embedding."),
    ("encoder.layer.", "encoder.layers."),
    (".attention.projection_layer.", ".attn.proj."),
    (".layernorm_before.", ".norm1."),
    (".layernorm_after.", ".norm2."),
    (".lambda_", ".ls"),
)


def _in_snapshot(name: str, width: int) -> str | Rows:
    for own, stored in (("first.", f"{PROJECTOR}0."), ("second.", f"{PROJECTOR}2.")):
        if name.startswith(own):
            return stored + name.removeprefix(own)
    name = name.removeprefix("tower.")
    for own, stored in _PARTS:
        name = name.replace(own, stored)
    for number, part in enumerate("qkv"):
        if f".attention.{part}_proj." in name:
            fused = name.replace(f".attention.{part}_proj.", ".attn.qkv.")
            return Rows(PREFIX + fused, number * width, 3 * width)
    return PREFIX + name
