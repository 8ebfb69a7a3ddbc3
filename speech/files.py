"""Sound files and arrays in, checked for a person; WAV files out."""

import io
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from errors import InputError
from speech.decoding import BLOCK_FRAMES, Block, Decoder
from speech.level import duration_text
from speech.mixdown import Mixdown, as_float
from speech.names import safe_name
from speech.pcm import Audio

__all__ = ["Clip", "ClipLimits", "from_samples", "read_clip", "safe_name", "write_wav"]

#: Shorter clips (seconds) cannot hold a word.
SHORTEST = 0.1
#: More channels than this are an array that lies on its side.
MOST_CHANNELS = 64
MEGABYTE = 2**20


@dataclass(frozen=True, slots=True)
class ClipLimits:
    """What is too much.

    Attributes:
        max_bytes: Largest file.
        max_seconds: Longest clip.
        bytes_setting: Name of the setting behind `max_bytes`, for the message.
        seconds_setting: Name of the setting behind `max_seconds`, for the message.
    """

    max_bytes: int = 200 * MEGABYTE
    max_seconds: float = 30 * 60.0
    bytes_setting: str = "PARLEY_MAX_CLIP_BYTES"
    seconds_setting: str = "PARLEY_MAX_CLIP_SECONDS"

    @property
    def too_long(self) -> str:
        """What to do about a clip that is too long."""
        return (
            f"The limit is {duration_text(self.max_seconds)} ({self.seconds_setting});"
            " cut it into parts."
        )

    def check_bytes(self, size: int) -> None:
        """Raise `InputError` if a file is too large."""
        if size > self.max_bytes:
            raise InputError(
                f"This file is {size / MEGABYTE:.0f} MB. The limit is"
                f" {self.max_bytes / MEGABYTE:.0f} MB ({self.bytes_setting});"
                " send a shorter clip, or a compressed one (mp3, ogg)."
            )

    def check_seconds(self, seconds: float | None) -> None:
        """Raise `InputError` if a clip of known duration is too long."""
        if seconds is not None and seconds > self.max_seconds:
            raise InputError(f"This clip is {duration_text(seconds)} long. {self.too_long}")


@dataclass(frozen=True, slots=True)
class Clip:
    """A sound that passed the checks.

    Attributes:
        audio: Mono, at the rate that was asked for.
        notes: What the person should know about it (sentences), worst last.
        name: File name, safe to show and to store under.
    """

    audio: Audio
    notes: tuple[str, ...]
    name: str


def read_clip(path: str | Path, rate: int = 16_000, limits: ClipLimits = ClipLimits()) -> Clip:
    """Read a sound file of any kind, mixed to mono and resampled, in bounded memory.

    Args:
        path: wav, flac, ogg, mp3, m4a, webm, opus, the sound of a video, ...; the
            content decides, not the suffix.
        rate: Sample rate of the result, Hz.
        limits: What is too large or too long.

    Raises:
        InputError: If the file is missing, no sound file, empty, damaged, too
            short, too long or too large; the message says what to do.
    """
    path = Path(path)
    name = safe_name(path.name)
    if path.is_dir():
        raise InputError(f"{name} is a folder. Give me a sound file.")
    if not path.is_file():
        raise InputError(f"There is no file {name}. Check the name, or upload it again.")
    try:
        with path.open("rb", buffering=0) as file:
            size = path.stat().st_size
            if not size:
                raise InputError("This file is empty (0 bytes). Record or export it again.")
            limits.check_bytes(size)
            with closing(Decoder(file)) as decoder:
                limits.check_seconds(decoder.seconds)
                clip = _clip(decoder.blocks(), rate, limits, name)
                return Clip(clip.audio, (*decoder.notes, *clip.notes), clip.name)
    except PermissionError as error:
        raise InputError(f"I may not read {name}. Check its permissions.") from error


def from_samples(
    source_rate: int,
    samples: NDArray[Any],
    *,
    rate: int = 16_000,
    limits: ClipLimits = ClipLimits(),
    name: str = "recording",
) -> Clip:
    """The same checks for samples in memory, as Gradio hands them over.

    Args:
        source_rate: Their rate, Hz.
        samples: uint8, int16, int32 or float `[n]` or `[n, channels]`.
        rate: Sample rate of the result, Hz.
        limits: What is too large or too long.
        name: What to call the clip.

    Raises:
        InputError: If they cannot be used; the message says what to do.
    """
    samples = np.asarray(samples)
    match samples.shape:
        case (_,):
            samples = samples[:, np.newaxis]
        case (_, channels) if channels <= MOST_CHANNELS:
            pass
        case shape:
            raise InputError(f"I need samples of shape [n] or [n, channels], not {shape}.")
    limits.check_bytes(samples.nbytes)
    blocks = (
        (as_float(samples[start : start + BLOCK_FRAMES]), source_rate)
        for start in range(0, len(samples), BLOCK_FRAMES)
    )
    return _clip(blocks, rate, limits, name)


def write_wav(path: str | Path, audio: Audio) -> None:
    """Write a signal as a mono 16-bit PCM WAV file; values beyond full scale are clipped."""
    # Through memory, so that the suffix of `path` is free and a full disk leaves no half header.
    wav = io.BytesIO()
    soundfile.write(wav, audio.pcm16(), audio.rate, format="WAV", subtype="PCM_16")
    Path(path).write_bytes(wav.getbuffer())


def _clip(blocks: Iterable[Block], rate: int, limits: ClipLimits, name: str) -> Clip:
    mixdown = Mixdown(rate, limits.max_seconds, limits.too_long)
    for block, source_rate in blocks:
        mixdown.add(block, source_rate)
    audio, notes = mixdown.finish()
    if audio.seconds < SHORTEST:
        raise InputError(
            f"This clip is only {duration_text(audio.seconds)} long. Record at least a word"
            f" ({duration_text(SHORTEST)})."
        )
    return Clip(audio, notes, safe_name(name))
