"""Speech as Whale hears it: log-mel filter banks, as Kaldi computes them.

Nothing random is added to the waveform (dither): the features of a clip are always the same.
"""

from pathlib import Path

import kaldi_native_fbank
import numpy as np
from numpy.typing import NDArray

from codec.checkpoint import CheckpointError, read_json
from codec.resampling import resample
from errors import InputError

RATE = 16_000
#: Bins of a frame.
MELS = 80
#: Samples from one frame to the next.
STEP = 160

#: Kaldi's filter banks expect samples in the range of 16-bit integers.
_FULL_SCALE = 32_768.0
#: Smallest variance of a bin.
_FLOOR = 1e-20

#: The encoder's convolutions need so many frames for a first row.
_LEAST_FRAMES = 7


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
    bank = kaldi_native_fbank.OnlineFbank(_options())
    bank.accept_waveform(RATE, (resample(samples, rate, RATE) * _FULL_SCALE).tolist())
    bank.input_finished()
    if bank.num_frames_ready < _LEAST_FRAMES:
        raise InputError("The clip is too short to hear anything in it.")
    return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])


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


def _options() -> kaldi_native_fbank.FbankOptions:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = RATE
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = "povey"
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = MELS
    options.energy_floor = 0.0
    return options
