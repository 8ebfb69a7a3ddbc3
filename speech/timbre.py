"""What matching has to know of a voice: its pitch and its spectrum."""

import io
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from errors import InputError
from speech.bands import BANDS, Bands, level_free, to_bands
from speech.bandwidth import bandwidth
from speech.level import duration_text, level_db
from speech.pcm import Audio, concatenate
from speech.vad import iter_regions
from speech.world import PERIOD, RATE, Voiceprint, analyse

#: Of the layout of `to_bytes` and of what the numbers mean; features of another version
#: are computed again.
VERSION = 1
#: Less voiced speech than this gives no statistics worth the name, seconds.
LEAST_VOICED = 0.5
#: The longest stretch of speech that is looked at, seconds.
LONGEST = 30.0
#: Level at which speech is looked at, dBFS.
LEVEL_DB = -23.0
#: Voiced frames that are kept: 10 s of speech hold a thousand, and 5 ms apart they are alike.
MOST_SOUNDS = 800
#: Frames this far below the loudest are silence or room, dB.
VOICED_DEPTH = 35.0
UNVOICED_DEPTH = 45.0
#: Pitch that lies further from the median than this is a mistake of the tracker, octaves.
PITCH_REACH = 0.9
#: Share of the bandwidth that is used; the rest is the slope of a filter.
USABLE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Timbre:
    """A voice as numbers; decibels are of power in a band.

    Attributes:
        pitch: Median of the natural logarithm of pitch in Hz.
        spread: Standard deviation of the same, robustly taken.
        voiced: float64 `[BANDS]`, mean spectrum of voiced sounds, dB over the level of
            the frame.
        covariance: float64 `[BANDS, BANDS]`, how that spectrum varies, dB squared.
        sounds: float64 `[n, BANDS]`, spectra of single voiced frames, at most `MOST_SOUNDS`,
            dB over the level of the frame.
        unvoiced: float64 `[BANDS]`, mean spectrum of the other sounds, dB over the level of
            the frame.
        bandwidth: Up to where the recording has anything, Hz.
        seconds: Voiced speech that was found.
    """

    pitch: float
    spread: float
    voiced: Bands
    covariance: Bands
    sounds: Bands
    unvoiced: Bands
    bandwidth: float
    seconds: float

    def to_bytes(self) -> bytes:
        """As a file of plain arrays."""
        target = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _SHAPES}
        arrays["sounds"] = self.sounds.astype(np.float16)
        np.savez(target, version=VERSION, **arrays)
        return target.getvalue()

    @staticmethod
    def from_bytes(content: bytes) -> "Timbre":
        """What `to_bytes` made.

        Raises:
            InputError: If it is damaged or of another version.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                if int(arrays["version"]) != VERSION:
                    raise InputError(_ANOTHER_VERSION)
                fields = {name: _checked(arrays[name], shape) for name, shape in _SHAPES.items()}
        except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(
                "These features of a voice are damaged. Compute them again."
            ) from error
        numbers = {
            name: float(fields[name]) for name in ("pitch", "spread", "bandwidth", "seconds")
        }
        return Timbre(
            **numbers,
            voiced=fields["voiced"],
            covariance=fields["covariance"],
            sounds=fields["sounds"],
            unvoiced=fields["unvoiced"],
        )


#: In a shape: at least one, and no more than `MOST_SOUNDS`.
ANY = -1

_SHAPES: dict[str, tuple[int, ...]] = {
    "pitch": (),
    "spread": (),
    "voiced": (BANDS,),
    "covariance": (BANDS, BANDS),
    "sounds": (ANY, BANDS),
    "unvoiced": (BANDS,),
    "bandwidth": (),
    "seconds": (),
}
_DAMAGED = "These features of a voice are damaged. Compute them again."
_ANOTHER_VERSION = "These features of a voice are of another version. Compute them again."


def measure(audio: Audio) -> Timbre:
    """Take the timbre of a voice from its speech.

    Args:
        audio: One voice, any rate; 3 s will do, 10 to 15 s are better, and no more than
            30 s of speech are looked at.

    Raises:
        InputError: If there is too little voiced speech in it.
    """
    spoken = _speech(audio)
    return of(analyse(spoken, careful=True), bandwidth(spoken))


def of(print_: Voiceprint, highest: float) -> Timbre:
    """The timbre of a signal that was taken apart.

    Args:
        print_: Speech without its pauses.
        highest: Up to where the recording has anything, Hz.

    Raises:
        InputError: If there is too little voiced speech in it.
    """
    spectrum = to_bands(print_.envelope)
    level = 10 * np.log10(print_.envelope.mean(axis=1))
    loudest = np.percentile(level, 95)
    voiced = print_.voiced & (level > loudest - VOICED_DEPTH)
    logs = np.log(np.where(voiced, print_.pitch, 1.0))
    if voiced.any():
        voiced &= np.abs(logs - np.median(logs[voiced])) < PITCH_REACH * np.log(2)
    seconds = float(voiced.sum() * PERIOD)
    if seconds < LEAST_VOICED:
        raise InputError(
            f"Only {duration_text(seconds)} of this clip are voiced speech, too little to take "
            "a voice from. Give me a longer or clearer recording of somebody speaking."
        )
    unvoiced = ~print_.voiced & (level > loudest - UNVOICED_DEPTH)
    shapes = level_free(spectrum[voiced])
    quiet = level_free(spectrum[unvoiced]) if unvoiced.any() else shapes
    low, middle, high = np.percentile(logs[voiced], [16, 50, 84])
    return Timbre(
        pitch=float(middle),
        spread=float((high - low) / 2),
        voiced=shapes.mean(axis=0),
        covariance=np.cov(shapes.T),
        # Stored in half precision, so taken in half precision: what is kept is what was used.
        sounds=_evenly(shapes, MOST_SOUNDS).astype(np.float16).astype(np.float64),
        unvoiced=quiet.mean(axis=0),
        bandwidth=min(highest, RATE / 2) * USABLE,
        seconds=seconds,
    )


def _speech(audio: Audio) -> Audio:
    """The stretches of speech, up to `LONGEST` seconds of them."""
    parts: list[Audio] = []
    room = round(LONGEST * audio.rate)
    for region in iter_regions(audio):
        start, end = (round(second * audio.rate) for second in region)
        parts.append(Audio(audio.samples[start : min(end, start + room)], audio.rate))
        room -= len(parts[-1])
        if room <= 0:
            break
    return _at_level(concatenate(parts)) if parts else Audio(audio.samples[:0], audio.rate)


def _at_level(audio: Audio) -> Audio:
    """At `LEVEL_DB`: WORLD adds a little noise of its own, which must not depend on the level."""
    return Audio(
        audio.samples * np.float32(10 ** ((LEVEL_DB - level_db(audio.samples)) / 20)), audio.rate
    )


def _checked(array: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    rows = min(len(array), MOST_SOUNDS) if ANY in shape else ANY
    if array.shape != tuple(rows if side == ANY else side for side in shape) or not rows:
        raise ValueError("not the shape that was stored")
    if not np.isfinite(array).all():
        raise ValueError("not numbers")
    return array.astype(np.float64)


def _evenly(rows: Bands, most: int) -> Bands:
    """At most so many rows, spread evenly."""
    found: Bands = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)]
    return found
