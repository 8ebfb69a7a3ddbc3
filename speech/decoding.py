"""Sound files of any kind as a stream of blocks."""

import os
from collections.abc import Iterator
from io import FileIO

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from errors import InputError
from speech.level import duration_text
from speech.mixdown import as_float

#: float32 `[n, channels]` and its rate in Hz.
Block = tuple[NDArray[np.float32], int]

#: Frames read at once: 8 channels of float32 are 2 MB.
BLOCK_FRAMES = 65_536
#: The containers FFmpeg may open. Naming them keeps out its playlist formats
#: (HLS, concat), which would let an uploaded text read other files or URLs.
CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,"
    "ogg,tta,w64,wav,webm,wv"
)
#: A WAV data size from here up means "unknown": the header was written to a pipe.
STREAMED_SIZE = 0x7FFFF000
#: An ending this much before the promised one is worth a note, seconds.
MISSING_SECONDS = 0.1


class Decoder:
    """Decodes one file, soundfile first, FFmpeg for what it cannot read.

    The content decides, never the suffix.

    Attributes:
        seconds: Duration by the header; None where there is no telling.
        notes: What was wrong with the file; complete once `blocks` is exhausted.

    Args:
        file: An open file on disk, at its start; unbuffered, as libsndfile shares its position.

    Raises:
        InputError: If it is no sound file, or a video without sound.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.notes: list[str] = []
        self.seconds: float | None = None
        self._sound: soundfile.SoundFile | None = None
        self._container: av.container.InputContainer | None = None
        try:
            # By descriptor: by name, libsndfile would trust the suffix ".raw".
            self._sound = soundfile.SoundFile(file.fileno(), closefd=False)
            self.seconds = self._sound.frames / self._sound.samplerate
        except soundfile.LibsndfileError:
            file.seek(0)
            self._open_container()

    def blocks(self) -> Iterator[Block]:
        """The samples from the start; what cannot be decoded is left out and noted."""
        blocks = self._sound_blocks() if self._sound else self._container_blocks()
        done = 0.0
        for block, rate in blocks:
            done += len(block) / rate
            yield block, rate
        promised = self.seconds
        if self._sound and self._sound.format in {"WAV", "WAVEX"}:
            promised = _promised_seconds(self._file, done)
        if done and promised and promised - done > MISSING_SECONDS:
            self.notes.append(
                f"The file ends early: {duration_text(done)} of {duration_text(promised)} is there."
            )

    def close(self) -> None:
        """Let go of the decoder; the file stays open."""
        if self._sound:
            self._sound.close()
        if self._container:
            self._container.close()

    def _open_container(self) -> None:
        try:
            container = av.open(self._file, options={"format_whitelist": CONTAINERS})
        except (av.FFmpegError, ValueError, OSError) as error:
            raise InputError(
                "This is not a sound file I can read. Try wav, flac, mp3, ogg, m4a or webm."
            ) from error
        if not container.streams.audio:
            container.close()
            raise InputError("This file has no audio track. Send one with sound.")
        self._container = container
        sound = container.streams.audio[0]
        if sound.duration and sound.time_base:
            self.seconds = float(sound.duration * sound.time_base)
        elif container.duration:  # A WebM recorded in a browser has neither.
            self.seconds = container.duration / av.time_base

    def _sound_blocks(self) -> Iterator[Block]:
        assert self._sound is not None
        read = 0
        while True:
            try:
                block = self._sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                # It gives nothing of a block with damage in it; FFmpeg gives the rest.
                yield from self._container_blocks_after(read)
                return
            if not len(block):
                return
            read += len(block)
            yield block, self._sound.samplerate

    def _container_blocks_after(self, frames: int) -> Iterator[Block]:
        self.notes.append("Parts of the file are damaged; I read what I could.")
        self._file.seek(0)
        self._open_container()
        for block, rate in self._container_blocks():
            if frames < len(block):
                yield block[frames:], rate
            frames = max(0, frames - len(block))

    def _container_blocks(self) -> Iterator[Block]:
        assert self._container is not None
        damaged = 0
        try:
            for packet in self._container.demux(self._container.streams.audio[0]):
                try:
                    frames = packet.decode()
                except (av.FFmpegError, ValueError):
                    damaged += 1
                    continue
                for frame in frames:
                    yield _frame_samples(frame), frame.sample_rate
        except (av.FFmpegError, OSError):
            damaged += 1
        if damaged and not self._sound:
            self.notes.append("Parts of the file are damaged; I left them out.")


def _frame_samples(frame: "av.AudioFrame") -> NDArray[np.float32]:
    """A decoded frame as float32 `[n, channels]`."""
    channels = frame.layout.nb_channels
    samples = as_float(frame.to_ndarray())
    return samples.T.copy() if frame.format.is_planar else samples.reshape(-1, channels)


def _promised_seconds(file: FileIO, found: float) -> float | None:
    """Duration a RIFF header promises, given what was found; None where it does not say.

    libsndfile corrects the size of a cut file silently, so the header is read
    again here (RIFF: a tag, a 32-bit little-endian size, the data, an even end).
    """
    end = os.fstat(file.fileno()).st_size
    at = 12
    while at + 8 <= end:
        file.seek(at)
        head = file.read(8)
        tag, size = head[:4], int.from_bytes(head[4:], "little")
        at += 8
        if tag == b"data":
            there = end - at
            known = there > 0 and size < STREAMED_SIZE
            return found * size / there if known and size > there else found
        at += size + size % 2
    return None
