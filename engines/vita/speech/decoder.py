"""The network that writes codes: rows of text in, one code after the other out.

Freeze-Omni's speech decoder (Wang et al., 2024): a few Llama layers in which the text looks
both ways, then a stack that reads the text as one prompt, both ways too, and writes codes.
Module names are those of the checkpoint.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, LlamaConfig
from transformers.models.llama.modeling_llama import (
    LlamaDecoderLayer,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
)

from codec.checkpoint import fill
from engines.vita.speech.checkpoint import read_training, weights
from engines.vita.speech.config import DecoderConfig, read_decoder_config

#: Freeze-Omni's trained prefixes, in the same file; its own server never uses them.
_UNUSED = ("layers_prefix.", "norm_prefix.", "prefix_embedding.")


@dataclass(slots=True)
class Reading:
    """How far one unit has been read: keys and values; dropping it frees them."""

    cache: DynamicCache = field(default_factory=DynamicCache)

    @property
    def rows(self) -> int:
        """Rows read so far."""
        return int(self.cache.get_seq_length())


class TokenDecoder(nn.Module):
    """The weights; nothing of a request.

    Args:
        config: Sizes.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        llama = LlamaConfig(
            hidden_size=config.width,
            intermediate_size=config.inner,
            num_hidden_layers=config.blocks,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            attention_bias=False,
        )
        llama._attn_implementation = "sdpa"
        self.embedding = nn.Embedding(config.rows, config.width)
        self.layers_pre_nn = nn.ModuleList(
            LlamaDecoderLayer(llama, number) for number in range(config.blocks // 2)
        )
        self.layers = nn.ModuleList(
            LlamaDecoderLayer(llama, number) for number in range(config.blocks)
        )
        self.norm = LlamaRMSNorm(config.width, eps=1e-6)
        self.out_fnn = nn.Linear(config.width, config.rows)
        # It is computed, not loaded: it has to be real where the others still are without values.
        with torch.device("cpu"):
            self.rotary = LlamaRotaryEmbedding(llama)

    @staticmethod
    def load(
        folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> "TokenDecoder":
        """Load `model.json` and `final.pt`.

        Args:
            folder: `decoder` of the snapshot.
            device: Where to.
            dtype: Of the weights.

        Raises:
            CheckpointError: If a file is absent, damaged, or not the one it should be; says
                which and, where it is about a tensor, which tensor.
        """
        config = read_decoder_config(folder)
        path = folder / "final.pt"
        values = read_training(path)
        tensors = weights(path, values if "model" in values else {"model": values}, "model")
        tensors = {
            # A copy even where nothing changes, so that the file does not stay open.
            name: tensor.to(device=device, dtype=dtype, copy=True)
            if tensor.is_floating_point()
            else tensor
            for name, tensor in tensors.items()
            if not name.startswith(_UNUSED)
        }
        with torch.device("meta"):
            decoder = TokenDecoder(config)
        fill(decoder, tensors, path, folder / "model.json")
        return decoder.to(device).requires_grad_(False).eval()

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.weight.device

    def prepare(self, rows: Tensor) -> Tensor:
        """Let the rows of a text look at each other, `[n, width]` to the same."""
        return self._through(self.layers_pre_nn, rows[None], 0, None)[0]

    def read(self, text: Tensor, reading: Reading) -> None:
        """Read the text of one unit.

        Args:
            text: `[n, width]`, prepared.
            reading: Empty; moves on.
        """
        self._through(
            self.layers, torch.cat([self._row(self.config.begin), text])[None], 0, reading
        )

    def step(self, token: int, reading: Reading) -> Tensor:
        """Read one code, or the start, and say what comes next.

        Returns:
            float32 logits, `[rows]`.
        """
        states = self._through(self.layers, self._row(token)[None], reading.rows, reading)
        logits: Tensor = self.out_fnn(self.norm(states[0, -1]))
        return logits.float()

    def _row(self, token: int) -> Tensor:
        return self.embedding.weight[token : token + 1]

    def _through(
        self, layers: nn.ModuleList, states: Tensor, first: int, reading: Reading | None
    ) -> Tensor:
        """Run rows `[1, n, width]` through a stack; each sees every row that was ever read."""
        positions = torch.arange(first, first + states.shape[1], device=states.device)[None]
        turned: Any = self.rotary(states, positions)
        for layer in layers:
            # Without this, transformers would hide from each row those after it. The reference
            # hides none, and was trained so.
            states = layer(
                states,
                position_embeddings=turned,
                past_key_values=reading.cache if reading else None,
                is_causal=False,
            )
        return states
