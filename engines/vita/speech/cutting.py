"""Where speech is cut into pieces: at the quietest place.

Should the next piece come late, the gap falls between two words instead of into one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

#: Samples over which loudness is taken, 0.1 s at 24 kHz.
WINDOW = 2401


@dataclass(frozen=True, slots=True)
class Pacing:
    """In what pieces a unit is spoken.

    Attributes:
        chunk: Codes that are decoded at once.
        threshold: A place is quiet if the mean of its magnitudes is below this.
        patience: So many chunks in a row may be held back because no place in them is quiet;
            then the quietest has to do. None: however many.
    """

    chunk: int
    threshold: float
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError("A chunk has at least one code.")


def quietest(
    chunk: Samples, threshold: float, window: int = WINDOW, *, slip: bool = False
) -> int | None:
    """Where to cut a chunk: in the quietest window of its second half, at its softest sample.

    Args:
        chunk: float32 `[n]`.
        threshold: The window is quiet if the mean of its magnitudes is below this.
        window: Its length, samples.
        slip: Look for the softest sample beyond the window, too, as the reference does: it
            counts the window's place from the middle of the chunk, and its end from the start.

    Returns:
        Index of the first sample after the cut; None if the window is not quiet, or the chunk
        shorter than one.
    """
    if len(chunk) < window:
        return None
    level = np.abs(chunk)
    middle = max(0, len(chunk) // 2 - window // 2)
    sums = np.concatenate([[0.0], np.cumsum(level, dtype=np.float64)])
    loudness = sums[window:] - sums[:-window]
    offset = int(loudness[middle:].argmin())
    if loudness[middle + offset] / window >= threshold:
        return None
    first = middle + offset
    last = first + window + (offset if slip else 0)
    return first + int(level[first:last].argmin())


class Pieces:
    """The chunks of one unit, cut anew; joined, they are the same samples.

    Args:
        pacing: When a chunk is cut.
        slip: See `quietest`.
    """

    def __init__(self, pacing: Pacing, *, slip: bool = False) -> None:
        self._pacing = pacing
        self._slip = slip
        self._held: Samples = np.zeros(0, np.float32)
        self._refused = 0

    def push(self, chunk: Samples) -> Samples:
        """Take a chunk, maybe empty; give what can go out, up to a quiet place, or nothing."""
        if not len(chunk):
            return chunk
        patience = self._pacing.patience
        patient = patience is None or self._refused < patience
        threshold = self._pacing.threshold if patient else np.inf
        at = quietest(chunk, threshold, slip=self._slip)
        held = np.concatenate([self._held, chunk])
        if at is None:
            self._refused += 1
            self._held = held
            return held[:0]
        self._refused = 0
        at += len(self._held)
        self._held = held[at:]
        return held[:at]

    def finish(self, chunk: Samples) -> Samples:
        """Take the last chunk, maybe empty; give all that is left."""
        held = np.concatenate([self._held, chunk])
        self._held = held[:0]
        return held
