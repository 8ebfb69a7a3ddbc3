"""The front end: clips to Whisper's log-mel, in windows of 30 s."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import WhisperFeatureExtractor

from codec.checkpoint import CheckpointError, read_json
from errors import InputError
from speech.pcm import Audio

#: The adapter's first convolution needs three frames of sound. (The reference fails there.)
_LEAST_FRAMES = 3


@dataclass(frozen=True, slots=True)
class Mel:
    """Log-mel of the clips of one prompt, padded to the same length.

    Attributes:
        values: float32 `[clips, mels, frames]`; the frames are whole windows.
        valid: Frames of each clip that are sound.
    """

    values: Tensor
    valid: tuple[int, ...]


class Features:
    """Log-mel by transformers' Whisper front end, padded as the reference pads.

    Args:
        path: `preprocessor_config.json`.
        mels: Bins that the encoder takes.
        window: Frames that the encoder takes at once.

    Attributes:
        rate: Sample rate, Hz.
        hop: Samples per frame.
        window: As given.

    Raises:
        CheckpointError: If the file describes another front end.
    """

    def __init__(self, path: Path, mels: int, window: int) -> None:
        try:
            extractor: Any = WhisperFeatureExtractor.from_dict(read_json(path))
            self.rate = int(extractor.sampling_rate)
            self.hop = int(extractor.hop_length)
            frames = int(extractor.n_samples) // self.hop
        except (TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{path} describes no Whisper front end: {error}") from error
        if (extractor.feature_size, frames) != (mels, window):
            raise CheckpointError(
                f"{path} makes {extractor.feature_size} mel bins and {frames} frames a window; the "
                f"encoder takes {mels} and {window}."
            )
        self.window = window
        self._extractor = extractor

    def samples(self, audio: Audio) -> NDArray[np.float32]:
        """A clip at the rate of the model, neither scaled nor normalized.

        Raises:
            InputError: If it is too short.
        """
        samples = audio.resampled(self.rate).samples
        if -(-len(samples) // self.hop) < _LEAST_FRAMES:
            raise InputError("The clip is too short to hear anything in it.")
        return samples

    def __call__(self, clips: Sequence[NDArray[np.float32]]) -> Mel:
        """Log-mel; the floor (8 decades below the maximum) is that of the whole padded clip.

        Args:
            clips: One or more, float32 `[n]` at `rate`.
        """
        unit = self.window * self.hop
        length = -(-max(map(len, clips)) // unit) * unit
        made = self._extractor(
            list(clips),
            sampling_rate=self.rate,
            padding="max_length",
            max_length=length,
            truncation=False,
            return_tensors="pt",
        )
        valid = tuple(-(-len(clip) // self.hop) for clip in clips)
        return Mel(made["input_features"], valid)
