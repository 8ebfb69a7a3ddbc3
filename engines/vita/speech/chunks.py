"""Codes to sound as they come, in chunks that overlap.

A code's sound depends on some codes before and after it. So each chunk is decoded together with
its neighbours, and only the middle is kept: what comes out is what one call for all would give.
"""

import numpy as np
import torch

from engines.vita.speech.codec import Codec
from engines.vita.speech.cutting import Samples

#: Codes on either side that are decoded along. The networks reach 13.5 codes far, and beyond 10
#: change nothing that 16 bits can show.
PADDING = 10


class Chunks:
    """The sound of one unit.

    Args:
        codec: Shared.
        chunk: Codes that go out at once.
        padding: Codes decoded along on either side.

    Attributes:
        codes: How many were taken.
    """

    def __init__(self, codec: Codec, chunk: int, padding: int = PADDING) -> None:
        self._codec = codec
        self._chunk = chunk
        self._padding = padding
        self._recent: list[int] = []
        #: Codes of `recent` that have gone out, and are there for those after them only.
        self._left = 0
        self.codes = 0

    def push(self, code: int) -> Samples:
        """Take a code; give the samples of a chunk, or none yet."""
        self.codes += 1
        self._recent.append(code)
        if len(self._recent) < self._left + self._chunk + self._padding:
            return np.zeros(0, np.float32)
        samples = self._decode(self._padding)
        self._recent = self._recent[-2 * self._padding :] if self._padding else []
        self._left = len(self._recent) - self._padding
        return samples

    def finish(self) -> Samples:
        """Give what is left; the unit is over."""
        samples = self._decode(0)
        self._recent, self._left = [], 0
        return samples

    def _decode(self, right: int) -> Samples:
        """The samples of what has not gone out, but for the last `right` codes."""
        each = self._codec.config.samples
        with torch.inference_mode():
            wave = self._codec.decode(self._recent)
        samples: Samples = wave[self._left * each : len(wave) - right * each].float().cpu().numpy()
        return samples
