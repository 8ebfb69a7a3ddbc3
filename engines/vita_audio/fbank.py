"""Speech as SenseVoice hears it: filter banks, seven frames at a time, normalised.

As `WavFrontend` of FunASR does it, but for dither: FunASR adds noise to the waveform by
default, so that features of one clip differ from call to call; here none is added.
"""

import math
import re
from pathlib import Path

import kaldi_native_fbank
import numpy as np
from numpy.typing import NDArray

from codec.checkpoint import CheckpointError, require
from codec.resampling import resample
from errors import InputError

#: Name of the file with the mean and scale of each feature.
NORMALISATION = "am.mvn"

RATE = 16_000
_MELS = 80
#: Kaldi's filter banks expect samples in the range of 16-bit integers.
_FULL_SCALE = 32_768.0
#: Frames joined in one row, and frames from one row to the next (LFR).
_JOINED, _STEP = 7, 6
#: Values of a row.
WIDTH = _MELS * _JOINED

#: Seconds from one row to the next.
SECONDS = 0.06

_BRACKETS = re.compile(r"<(AddShift|Rescale)>[^<]*<LearnRateCoef>\s*\d+\s*\[([^\]]*)\]")


class FilterBank:
    """Computes rows of features; knows nothing of a request.

    Args:
        shift: [560] float32, added to each row.
        scale: [560] float32, each row is multiplied by it after that.
    """

    def __init__(self, shift: NDArray[np.float32], scale: NDArray[np.float32]) -> None:
        self._shift, self._scale = shift, scale
        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.samp_freq = RATE
        options.frame_opts.dither = 0.0
        options.frame_opts.window_type = "hamming"
        options.frame_opts.snip_edges = True
        options.mel_opts.num_bins = _MELS
        options.energy_floor = 0.0
        self._options = options

    @staticmethod
    def load(folder: Path) -> "FilterBank":
        """Read the normalisation of a published SenseVoice.

        Args:
            folder: Holds am.mvn.

        Raises:
            CheckpointError: If it does not, or the file is something else.
        """
        require(folder, (NORMALISATION,))
        path = folder / NORMALISATION
        found = {}
        for name, numbers in _BRACKETS.findall(path.read_text(encoding="utf-8", errors="replace")):
            try:
                found[name] = np.array(numbers.split(), np.float32)
            except ValueError as error:
                raise CheckpointError(f"{path}: {name} is no list of numbers: {error}.") from error
        for name in ("AddShift", "Rescale"):
            values = found.get(name)
            if values is None or values.shape != (WIDTH,) or not np.isfinite(values).all():
                raise CheckpointError(
                    f"{path} does not hold {WIDTH} numbers of {name}. Delete the file and fetch it "
                    "again."
                )
        return FilterBank(found["AddShift"], found["Rescale"])

    def __call__(self, samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """The features of a clip.

        Args:
            samples: [n] mono, or [n, channels], in [-1, 1]. Channels are averaged, then resampled.
            rate: Of the samples, Hz.

        Returns:
            [rows, 560] float32, one row for 60 ms.

        Raises:
            InputError: If the clip is shorter than one frame (25 ms).
        """
        mono = samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)
        return self.normalised(self._frames(resample(mono, rate, RATE)))

    def normalised(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Join frames [n, 80] to rows [ceil(n / 6), 560] and normalise them.

        Row i holds frames 6i - 3 to 6i + 3; the first and the last frame stand for those
        before and after them.
        """
        count = math.ceil(len(frames) / _STEP)
        wanted = np.arange(count)[:, None] * _STEP + np.arange(_JOINED) - _JOINED // 2
        joined = frames[wanted.clip(0, len(frames) - 1)].reshape(count, WIDTH)
        rows: NDArray[np.float32] = (joined + self._shift) * self._scale
        return rows

    def _frames(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-mel energies of 25 ms every 10 ms, [n, 80]."""
        bank = kaldi_native_fbank.OnlineFbank(self._options)
        bank.accept_waveform(RATE, (samples * _FULL_SCALE).tolist())
        bank.input_finished()
        if not bank.num_frames_ready:
            raise InputError("The clip is too short to hear anything in it.")
        return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])
