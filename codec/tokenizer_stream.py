"""Encoding speech while somebody still speaks."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.features import Features, Samples, first_channel
from codec.resampling import Resampler
from codec.whisper_vq import SegmentState, WhisperVQ
from errors import InputError

#: How far a frame of mel may move before what was made from it is made again. Whisper's
#: front end lifts quiet frames to 80 dB below the loudest frame of the segment, so that a
#: louder sound can change what came before it.
_MOVED = 1e-5


class TokenizerStream:
    """Codes of one utterance; made by `SpeechTokenizer.open`.

    Codes are given out for finished blocks of four seconds, because within a block
    each depends on all of it; the rest comes with `finish`. They are those of
    `SpeechTokenizer.encode` for the same clip, with one exception that no stream can
    avoid: the front end lifts whatever is more than 80 dB below the loudest sound of the
    segment, and that may be still to come. Then the quietest parts of a block given out,
    silence above all, change a little, and now and then a code of them does. So `codes`
    always has what `encode` gives for all blocks so far, also at the end, and `revised`
    counts what was given out otherwise.

    Args:
        network: In evaluation mode.
        features: Its front end.
        rate: Sample rate of what is pushed, Hz.
    """

    def __init__(self, network: WhisperVQ, features: Features, rate: int) -> None:
        self._network = network
        self._features = features
        self._resampler = Resampler(rate, features.rate)
        self._buffer = np.zeros(features.segment, np.float32)
        self._filled = 0
        self._state = SegmentState()
        self._earlier: list[int] = []
        self._given: list[int] = []
        self._over = False

    @property
    def codes(self) -> list[int]:
        """All codes so far, as `encode` would give them."""
        return self._earlier + self._state.codes

    @property
    def revised(self) -> int:
        """How many of the codes given out are others in `codes` by now."""
        return sum(old != new for old, new in zip(self._given, self.codes, strict=True))

    @torch.inference_mode()
    def push(self, samples: Samples) -> list[int]:
        """Take samples, give the codes of the blocks they finish.

        Args:
            samples: `[n]` or `[n, channels]`, one or more; of several channels the first is
                taken.

        Raises:
            InputError: If there are none, some are not finite, or the stream is over; what
                came before stays as it is.
        """
        if self._over:
            raise InputError("This stream is over. Open another one for the next utterance.")
        signal = first_channel(samples)
        if not len(signal):
            raise InputError("Nothing was pushed. Push samples, and finish() at the end.")
        codes = self._take(self._resampler.push(signal))
        self._given += codes
        return codes

    @torch.inference_mode()
    def finish(self) -> list[int]:
        """The codes of what is left; the stream is over then.

        Raises:
            InputError: If it was over before.
        """
        if self._over:
            raise InputError("This stream is over. Open another one for the next utterance.")
        codes = self._take(self._resampler.finish())
        self._over = True
        if self._filled > self._state.frames * self._features.hop:
            codes += self._encode(self._filled)
        self._given += codes
        return codes

    def _take(self, signal: NDArray[np.float32]) -> list[int]:
        """Encode the blocks that `signal`, at the network's rate, finishes."""
        codes: list[int] = []
        block, segment = self._features.block, self._features.segment
        while True:
            taken = signal[: segment - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            signal = signal[len(taken) :]
            whole = self._filled == segment
            end = segment if whole else self._filled // block * block
            if end > self._state.frames * self._features.hop:
                codes += self._encode(end)
            if not whole or not len(signal):
                return codes
            # Only with more to come: a clip of exactly a segment is one segment.
            self._earlier += self._state.codes
            self._filled = 0
            self._state = SegmentState()

    def _encode(self, end: int) -> list[int]:
        """Encode the segment from where it is encoded up to `end`, samples."""
        mel, mask = self._mel(end)
        done = len(self._state.codes)
        if self._moved(mel):
            self._state = SegmentState()
        frames_per_block = self._features.block // self._features.hop
        while self._state.frames < mel.shape[2]:
            first = self._state.frames
            last = min(first + frames_per_block, mel.shape[2])
            self._network.extend(self._state, mel[:, :, :last], mask[:, first:last])
        return self._state.codes[done:]

    def _mel(self, end: int) -> tuple[Tensor, Tensor]:
        """Mel and mask up to `end`, computed from all samples there are."""
        features = self._features
        # A clip's later segments are padded to full length, which shows at their end.
        length = features.segment if self._earlier else features.padded(self._filled)
        mel, mask = features([self._buffer[: self._filled]], length)
        frames = features.padded(end) // features.hop
        weight = self._network.conv1.weight
        return mel[:, :, :frames].to(weight), mask[:, :frames].to(weight.device)

    def _moved(self, mel: Tensor) -> bool:
        """Whether the mel of what is encoded is another one by now."""
        old = self._state.mel
        if old is None:
            return False
        # The last frame of all looks past the samples there were.
        frames = old.shape[2] - 1
        return bool((old[:, :, :frames] - mel[:, :, :frames]).abs().max() > _MOVED)
