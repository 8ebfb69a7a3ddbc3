"""Up to which frequency a recording has anything in it."""

import numpy as np

from speech.pcm import Audio

#: Samples of a frame (about 50 ms at 24 kHz) and how many frames are looked at, spread evenly.
FRAME = 1024
MOST_FRAMES = 1000
#: What lies this far below the strongest frequency is the floor of a codec or of a
#: resampling filter, not sound: the highest parts of speech are 50 dB below (dB).
DEPTH_DB = 75.0


def bandwidth(audio: Audio) -> float:
    """The highest frequency that is there, Hz.

    At most half the sample rate, and less where a recording was made at a lower rate, or
    came over a telephone, before it was saved. 0 for silence.
    """
    frames = len(audio) // FRAME
    if not frames:
        return audio.rate / 2 if np.any(audio.samples) else 0.0
    chosen = np.unique(np.linspace(0, frames - 1, min(frames, MOST_FRAMES)).astype(int))
    rows = audio.samples[: frames * FRAME].reshape(-1, FRAME)[chosen]
    power = (np.abs(np.fft.rfft(rows * np.hanning(FRAME), axis=1)) ** 2).mean(axis=0)
    # The first bins hold rumble, which would lift the threshold.
    loud = np.flatnonzero(power[2:] > power[2:].max() * 10 ** (-DEPTH_DB / 10)) + 2
    return float(loud[-1]) * audio.rate / FRAME if power.any() and len(loud) else 0.0
