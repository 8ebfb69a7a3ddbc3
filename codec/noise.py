"""Random numbers that belong to a moment of a reply, not to a call."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: Frames drawn together; an implementation detail that fixes the numbers.
_BLOCK = 64
#: Added to block numbers, so that frames before the reply (a voice's prompt) have some too.
_ORIGIN = 1 << 40


@dataclass(frozen=True, slots=True)
class FrameNoise:
    """Standard normal noise for every frame of a reply.

    The noise of a frame is a function of seed, purpose and frame index, so that
    renderings of overlapping stretches agree. The generator (Philox) is counter-based
    and private: no other random numbers of the process are touched, and the numbers
    are the same on every device.

    Attributes:
        seed: Of the reply.
        purpose: Tells apart the independent noises of one reply.
        width: Numbers per frame.
    """

    seed: int
    purpose: int
    width: int

    def at(self, first: int, last: int) -> Tensor:
        """The noise of frames `first` to `last - 1`, float32 `[frames, width]` on the CPU."""
        start = first // _BLOCK
        blocks = [self._block(index) for index in range(start, -(-last // _BLOCK))]
        if not blocks:
            return torch.zeros(0, self.width)
        offset = start * _BLOCK
        return torch.from_numpy(np.concatenate(blocks)[first - offset : last - offset].copy())

    def uniform(self) -> Tensor:
        """Numbers that belong to the reply as a whole, uniform in [0, 1), float32 `[width]`."""
        bits = np.random.Philox(key=[self.seed % 2**64, self.purpose])
        return torch.from_numpy(np.random.Generator(bits).random(self.width, np.float32))

    def _block(self, index: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        # The last word of the counter is the block; the first is left to the draws in it.
        bits = np.random.Philox(
            key=[self.seed % 2**64, self.purpose], counter=[0, 0, 0, index + _ORIGIN]
        )
        return np.random.Generator(bits).standard_normal((_BLOCK, self.width), np.float32)
