"""The speech tokenizer's network: half a Whisper encoder and a codebook.

GLM-4-Voice's tokenizer (Zeng et al., 2024): convolutions that look only back,
attention that is causal by blocks of four seconds, pooling, and the nearest entry of
a codebook. The parts are Whisper's, from transformers.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoderLayer

from codec.config import TokenizerConfig

#: Stride of the second convolution; both have a kernel of three.
_STRIDE = 2
_KERNEL = 3


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the network makes of some segments.

    Attributes:
        pooled: What enters the codebook, `[segments, codes, width]`.
        codes: int64 `[segments, codes]`; also where a segment was padded.
        states: The entries found, with positions, `[segments, codes, width]`.
    """

    pooled: Tensor
    codes: Tensor
    states: Tensor


@dataclass(slots=True)
class SegmentState:
    """What later blocks of a segment need of the earlier ones.

    Attributes:
        cache: Keys and values of all layers.
        mel: The mel of the blocks so far, `[1, mels, frames]`.
        codes: Their codes.
    """

    cache: DynamicCache = field(default_factory=DynamicCache)
    mel: Tensor | None = None
    codes: list[int] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Mel frames so far."""
        return 0 if self.mel is None else self.mel.shape[2]


class WhisperVQ(nn.Module):
    """Mel to codes; names of modules as in the checkpoint.

    Args:
        config: Sizes.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        whisper = WhisperConfig(
            d_model=width,
            encoder_attention_heads=config.heads,
            encoder_ffn_dim=config.feed_forward,
            attn_implementation="sdpa",
        )
        self.conv1 = nn.Conv1d(config.mels, width, _KERNEL)
        self.conv2 = nn.Conv1d(width, width, _KERNEL, stride=_STRIDE)
        self.embed_positions = nn.Embedding(config.positions, width)
        self.layers = nn.ModuleList(WhisperEncoderLayer(whisper) for _ in range(config.layers))
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, WhisperEncoderLayer)
            layer.self_attn.layer_idx = index  # Its place in a cache.
        self.codebook = nn.Embedding(config.codes, width)
        self.embed_positions2 = nn.Embedding(config.positions // config.pooling, width)
        if config.averages:
            self.register_buffer("ema_count", torch.zeros(config.codes))
            self.register_buffer("ema_weight", torch.zeros(config.codes, width))

    def forget_averages(self) -> None:
        """Free what only training needs."""
        if self.config.averages:
            del self.ema_count, self.ema_weight

    def forward(self, mel: Tensor, mask: Tensor) -> Encoded:
        """Encode whole segments.

        Args:
            mel: `[segments, mels, frames]`; frames are a multiple of twice the pooling.
            mask: Whether a frame is sound and not padding, bool `[segments, frames]`.
        """
        x = self._embed(mel, 0)
        valid = mask[:, ::_STRIDE]
        block, pooling = self.config.block, self.config.pooling
        before = len(self.layers) - self.config.pooled_layers
        x = self._through(x, slice(0, before), _mask(valid, block))
        x = self._pool(x)
        x = self._through(x, slice(before, None), _mask(valid[:, ::pooling], block // pooling))
        codes = self.quantize(x)
        return Encoded(x, codes, self._states(codes))

    def extend(self, state: SegmentState, mel: Tensor, mask: Tensor) -> list[int]:
        """Encode one more block of a segment.

        Every step of a block sees the whole block and all before it, so one pass with
        the keys and values of the blocks before gives what encoding the whole would.

        Args:
            state: The segment so far; is extended.
            mel: The mel of the whole segment up to the end of this block, `[1, mels, frames]`.
                Its beginning is what it was for the blocks before.
            mask: bool `[1, frames of this block]`.

        Returns:
            The block's codes, padding included.
        """
        done = state.frames
        x = self._embed(mel, done // _STRIDE)
        valid = mask[:, ::_STRIDE]
        before = len(self.layers) - self.config.pooled_layers
        pooling = self.config.pooling
        x = self._cached(x, slice(0, before), valid, done // _STRIDE, state.cache)
        x = self._pool(x)
        x = self._cached(
            x, slice(before, None), valid[:, ::pooling], done // _STRIDE // pooling, state.cache
        )
        codes: list[int] = self.quantize(x)[0].tolist()
        state.mel = mel
        state.codes += codes
        return codes

    def quantize(self, x: Tensor) -> Tensor:
        """The nearest entry of the codebook, `[..., width]` to int64 `[...]`."""
        entries = self.codebook.weight
        flat = x.reshape(-1, x.shape[-1])
        distance = torch.addmm(
            (entries**2).sum(1) + (flat**2).sum(1, keepdim=True), flat, entries.t(), alpha=-2.0
        )
        return distance.argmin(dim=1).view(x.shape[:-1])

    def _states(self, codes: Tensor) -> Tensor:
        positions = self.embed_positions2.weight[: codes.shape[1]]
        entries: Tensor = self.codebook(codes)
        return entries + positions

    def _embed(self, mel: Tensor, start: int) -> Tensor:
        """Convolutions and positions, from step `start` of the segment on."""
        back = _KERNEL - 1
        if start:
            # The second convolution looks two of the first's steps back, as does that.
            x = functional.gelu(self.conv1(mel[:, :, _STRIDE * start - 2 * back :]))
        else:
            x = functional.gelu(self.conv1(functional.pad(mel, (back, 0))))
            x = functional.pad(x, (back, 0))
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        return x + self.embed_positions.weight[start : start + x.shape[1]]

    def _through(self, x: Tensor, layers: slice, mask: Tensor) -> Tensor:
        for layer in self.layers[layers]:
            x = layer(x, attention_mask=mask)
        return x

    def _cached(
        self, x: Tensor, layers: slice, valid: Tensor, done: int, cache: DynamicCache
    ) -> Tensor:
        past = torch.ones(1, done, dtype=torch.bool, device=x.device)
        mask = torch.cat((past, valid), dim=1)[:, None, None].expand(-1, 1, x.shape[1], -1)
        for layer in self.layers[layers]:
            x = layer(x, attention_mask=mask, past_key_values=cache)
        return x

    def _pool(self, x: Tensor) -> Tensor:
        return functional.avg_pool1d(x.transpose(1, 2), self.config.pooling).transpose(1, 2)


def _mask(valid: Tensor, block: int) -> Tensor:
    """Who may see whom, bool `[segments, 1, steps, steps]`."""
    index = torch.arange(valid.shape[1], device=valid.device)
    seen = index < (index[:, None] // block + 1) * block
    return seen[None, None] & valid[:, None, None]
