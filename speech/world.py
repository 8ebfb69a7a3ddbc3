"""Speech as pitch, spectral envelope and breath: the vocoder WORLD.

Source: "WORLD: a vocoder-based high-quality speech synthesis system for real-time
applications", Morise, Yokomori and Ozawa, 2016; https://github.com/mmorise/World,
by way of `pyworld`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech.pcm import Audio

#: All analysis happens at this rate, so that frames of two voices can be compared.
RATE = 24_000
#: Time from one frame to the next, seconds.
PERIOD = 0.005
#: Bins of an envelope, from 0 to `RATE` / 2: what WORLD takes for 24 kHz.
BINS = 513
#: Where pitch is looked for, Hz: from a low male voice to an excited child.
LOWEST_PITCH = 60.0
HIGHEST_PITCH = 600.0
#: Least power in a bin, so that logarithms stay finite (-120 dB).
LEAST_POWER = 1e-12
#: Shorter signals are lengthened with silence for the analysis, seconds.
SHORTEST = 0.1

Frames = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Voiceprint:
    """What WORLD finds in a signal, one row per `PERIOD`.

    Attributes:
        pitch: float64 `[t]`, Hz; 0 where there is no voice.
        envelope: float64 `[t, BINS]`, power of the spectral envelope.
        breath: float64 `[t, BINS]`, share of noise in the envelope's amplitude, 0 to 1.
    """

    pitch: Frames
    envelope: Frames
    breath: Frames

    @property
    def voiced(self) -> NDArray[np.bool_]:
        """Where there is voice, `[t]`."""
        return self.pitch > 0


def analyse(audio: Audio, careful: bool = False) -> Voiceprint:
    """Take a signal apart.

    Args:
        audio: Any rate.
        careful: Finds pitch in noisy recordings as well (Harvest), at four times the work.
    """
    import pyworld  # noqa: PLC0415

    samples = audio.resampled(RATE).samples.astype(np.float64)
    # WORLD looks some periods ahead and would read beyond the end of very short ones.
    samples = np.pad(samples, (0, max(0, round(SHORTEST * RATE) - len(samples))))
    track = pyworld.harvest if careful else pyworld.dio
    pitch, times = track(
        samples, RATE, f0_floor=LOWEST_PITCH, f0_ceil=HIGHEST_PITCH, frame_period=PERIOD * 1000
    )
    pitch = pyworld.stonemask(samples, pitch, times, RATE)
    envelope = pyworld.cheaptrick(samples, pitch, times, RATE)
    breath = pyworld.d4c(samples, pitch, times, RATE)
    return Voiceprint(pitch, np.maximum(envelope, LEAST_POWER), breath)


def synthesize(voiceprint: Voiceprint, samples: int) -> Audio:
    """Put a signal together again.

    Args:
        voiceprint: As `analyse` gives it, or changed.
        samples: How long the signal is to be; what is missing is silence.

    Returns:
        An `Audio` at `RATE`; the same for the same input.
    """
    import pyworld  # noqa: PLC0415

    made = pyworld.synthesize(
        np.ascontiguousarray(voiceprint.pitch),
        np.ascontiguousarray(voiceprint.envelope),
        np.ascontiguousarray(voiceprint.breath),
        RATE,
        PERIOD * 1000,
    )[:samples]
    return Audio(np.pad(made, (0, samples - len(made))).astype(np.float32), RATE)
