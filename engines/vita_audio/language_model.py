"""The modules of VITA-Audio's language model: Qwen2 and its prediction heads.

The paper (arXiv 2505.03739, "MCTP") calls a head a cross-modal token prediction module. Head k
is one more decoder layer: for each position i it is given the token k + 1 places later and what
the head before made of i, and predicts the token after that one. Decoder layers, norms and rotary
positions are transformers' own; the names of the parameters are those of the checkpoint. The
modules hold weights only: what belongs to a reply is in `decoding`.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.models.qwen2.configuration_qwen2 import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import (
    Qwen2DecoderLayer,
    Qwen2RMSNorm,
    Qwen2RotaryEmbedding,
)

from engines.vita_audio.attention import GROUPED
from engines.vita_audio.config import LanguageConfig


class Caches(Protocol):
    """Keys and values of a reply, as transformers' layers ask for them."""

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Add rows [1, K, rows, D] to a layer's; returns all that it is to attend to."""
        ...


class Backbone(nn.Module):
    """Embedding, decoder layers (those of the heads come last) and the final norm."""

    def __init__(self, config: LanguageConfig, qwen2: Qwen2Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.hidden)
        self.layers = nn.ModuleList(
            Qwen2DecoderLayer(qwen2, index) for index in range(config.layers + config.heads)
        )
        self.norm = Qwen2RMSNorm(config.hidden, eps=config.norm_eps)


class LanguageModel(nn.Module):
    """Qwen2 with prediction heads; H is its width, V its vocabulary.

    Args:
        config: Sizes.
    """

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        qwen2 = _qwen2(config)
        self.model = Backbone(config, qwen2)
        self.lm_head = nn.Linear(config.hidden, config.vocabulary, bias=False)
        self.mtp_projs = nn.ModuleList(
            nn.Linear(2 * config.hidden, config.hidden, bias=False) for _ in range(config.heads)
        )
        self.mtp_embed_norms = _norms(config)
        self.mtp_hidden_norms = _norms(config)
        # Computed, not stored in a checkpoint: made for real even where the rest is on "meta".
        with torch.device("cpu"):
            self.rotary = Qwen2RotaryEmbedding(qwen2)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        weight: Tensor = self.model.norm.weight
        return weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of what runs between the layers."""
        weight: Tensor = self.model.norm.weight
        return weight.dtype

    def embed(self, ids: Tensor) -> Tensor:
        """Rows [1, n, H] of token ids [n]."""
        rows: Tensor = self.model.embed_tokens(ids)
        return rows[None]

    def main(self, rows: Tensor, positions: Tensor, caches: Caches, mask: Tensor | None) -> Tensor:
        """Run the main model.

        Args:
            rows: [1, n, H], embedded tokens.
            positions: [n] int64, where in the conversation they stand.
            caches: Of the reply; the rows are added.
            mask: See `attention.causal_mask`.

        Returns:
            [1, n, H], after the final norm.
        """
        rotary = self._rotate(rows, positions)
        for layer in self.model.layers[: self.config.layers]:
            rows = layer(
                rows, attention_mask=mask, past_key_values=caches, position_embeddings=rotary
            )
        normed: Tensor = self.model.norm(rows)
        return normed

    def head(
        self,
        index: int,
        rows: Tensor,
        hidden: Tensor,
        positions: Tensor,
        caches: Caches,
        mask: Tensor | None,
    ) -> Tensor:
        """Run one prediction head.

        Args:
            index: Which, from 0.
            rows: [1, n, H], the tokens `index + 1` places after those of `hidden`, embedded.
            hidden: [1, n, H], from the main model (head 0) or the head before.
            positions: [n] int64, of the tokens in `rows`.
            caches: Of the reply; the rows are added to this head's layer.
            mask: See `attention.causal_mask`.

        Returns:
            [1, n, H], after the final norm.
        """
        both = torch.cat(
            (self.mtp_embed_norms[index](rows), self.mtp_hidden_norms[index](hidden)), dim=-1
        )
        out = self.model.layers[self.config.layers + index](
            self.mtp_projs[index](both),
            attention_mask=mask,
            past_key_values=caches,
            position_embeddings=self._rotate(rows, positions),
        )
        normed: Tensor = self.model.norm(out)
        return normed

    def logits(self, hidden: Tensor, ids: slice | None = None) -> Tensor:
        """Scores of the next token, from what `main` or `head` returned.

        Args:
            hidden: [..., H].
            ids: Only of these, where weights are not rounded; None: of all V.

        Returns:
            [..., ids].
        """
        if ids is not None:
            return linear(hidden, self.lm_head.weight[ids])
        scores: Tensor = self.lm_head(hidden)
        return scores

    def _rotate(self, rows: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        cosine, sine = self.rotary(rows, positions[None])
        return cosine, sine


def _norms(config: LanguageConfig) -> nn.ModuleList:
    return nn.ModuleList(
        Qwen2RMSNorm(config.hidden, eps=config.norm_eps) for _ in range(config.heads)
    )


def _qwen2(config: LanguageConfig) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=config.vocabulary,
        hidden_size=config.hidden,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers + config.heads,
        num_attention_heads=config.attention_heads,
        num_key_value_heads=config.key_value_heads,
        max_position_embeddings=config.window,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        attn_implementation=GROUPED,
    )
