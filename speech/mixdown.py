"""Blocks of samples of any kind into one mono signal, in bounded memory."""

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from errors import InputError
from speech.level import duration_text, level_db
from speech.pcm import Audio

#: Sources outside these rates (Hz) are broken headers, not recordings.
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
#: Below this rate (Hz) consonants lose the band that tells "s" from "f".
FULL_BAND_RATE = 16_000
#: More channels than stereo are worth a word when they are mixed.
STEREO = 2
#: Share of NaN or infinite samples up to which a clip is repaired, not refused.
MOST_BAD = 0.001
#: A sample this close to full scale may be clipped (8-bit PCM ends at 127/128).
FULL_SCALE = 0.99
#: Share of clipped samples that is heard as distortion.
HEAVY_CLIPPING = 0.01
#: Float sources beyond this peak are scaled down; room for rounding.
HIGHEST_PEAK = 1.001
#: Quieter clips (dBFS) are mostly noise once amplified.
LOW_LEVEL_DB = -50.0
#: A mix this much weaker than its channels (power) means that they cancel out.
CANCELLED = 1e-3


def as_float(samples: NDArray[np.generic]) -> NDArray[np.float32]:
    """Samples of any PCM type as float32 in [-1, 1]; the shape stays.

    Integers are divided by their full scale; unsigned 8-bit is centred at 128
    as in WAV files. Floats keep their values, so they may exceed [-1, 1].

    Raises:
        InputError: If the type is no number.
    """
    kind = samples.dtype
    if kind == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if kind.kind == "i":
        return samples.astype(np.float32) / np.float32(2 ** (8 * kind.itemsize - 1))
    if kind.kind == "f":
        # A float64 beyond the range of float32 becomes inf and is counted as damaged.
        with np.errstate(over="ignore"):
            return samples.astype(np.float32)
    raise InputError(f"This clip holds {kind} values; I can read 8, 16 and 32 bit PCM and floats.")


@dataclass(slots=True)
class _Heard:
    """What was noticed about the source while it streamed by."""

    seconds: float = 0.0
    values: int = 0
    bad: int = 0
    clipped: int = 0
    peak: float = 0.0
    channel_power: float = 0.0
    mix_power: float = 0.0
    channels: int = 1
    lowest_rate: int = HIGHEST_RATE


class Mixdown:
    """Mixes, repairs and resamples a source block by block.

    Only the result grows with the length of the source (4 bytes per sample at
    the target rate); 30 minutes at 16 kHz are 115 MB whatever the source was.

    Args:
        rate: Target sample rate, Hz.
        max_seconds: Longer sources are refused as soon as that shows.
        too_long: What to do about it, the end of the message.
    """

    def __init__(self, rate: int, max_seconds: float, too_long: str) -> None:
        self._rate = rate
        self._max_seconds = max_seconds
        self._too_long = too_long
        self._heard = _Heard()
        self._source_rate = 0
        self._stream: soxr.ResampleStream | None = None
        self._mono = bytearray()

    def add(self, block: NDArray[np.float32], rate: int) -> None:
        """Take the next block.

        Args:
            block: float32 `[n, channels]`; may be changed in place.
            rate: Its sample rate in Hz; may differ from that of the block before.

        Raises:
            InputError: If the source is too long, or its rate is impossible.
        """
        if not block.size:
            return
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise InputError(f"A sample rate of {rate} Hz cannot be right. Export the clip again.")
        heard = self._heard
        heard.seconds += len(block) / rate
        if heard.seconds > self._max_seconds:
            raise InputError(
                f"This clip is longer than {duration_text(self._max_seconds)}. {self._too_long}"
            )
        self._inspect(block, rate)
        mono = block.mean(axis=1, dtype=np.float32)
        heard.mix_power += float(np.sum(np.square(mono, dtype=np.float64)))
        self._write(mono, rate)

    def finish(self) -> tuple[Audio, tuple[str, ...]]:
        """The whole signal and notes on what a listener should know about it.

        Raises:
            InputError: If there were no samples, or too many were not numbers.
        """
        heard = self._heard
        if not heard.values:
            raise InputError("This clip is empty: it holds no sound. Record or export again.")
        if heard.bad > MOST_BAD * heard.values:
            raise InputError(
                f"This clip is damaged: {heard.bad:,} of its {heard.values:,} samples are not"
                " numbers (NaN or infinite). Export it again."
            )
        self._flush()
        samples = np.frombuffer(self._mono, np.float32)
        if heard.peak > HIGHEST_PEAK:
            samples /= heard.peak
        return Audio(samples, self._rate), self._notes(level_db(samples))

    def _inspect(self, block: NDArray[np.float32], rate: int) -> None:
        heard = self._heard
        heard.lowest_rate = min(heard.lowest_rate, rate)
        heard.channels = max(heard.channels, block.shape[1])
        heard.values += block.size
        finite = np.isfinite(block)
        bad = block.size - int(np.count_nonzero(finite))
        if bad:
            heard.bad += bad
            block[~finite] = 0.0
        size = np.abs(block)
        heard.peak = max(heard.peak, float(size.max()))
        # Clipping leaves flat tops: equal neighbours at full scale. A loud but
        # clean wave touches full scale too, yet never stays there.
        flat = (size[1:] >= FULL_SCALE) & (block[1:] == block[:-1])
        heard.clipped += int(np.count_nonzero(flat))
        power = float(np.sum(np.square(block, dtype=np.float64)))
        heard.channel_power += power / block.shape[1]

    def _write(self, mono: NDArray[np.float32], rate: int) -> None:
        if rate != self._source_rate:
            self._flush()
            self._source_rate = rate
            if rate != self._rate:
                self._stream = soxr.ResampleStream(rate, self._rate, 1, dtype="float32")
        if self._stream is not None:
            mono = self._stream.resample_chunk(mono)
        self._mono += mono.tobytes()

    def _flush(self) -> None:
        if self._stream is not None:
            tail = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
            self._mono += tail.tobytes()
            self._stream = None

    def _notes(self, level: float) -> tuple[str, ...]:
        heard = self._heard
        notes = []
        if heard.channels > STEREO:
            notes.append(f"{heard.channels} channels were mixed to one.")
        if heard.mix_power < CANCELLED * heard.channel_power:
            notes.append("The channels cancel each other out when mixed; send one of them alone.")
        if heard.lowest_rate < FULL_BAND_RATE:
            notes.append(
                f"Recorded at {heard.lowest_rate / 1000:g} kHz, telephone quality or less;"
                " words may be misheard."
            )
        clipped = heard.clipped / heard.values
        if clipped > HEAVY_CLIPPING:
            notes.append(
                f"Heavily clipped: {clipped:.0%} of the samples are at full scale."
                " Record at a lower level."
            )
        if heard.peak > HIGHEST_PEAK:
            notes.append(f"Louder than full scale (peak {heard.peak:.3g}); turned down to fit.")
        if heard.bad:
            notes.append(f"{heard.bad:,} damaged samples (NaN or infinite) were silenced.")
        if heard.channel_power == 0:
            notes.append("This clip is silent: every sample is zero.")
        elif level < LOW_LEVEL_DB:
            notes.append(f"Very quiet (level {level:.0f} dB). Record closer to the microphone.")
        return tuple(notes)
