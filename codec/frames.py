"""How codes, mel frames and samples count time."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Clock:
    """The three rates of a decoder.

    Attributes:
        code_rate: Codes per second.
        sample_rate: Samples per second.
        hop: Samples per mel frame.
    """

    code_rate: float
    sample_rate: int
    hop: int

    def frames(self, codes: int) -> int:
        """How many mel frames a reply of `codes` codes has.

        Counted in float32 and truncated, like the reference: at some multiples of 64
        codes that is one frame less than the exact quotient.
        """
        seconds = np.float32(codes) / np.float32(self.code_rate)
        return int(seconds * np.float32(self.sample_rate) / np.float32(self.hop))

    def code_at(self, frame: int) -> int:
        """Index of the code that sounds at a frame, both counted from the start of the reply."""
        return frame * self._ratio.numerator // self._ratio.denominator

    def codes_at(self, first: int, last: int) -> Tensor:
        """`code_at` for the frames `first` to `last - 1`, int64 `[frames]`."""
        frames = torch.arange(first, last)
        return frames * self._ratio.numerator // self._ratio.denominator

    @property
    def _ratio(self) -> Fraction:
        """Codes per frame, exactly."""
        return Fraction(self.code_rate) * self.hop / self.sample_rate


def nearest(source: int, target: int, device: torch.device | None = None) -> Tensor:
    """Which of `source` steps each of `target` steps repeats, int64 `[target]`.

    Indices are computed in float32 as `torch.nn.functional.interpolate` does for
    float32 signals. Where the quotient is a whole number, other precisions give other
    indices, and with them a clearly different signal.
    """
    scale = torch.tensor(source, dtype=torch.float32) / target
    index = (torch.arange(target, dtype=torch.float32) * scale).floor().long()
    return index.clamp_(max=source - 1).to(device)
