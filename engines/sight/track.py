"""What is in a video file: its pictures' times and sizes, found by reading all of it once.

Headers are not believed: recordings of browsers name no duration, cut files name one that is
not there, and an average rate says nothing of a variable one. Reading the packets without
decoding them takes a fraction of a second and tells the truth.
"""

import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from engines.base import Cancel
from errors import InputError
from speech.level import duration_text

#: The containers FFmpeg may open: mp4, mov and their kin, webm and mkv, avi. Naming them keeps
#: out its playlist formats, which would let an uploaded text read other files or addresses.
CONTAINERS = "mov,matroska,webm,avi"
#: 8K. One picture takes 50 MB, and a decoder keeps up to 17.
MOST_PIXELS = 7680 * 4320
#: Pictures of a video at most: ten hours at 60 a second.
MOST_PICTURES = 2_200_000
#: The cover of a song is stored as a video of one picture.
COVER = av.stream.Disposition.attached_pic
DAMAGED = "Parts of this video are damaged; I left them out."
#: How much longer a header may say that a video is before that is worth a note, seconds.
MISSING = 0.5


class Watched:
    """A file that is read only as long as somebody wants it, and no longer than it may take.

    FFmpeg asks for more of a file wherever it goes on, so this is where all of it can be stopped.

    Args:
        file: Open, at its start.
        cancel: Ends the reading.
        limit: Longest time for all of it, seconds.
    """

    def __init__(self, file: FileIO, cancel: Cancel, limit: float) -> None:
        self._file = file
        self._cancel = cancel
        self._limit = limit
        self._end = time.monotonic() + limit

    def check(self) -> None:
        """Raise if it is to stop.

        Raises:
            CancelledError: If somebody said so.
            InputError: If it takes too long.
        """
        self._cancel.check()
        if time.monotonic() > self._end:
            raise InputError(
                f"Reading this video took more than {duration_text(self._limit)}. "
                "Choose a shorter part of it or fewer frames, or send a smaller video."
            )

    def read(self, size: int = -1) -> bytes:
        """As a file's, and so on."""
        self.check()
        return self._file.read(size) or b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file's."""
        self.check()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As a file's."""
        return self._file.tell()


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """The pictures of a video.

    Attributes:
        times: When each appears, ascending, seconds after the first; float64 `[n]`.
        begins: Where decoding can begin: numbers of packets, in the order of the file; int64 `[k]`.
        begin_times: When their pictures appear, as in `times`; float64 `[k]`.
        origin: Time stamp of the first picture, seconds.
        seconds: From the first picture to the end of the last one.
        width: Pixels, as they are stored.
        height: Likewise.
        stretched: How much wider than stored a pixel is shown.
        sound: The file has a sound track, too.
        notes: What is wrong with it, sentences.
    """

    times: NDArray[np.float64]
    begins: NDArray[np.int64]
    begin_times: NDArray[np.float64]
    origin: float
    seconds: float
    width: int
    height: int
    stretched: float
    sound: bool
    notes: tuple[str, ...]


def read_track(file: Watched) -> Track:
    """Find out what is in a file.

    Raises:
        InputError: If it is no video, has no picture, or one that is too large.
        CancelledError: If that was wished.
    """
    with open_video(file) as (container, stream):
        if stream.width * stream.height > MOST_PIXELS:
            raise InputError(
                f"This video has {stream.width} x {stream.height} pixels; the limit is 8K "
                "(7680 x 4320). Send it in a smaller size."
            )
        found = _Found()
        for packet in packets(container, stream, found.damage):
            file.check()
            found.add(packet)
        promised = _promised(container, stream)
        stretched = float(stream.sample_aspect_ratio or 1)
        return found.track(
            stream.width, stream.height, stretched, promised, sound=bool(container.streams.audio)
        )


