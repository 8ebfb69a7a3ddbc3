"""Decoding a codec's frames as they come, without a seam.

The decoder is a stack of convolutions, so a sample depends on a known number of frames on either
side, its reach. A block is decoded once that many frames after it are there, with as many before
it; what is cut off at both ends is all that the window's edges could have changed. So the blocks
join to what decoding everything at once gives, but for rounding.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.higgs.delay import Codes

#: Frames per block: few at first, for an early first sound, then more, so that the context that
#: is decoded along costs less: with a reach of 10, 1.6 frames for one of speech. None is more than
#: half as long again as the one before: while that one plays, a model that makes speech half as
#: fast again as it is heard has the next one ready.
BLOCKS = (3, 4, 6, 8, 12, 16, 24, 32)


@dataclass(frozen=True, slots=True)
class Reach:
    """How many frames beside its own a sample depends on."""

    before: int
    after: int


def reach(strides: Sequence[int], dilations: Sequence[int] = (1, 3, 9), kernel: int = 7) -> Reach:
    """The reach of a DAC decoder (Kumar et al., 2023), from its layers.

    Args:
        strides: Of the upsampling blocks, in order. Each is a transposed convolution with a
            kernel of two strides, and residual units.
        dilations: Of the residual units of a block.
        kernel: Of the residual units, and of the first and the last convolution.
    """
    side = (kernel - 1) // 2
    # The samples of frame 0, and then what each layer needs for them, last layer first.
    first, last = -side, math.prod(strides) - 1 + side
    for stride in reversed(strides):
        units = side * sum(dilations)
        padding = math.ceil(stride / 2)
        first = math.ceil((first - units + padding - 2 * stride + 1) / stride)
        last = (last + units + padding) // stride
    return Reach(side - first, last + side)


class DecoderStream:
    """The decoder for one utterance; dropping it frees all there is.

    Args:
        decode: Turns frames, int64 `[n, K]`, into float32 `[n * hop]`.
        hop: Samples per frame.
        context: The decoder's reach.
        blocks: Frames per block; the last number holds for all that follow.
    """

    def __init__(
        self,
        decode: Callable[[Codes], NDArray[np.float32]],
        hop: int,
        context: Reach,
        blocks: Sequence[int] = BLOCKS,
    ) -> None:
        self._decode = decode
        self._hop = hop
        self._context = context
        self._blocks = list(blocks)
        #: What is not decoded yet, and before it as much as reaches into that.
        self._frames: list[NDArray[np.int64]] = []
        self._before = 0

    def push(self, frame: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Take a frame, int64 `[K]`; float32 `[n]` of speech once a block is settled."""
        self._frames.append(frame)
        settled = len(self._frames) - self._before - self._context.after
        return self._block(self._blocks[0]) if settled >= self._blocks[0] else None

    def finish(self) -> Iterator[NDArray[np.float32]]:
        """The rest, as nothing follows; a block at a time."""
        while (left := len(self._frames) - self._before) > 0:
            yield self._block(min(left, self._blocks[-1]))

    def _block(self, size: int) -> NDArray[np.float32]:
        end = self._before + size
        window = np.stack(self._frames[: end + self._context.after])
        samples = self._decode(window)[self._before * self._hop : end * self._hop]
        kept = min(end, self._context.before)
        del self._frames[: end - kept]
        self._before = kept
        if len(self._blocks) > 1:
            del self._blocks[0]
        return samples
