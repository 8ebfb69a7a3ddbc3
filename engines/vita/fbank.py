"""Speech as Whale hears it: log-mel filter banks, as Kaldi defines them, in double precision.

The reference computes them in single precision. What rounding leaves there of a bin that is
all but empty depends on the library of the Fourier transform; the formula's own value is nearer
to each of them than they are to each other. Nothing random is added to the waveform (dither):
the features of a clip are always the same.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from codec.checkpoint import CheckpointError, read_json
from codec.resampling import resample
from errors import InputError

RATE = 16_000
#: Bins of a frame.
MELS = 80
#: Samples from one frame to the next.
STEP = 160
#: Samples of a frame.
FRAME = 400

#: Kaldi's filter banks expect samples in the range of 16-bit integers.
_FULL_SCALE = 32_768.0
#: Smallest variance of a bin.
_FLOOR = 1e-20

#: The encoder's convolutions need so many frames for a first row.
_LEAST_FRAMES = 7

#: Points of the Fourier transform.
_POINTS = 512
_WINDOW = window_function(FRAME, "povey", periodic=False)
#: Weight of each point of the spectrum in each bin, [257, 80].
_BANK = mel_filter_bank(
    _POINTS // 2 + 1, MELS, 20, RATE / 2, RATE, mel_scale="kaldi", triangularize_in_mel_space=True
)
#: Least energy of a bin: what single precision adds to 1.
_LEAST_ENERGY = float(np.finfo(np.float32).eps)


def frames_of(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Log-mel energies of 25 ms every 10 ms.

    Args:
        samples: [n] mono, in [-1, 1].
        rate: Hz.

    Returns:
        [frames, 80] float32, natural logarithm; not normalised.

    Raises:
        InputError: If the clip is too short for the encoder.
    """
    wave = resample(samples, rate, RATE)
    if len(wave) < FRAME + (_LEAST_FRAMES - 1) * STEP:
        raise InputError("The clip is too short to hear anything in it.")
    bins: NDArray[np.float32] = spectrogram(
        wave * _FULL_SCALE,
        _WINDOW,
        FRAME,
        STEP,
        fft_length=_POINTS,
        power=2.0,
        center=False,
        preemphasis=0.97,
        remove_dc_offset=True,
        mel_filters=_BANK,
        mel_floor=_LEAST_ENERGY,
        log_mel="log",
        dtype=np.float32,
    )
    return bins.T


def read_normalisation(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and inverse deviation of each bin, [80] each, from a `global_cmvn` of sums.

    Raises:
        CheckpointError: If the file is damaged, or something else.
    """
    values = read_json(path)
    try:
        count = float(values["frame_num"])
        sums, squares = (np.array(values[name], np.float64) for name in ("mean_stat", "var_stat"))
        if not count > 0:
            raise ValueError("it counts no frames")
        mean = sums / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, _FLOOR))
        fits = mean.shape == deviation.shape == (MELS,) and np.isfinite(mean + deviation).all()
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no statistic of filter banks: {error!r}.") from error
    if not fits:
        raise CheckpointError(f"{path} does not hold the statistics of {MELS} bins.")
    return mean.astype(np.float32), (1 / deviation).astype(np.float32)
