"""Loudness and duration, as numbers and as words for people."""

import math

import numpy as np
from numpy.typing import NDArray

#: What silence counts as, dBFS; below the quantisation noise of 16-bit PCM (-98 dB).
SILENCE_DB = -120.0
MINUTE = 60
#: Samples taken at once.
BLOCK = 2**20


def level_db(samples: NDArray[np.floating]) -> float:
    """RMS level of a signal in dB relative to full scale.

    Args:
        samples: Float `[n]` in [-1, 1].

    Returns:
        dBFS, at least `SILENCE_DB` (which empty and all-zero signals get).
    """
    if not len(samples):
        return SILENCE_DB
    # Block by block: the squares of half an hour would take twice the memory of the clip.
    blocks = (samples[start : start + BLOCK] for start in range(0, len(samples), BLOCK))
    power = sum(float(np.dot(block, block)) for block in blocks) / len(samples)
    return max(SILENCE_DB, 10 * math.log10(power)) if power > 0 else SILENCE_DB


def duration_text(seconds: float) -> str:
    """A duration as a person would write it: "20 ms", "2.1 s", "30 min", "1 min 5 s"."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def level_text(db: float) -> str:
    """A level as a person would write it: "level -58 dB", or "silent"."""
    return "silent" if db <= SILENCE_DB else f"level {db:.0f} dB"
