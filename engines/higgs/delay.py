"""The delay pattern: codebook k of frame t is generated at step t + k.

A step gives one column, a code for each of K codebooks. Frame t lies on a diagonal: its code of
codebook k is in column t + k, so it is complete K - 1 columns after it began (Copet et al.,
2023, "Simple and Controllable Music Generation", figure 1). The stream begins with a frame of
`begin` codes and ends with one of `end` codes; in the columns, they form two ramps:

    codebook 0:  B  a  b  c  E  E  E
    codebook 1:  B  B  a  b  c  E  E
    codebook 2:  B  B  B  a  b  c  E
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
"""Int64 `[n, K]`: frames or columns, codebooks."""


@dataclass(frozen=True, slots=True)
class Codebooks:
    """The codes of a model.

    Attributes:
        count: Codebooks K.
        begin: Code that fills the place before the first frame; every code from here on is
            special and means nothing to the codec.
        end: Code that fills the place after the last frame.
    """

    count: int
    begin: int
    end: int

    @property
    def size(self) -> int:
        """Codes of one codebook that stand for sound."""
        return min(self.begin, self.end)


def delayed(frames: Codes, codebooks: Codebooks) -> Codes:
    """Frames as the language model reads them.

    Args:
        frames: Int64 `[n, K]`.
        codebooks: Of the model.

    Returns:
        Columns, int64 `[n + K + 1, K]`: a frame on either side, and the delay.
    """
    steps = len(frames) + codebooks.count + 1
    columns = np.full((steps, codebooks.count), codebooks.end, np.int64)
    for book in range(codebooks.count):
        first = book + 1
        columns[:first, book] = codebooks.begin
        columns[first : first + len(frames), book] = frames[:, book]
    return columns


class Undelay:
    """Puts frames together again as their last codes arrive.

    A frame is given once, with the column that completes it, and only if it is sound: one with a
    special code in it (the frames of both ramps, or one that the model garbled) is left out,
    since the codec has no entry for it. A stream may end, or be cut, at any column.

    Args:
        codebooks: Of the model.
    """

    def __init__(self, codebooks: Codebooks) -> None:
        self._codebooks = codebooks
        self._columns: deque[NDArray[np.int64]] = deque(maxlen=codebooks.count)

    def push(self, column: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Take the next column, int64 `[K]`.

        Returns:
            The frame that it completes, int64 `[K]`, every code in [0, size); None if there is
            none, or it is no sound.
        """
        self._columns.append(column)
        if len(self._columns) < self._codebooks.count:
            return None
        frame = np.array([column[book] for book, column in enumerate(self._columns)], np.int64)
        sound = frame.min() >= 0 and frame.max() < self._codebooks.size
        return frame if sound else None
