"""Attention with few key heads, without copying them out to one for each query head.

Qwen2 has 7 query heads to a key head. The queries of one key head stand side by side as rows of
one attention instead, so keys and values are read where they lie. Registered with transformers
as the implementation `GROUPED`, for its own attention modules.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

#: Name under which transformers' attention modules find it.
GROUPED = "parley_grouped"


def causal_mask(past: int, rows: int, device: torch.device) -> Tensor | None:
    """Which keys each of the newest rows may attend to: itself and all before it.

    Args:
        past: Keys that were there before.
        rows: New rows.
        device: Where.

    Returns:
        [rows, past + rows] bool, or None where none is needed: one row sees everything, and
        rows without a past are causal as they stand.
    """
    if rows == 1 or past == 0:
        return None
    keys = torch.arange(past + rows, device=device)
    return keys <= (past + torch.arange(rows, device=device))[:, None]


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_unused: Any,
) -> tuple[Tensor, None]:
    """Causal attention of the newest rows.

    Args:
        module: Unused; transformers passes it.
        query: [1, Q, rows, D].
        key: [1, K, keys, D], K a divisor of Q.
        value: Like `key`.
        attention_mask: [rows, keys] bool, from `causal_mask`.
        scaling: Of the products.

    Returns:
        [1, rows, Q, D], and no weights.
    """
    _, heads, rows, size = query.shape
    groups = heads // key.shape[1]
    if attention_mask is None and rows > 1:
        out = scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=groups > 1
        )
        return out.transpose(1, 2), None
    stacked = query.reshape(1, key.shape[1], groups * rows, size)
    mask = None if attention_mask is None else attention_mask.repeat(groups, 1)
    out = scaled_dot_product_attention(stacked, key, value, attn_mask=mask, scale=scaling)
    return out.view(1, heads, rows, size).transpose(1, 2), None


AttentionInterface.register(GROUPED, grouped_attention)
