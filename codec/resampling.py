"""Resampling as torchaudio does it by default, which the tokenizer was trained on.

Windowed sinc interpolation (Smith, "Digital audio resampling"): Hann window, six zero
crossings, roll-off 0.99. torchaudio's kernel has a tap for every sample of a period of
the two rates, nearly all of them 0; here only those within the window are computed, so
that any pair of rates is cheap.
"""

import math

import numpy as np
from numpy.typing import NDArray

from errors import InputError

#: Zero crossings of the sinc on either side.
_CROSSINGS = 6
#: Cut-off frequency over the lower of the two Nyquist frequencies.
_ROLL_OFF = 0.99
#: Samples made at once: bounds the memory.
_BATCH = 1 << 16


class Resampler:
    """Resamples a signal that comes in pieces.

    Args:
        source: Rate of what comes in, Hz.
        target: Rate of what goes out, Hz.

    Raises:
        InputError: If the rate of what comes in is none.
    """

    def __init__(self, source: int, target: int) -> None:
        if source < 1:
            raise InputError(f"{source} Hz is no sample rate.")
        shared = math.gcd(source, target)
        self._source, self._target = source // shared, target // shared
        self._same = source == target
        base = min(self._source, self._target) * _ROLL_OFF
        #: Input samples on either side of an output sample that count.
        self._reach = math.ceil(_CROSSINGS * self._source / base)
        self._weights = None if self._same else self._table(base)
        self._kept = np.zeros(0, np.float32)
        #: Index of the first kept sample; what lies before the signal is silence.
        self._kept_from = 0
        self._received = 0
        self._made = 0

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take samples, give those that no later sample can change."""
        if self._same:
            return samples
        self._kept = np.concatenate((self._kept, samples))
        self._received += len(samples)
        ready = (self._received - self._reach) * self._target // self._source
        return self._make(max(self._made, ready))

    def finish(self) -> NDArray[np.float32]:
        """The rest, as if silence followed."""
        if self._same:
            return np.zeros(0, np.float32)
        return self._make(-(-self._received * self._target // self._source))

    def _table(self, base: float) -> NDArray[np.float32]:
        """Weights per phase and tap, `[target, 2 * reach + 1]`."""
        phase = np.arange(self._target)[:, None]
        tap = np.arange(-self._reach, self._reach + 1) + phase * self._source // self._target
        # torchaudio counts phases in float32, all else in float64. It shows in the mel.
        when = phase.astype(np.float32) / np.float32(self._target)
        place = np.clip((tap / self._source - when) * base, -_CROSSINGS, _CROSSINGS)
        window = np.cos(place * np.pi / _CROSSINGS / 2) ** 2
        weights: NDArray[np.float32] = (np.sinc(place) * window * (base / self._source)).astype(
            np.float32
        )
        return weights

    def _make(self, end: int) -> NDArray[np.float32]:
        """Output samples from the last made one to `end`."""
        parts = [
            self._batch(first, min(end, first + _BATCH)) for first in range(self._made, end, _BATCH)
        ]
        self._made = max(self._made, end)
        needed = self._made * self._source // self._target - self._reach
        surplus = min(len(self._kept), max(0, needed - self._kept_from))
        self._kept = self._kept[surplus:]
        self._kept_from += surplus
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _batch(self, first: int, last: int) -> NDArray[np.float32]:
        assert self._weights is not None
        index = np.arange(first, last)
        centre = index * self._source // self._target
        start, end = int(centre[0]) - self._reach, int(centre[-1]) + self._reach + 1
        before = max(0, self._kept_from - start)
        after = max(0, end - self._kept_from - len(self._kept))
        inner = self._kept[max(0, start - self._kept_from) : max(0, end - self._kept_from)]
        padded = np.pad(inner, (before, after))
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * self._reach + 1)
        taken = windows[centre - centre[0]]
        made: NDArray[np.float32] = np.einsum(
            "nt,nt->n", taken, self._weights[index % self._target]
        )
        return made


def resample(samples: NDArray[np.float32], source: int, target: int) -> NDArray[np.float32]:
    """A whole signal, float32 `[n]`, at another rate; `ceil(n * target / source)` samples."""
    resampler = Resampler(source, target)
    return np.concatenate((resampler.push(samples), resampler.finish()))
