"""Spectral envelopes as decibels in mel bands, and back."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from speech.world import BINS, RATE

#: Evenly spaced on the mel scale up to 12 kHz: 45 Hz apart at the bottom, 600 Hz at the
#: top, closer than formants are wide.
BANDS = 64
#: The level of a frame is taken over the bands up to here: every recording, even one from
#: a telephone, has them (Hz).
LEVEL_TOP = 3400.0
#: Where O'Shaughnessy's mel scale turns from linear to logarithmic, Hz.
_CORNER = 700.0

Bands = NDArray[np.float64]


def centres() -> Bands:
    """Centre of each band, float64 `[BANDS]`, Hz."""
    mels = np.linspace(0, np.log1p(RATE / 2 / _CORNER), BANDS + 2)
    found: Bands = _CORNER * np.expm1(mels[1:-1])
    return found


def to_bands(envelope: Bands) -> Bands:
    """Power `[t, BINS]` to dB `[t, BANDS]`."""
    return 10 * np.log10(envelope) @ summary()


def to_bins(gains: Bands) -> Bands:
    """Values of bands `[t, BANDS]` to values of bins `[t, BINS]`, linear in between."""
    return gains @ _spread()


def warped(positions: Bands, factor: float) -> Bands:
    """The matrix that stretches a spectrum by `factor` along the frequency axis.

    Args:
        positions: Frequency of each value, rising, float64 `[n]`.
        factor: Above 1 moves formants up, as in a shorter vocal tract. Towards the upper
            end the stretch fades, so that nothing falls out of the spectrum.

    Returns:
        float64 `[n, n]`, to be multiplied from the right.
    """
    return _interpolation(positions, unwarped(positions, factor))


def unwarped(frequencies: Bands, factor: float) -> Bands:
    """Where in the spectrum before stretching each frequency came from, Hz.

    Straight up to the knee at three quarters of the spectrum, then another straight line
    to its end, as in vocal tract length normalisation.
    """
    top = RATE / 2
    knee = 0.75 * top * min(1.0, factor)
    above = (top - knee / factor) / (top - knee)
    beyond = knee / factor + (frequencies - knee) * above
    found: Bands = np.where(frequencies <= knee, frequencies / factor, beyond)
    return found


def level_free(spectrum: Bands) -> Bands:
    """Take from each frame of dB `[t, BANDS]` its level."""
    low = centres() <= LEVEL_TOP
    found: Bands = spectrum - spectrum[:, low].mean(axis=1, keepdims=True)
    return found


@cache
def summary() -> Bands:
    """Weights `[BINS, BANDS]` by which the bins of an envelope make up its bands."""
    weights = _spread().T
    shares: Bands = weights / weights.sum(axis=0)
    return shares


@cache
def _spread() -> Bands:
    return _interpolation(centres(), np.linspace(0, RATE / 2, BINS))


def _interpolation(known: Bands, wanted: Bands) -> Bands:
    """The matrix `[known, wanted]` of linear interpolation; the ends are held."""
    eye = np.eye(len(known))
    return np.stack([np.interp(wanted, known, row) for row in eye])
