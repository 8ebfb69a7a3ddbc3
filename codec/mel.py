"""The decoder's mel, taken from a recording: for voice prompts, and to compare speech.

HiFi-GAN's definition (Kong et al., 2020), which the decoder was trained with.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from codec.features import Samples, first_channel
from codec.resampling import resample
from errors import InputError

#: Samples of a spectrum.
_FFT = 1024
#: Band of the filters, Hz.
_LOWEST, _HIGHEST = 0.0, 8000.0
#: Keeps the square root's slope, and the logarithm, finite.
_LEAST_POWER, _LEAST = 1e-9, 1e-5


def log_mel(
    samples: Samples, rate: int, *, to: int = 22_050, hop: int = 256, mels: int = 80
) -> NDArray[np.float32]:
    """Natural log-mel of a recording.

    Args:
        samples: `[n]` or `[n, channels]`; of several channels the first is taken.
        rate: Their sample rate, Hz.
        to: The decoder's sample rate, Hz.
        hop: Its samples per frame.
        mels: Its mel bins.

    Returns:
        float32 `[mels, frames]`, one frame for each whole hop.

    Raises:
        InputError: If the recording is shorter than half a spectrum, or not finite.
    """
    signal = torch.from_numpy(resample(first_channel(samples), rate, to))
    around = (_FFT - hop) // 2
    if len(signal) <= around:
        raise InputError("The recording is too short to take a mel of: it needs 20 ms and more.")
    padded = functional.pad(signal[None, None], (around, around), mode="reflect")[0]
    window = torch.hann_window(_FFT)
    spectrum = torch.stft(padded, _FFT, hop, window=window, center=False, return_complex=True)[0]
    magnitude = (spectrum.abs() ** 2 + _LEAST_POWER).sqrt()
    filters = mel_filter_bank(
        _FFT // 2 + 1, mels, _LOWEST, _HIGHEST, to, norm="slaney", mel_scale="slaney"
    )
    mel = torch.from_numpy(filters).float().t() @ magnitude
    made: NDArray[np.float32] = mel.clamp(min=_LEAST).log().numpy()
    return made