@contextmanager
def open_video(file: Watched) -> Iterator[tuple[Any, Any]]:
    """Open a file from its start: FFmpeg's container, and its stream of pictures.

    Raises:
        InputError: If there is none.
    """
    file.seek(0)
    try:
        container = av.open(file, mode="r", options={"format_whitelist": CONTAINERS})
    except (av.FFmpegError, ValueError, OSError) as error:
        raise InputError(
            "This is no video that I can read, or it is damaged. Send mp4, mov, webm or avi."
        ) from error
    with container:
        films = [one for one in container.streams.video if not one.disposition & COVER]
        if not films:
            raise InputError("There are no pictures in this file. If it is sound, send it as such.")
        film = films[0]
        if film.codec_context is None:
            raise InputError("This video is in a format that I cannot decode. Convert it to mp4.")
        for other in container.streams:
            if other is not film:
                other.discard = av.stream.Discard.all
        # One thread: several of 8K would take a gigabyte each.
        film.codec_context.thread_count = 1
        yield container, film


def packets(container: Any, stream: Any, on_damage: Callable[[], None]) -> Iterator[Any]:
    """The packets of a stream; the last one is empty, and makes a decoder give what it keeps."""
    damaged = 0
    reading = container.demux(stream)
    while True:
        try:
            packet = next(reading, None)
        except (av.FFmpegError, OSError):
            on_damage()
            return
        if packet is None:
            return
        if packet.is_corrupt:
            damaged += 1
            on_damage()
        yield packet


def time_of(stamped: Any, time_base: Any) -> float | None:
    """When a packet or a picture is due, seconds by its own clock; None where it does not say."""
    stamp = stamped.pts if stamped.pts is not None else stamped.dts
    return None if stamp is None else float(stamp * time_base)


@dataclass
class _Found:
    """What the packets told so far."""

    damaged: int = 0
    seen: int = 0
    times: "array[float]" = field(default_factory=lambda: array("d"))
    lasting: "array[float]" = field(default_factory=lambda: array("d"))
    begins: "array[int]" = field(default_factory=lambda: array("q"))
    begin_times: "array[float]" = field(default_factory=lambda: array("d"))

    def damage(self) -> None:
        self.damaged += 1

    def add(self, packet: Any) -> None:
        number = self.seen
        self.seen += 1
        due = time_of(packet, packet.time_base)
        if packet.size == 0 or due is None:
            return
        if packet.is_keyframe:
            self.begins.append(number)
            self.begin_times.append(due)
        if packet.is_discard:  # Decoded because others need it, but never shown.
            return
        self.times.append(due)
        self.lasting.append(float((packet.duration or 0) * packet.time_base))
        if len(self.times) > MOST_PICTURES:
            raise InputError(
                f"This video has more than {MOST_PICTURES:,} pictures. Cut it into parts."
            )

    def track(
        self, width: int, height: int, stretched: float, promised: float | None, *, sound: bool
    ) -> Track:
        if not self.times or not self.begins:
            raise InputError(
                "There is not one whole picture in this video. It may have been cut off while "
                "it was sent: send it again."
            )
        order = np.argsort(self.times, kind="stable")
        times = np.asarray(self.times)[order]
        last = self.lasting[int(order[-1])] or _usual_distance(times)
        origin = float(times[0])
        seconds = float(times[-1] - origin + last)
        notes = []
        if self.damaged:
            notes.append(DAMAGED)
        if promised is not None and promised - seconds > MISSING:
            notes.append(
                f"It ends early: {duration_text(seconds)} of {duration_text(promised)} are there."
            )
        begin_times = np.asarray(self.begin_times) - origin
        return Track(
            times - origin,
            np.asarray(self.begins, np.int64),
            begin_times,
            origin,
            seconds,
            width,
            height,
            stretched if 0 < stretched < np.inf else 1.0,
            sound,
            tuple(notes),
        )


def _usual_distance(times: NDArray[np.float64]) -> float:
    """Between two pictures, seconds; of a single one there is no telling."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.04


def _promised(container: Any, stream: Any) -> float | None:
    """How long the pictures last by the header, seconds."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return None if container.streams.audio or not container.duration else container.duration / 1e6
