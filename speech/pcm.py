"""The one type for audio inside Parley."""

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

#: Full scale of 16-bit PCM; -1.0 maps to -32767 so that the mapping is symmetric.
INT16_PEAK = 32767


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A mono signal.

    Attributes:
        samples: float32 `[n]`, nominally in [-1, 1].
        rate: Samples per second (Hz).
    """

    samples: NDArray[np.float32]
    rate: int

    def __post_init__(self) -> None:
        if self.samples.dtype != np.float32 or self.samples.ndim != 1:
            raise TypeError(
                f"Audio takes float32 [n], not {self.samples.dtype} {self.samples.shape}"
            )
        if self.rate <= 0:
            raise ValueError(f"Audio needs a positive rate, not {self.rate}")

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.rate

    def resampled(self, rate: int) -> "Audio":
        """The same signal at another rate (soxr, high quality)."""
        if rate == self.rate:
            return self
        if not len(self.samples):
            return Audio(self.samples, rate)
        return Audio(soxr.resample(self.samples, self.rate, rate).astype(np.float32), rate)

    def pcm16(self) -> NDArray[np.int16]:
        """The signal as int16 `[n]`; values beyond full scale are clipped."""
        return np.round(np.clip(self.samples, -1.0, 1.0) * INT16_PEAK).astype(np.int16)

    @staticmethod
    def from_pcm16(samples: NDArray[np.int16], rate: int) -> "Audio":
        """Int16 `[n]` to an `Audio`."""
        return Audio(samples.astype(np.float32) / np.float32(INT16_PEAK), rate)


def silence(seconds: float, rate: int) -> Audio:
    """Digital silence of the given duration."""
    return Audio(np.zeros(round(seconds * rate), np.float32), rate)


def concatenate(parts: list[Audio]) -> Audio:
    """Join signals of one rate end to end.

    Raises:
        ValueError: If `parts` is empty or the rates differ.
    """
    rates = {part.rate for part in parts}
    if len(rates) != 1:
        raise ValueError(f"concatenate needs parts of one rate, not {sorted(rates)}")
    return Audio(np.concatenate([part.samples for part in parts]), rates.pop())
