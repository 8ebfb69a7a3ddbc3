"""OpenS2S with random weights, from tiny to the published size."""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig

from engines.opens2s.config import Config, Strategy
from engines.opens2s.model import OpenS2S

#: Width, layers, heads, key-value heads, width between, vocabulary: of Qwen3, then of the speech
#: model. The published speech model's are deduced from the size of the snapshot (22.1 GB).
SIZES = {
    "tiny": ((64, 2, 4, 2, 128, 500), (64, 2, 4, 2, 128, 600)),
    "small": ((512, 8, 8, 2, 1536, 8_000), (256, 4, 4, 2, 768, 17_000)),
    "mid": ((1024, 16, 16, 8, 3072, 32_000), (512, 8, 8, 4, 1536, 17_000)),
    "full": ((4096, 36, 32, 8, 12_288, 151_673), (2048, 28, 16, 8, 6144, 168_000)),
}
#: Width, layers and heads of the audio encoder.
ENCODERS = {"tiny": (64, 2, 2), "small": (384, 4, 6), "mid": (768, 12, 12), "full": (1280, 32, 20)}


def random_model(
    size: str, strategy: str, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> OpenS2S:
    """A model whose weights are small and random; time does not depend on values.

    Args:
        size: Of `SIZES`.
        strategy: Text tokens and units of a round, "1:2".
        device: Where it goes.
        dtype: Of the weights.
    """
    llm, speech = (_qwen3(*numbers) for numbers in SIZES[size])
    width, layers, heads = ENCODERS[size]
    audio = AutoConfig.for_model(
        "qwen2_audio_encoder",
        d_model=width,
        encoder_layers=layers,
        encoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
    )
    for config in (llm, speech, audio):
        config._attn_implementation = "sdpa"
    config = Config(audio, llm, speech, (5, 5), 512, Strategy.parse(strategy))
    with torch.device("meta"):
        model = OpenS2S(config)
    model.to_empty(device=device).to(dtype)
    generator = torch.Generator(device).manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.02, generator=generator)
        else:
            nn.init.ones_(parameter)
    model.settle()
    return model


def _qwen3(
    width: int, layers: int, heads: int, key_values: int, between: int, vocabulary: int
) -> Any:
    return AutoConfig.for_model(
        "qwen3",
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_values,
        intermediate_size=between,
        head_dim=128 if width > 1024 else 64,
        vocab_size=vocabulary,
        tie_word_embeddings=False,
    )
