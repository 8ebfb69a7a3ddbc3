"""The tokenizer's front end: samples of any kind to Whisper's log-mel."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import WhisperFeatureExtractor

from codec.checkpoint import CheckpointError, read_json
from codec.config import TokenizerConfig
from errors import InputError

Samples = NDArray[Any]
"""A signal, `[n]` or `[n, channels]`: floating, or whole numbers at full scale."""

#: Mel frames per step of the network.
_STRIDE = 2


class Features:
    """Log-mel of segments, by transformers' Whisper front end.

    Args:
        path: `preprocessor_config.json`.
        config: Of the network that takes them.

    Attributes:
        rate: Sample rate, Hz.
        segment: Longest segment, samples.
        hop: Samples per frame.
        code: Samples per code.
        block: Samples per block of codes that see each other whole.
    """

    def __init__(self, path: Path, config: TokenizerConfig) -> None:
        try:
            extractor: Any = WhisperFeatureExtractor.from_dict(read_json(path))
            self.rate = int(extractor.sampling_rate)
            self.hop = int(extractor.hop_length)
            self.segment = int(extractor.n_samples)
        except (TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{path} describes no Whisper front end: {error}") from error
        steps = self.segment // self.hop // _STRIDE
        if extractor.feature_size != config.mels or steps > config.positions:
            raise CheckpointError(
                f"{path} makes {extractor.feature_size} mel bins and {steps} steps a segment; the "
                f"network takes {config.mels} and at most {config.positions}."
            )
        self._extractor = extractor
        self.code = self.hop * _STRIDE * config.pooling
        self.block = self.hop * _STRIDE * config.block

    def padded(self, samples: int) -> int:
        """A length in samples, rounded up to whole codes."""
        return -(-samples // self.code) * self.code

    def __call__(self, segments: list[NDArray[np.float32]], length: int) -> tuple[Tensor, Tensor]:
        """Log-mel.

        Args:
            segments: float32 `[n]` each, at `rate`, at most `length` long.
            length: Samples to pad to, whole codes.

        Returns:
            float32 `[segments, mels, frames]`, and which of the frames are sound and not
            padding, bool `[segments, frames]`.
        """
        made = self._extractor(
            segments,
            sampling_rate=self.rate,
            padding="max_length",
            max_length=length,
            truncation=False,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return made["input_features"], made["attention_mask"].bool()


def first_channel(samples: Samples) -> NDArray[np.float32]:
    """The first channel, float32 `[n]` in [-1, 1].

    Raises:
        InputError: If it is no signal, or some samples are not finite.
    """
    match samples.shape:
        case [_]:
            channel = samples
        case [_, channels] if channels:
            channel = samples[:, 0]
        case _:
            raise InputError(f"A clip is [n] or [n, channels], not {list(samples.shape)}.")
    if np.issubdtype(channel.dtype, np.signedinteger):
        return channel.astype(np.float32) / np.float32(-float(np.iinfo(channel.dtype).min))
    if not np.issubdtype(channel.dtype, np.floating):
        raise InputError(f"Samples are floating or signed whole numbers, not {channel.dtype}.")
    if not np.isfinite(channel).all():
        raise InputError("The clip holds samples that are not finite.")
    return np.ascontiguousarray(channel, dtype=np.float32)
