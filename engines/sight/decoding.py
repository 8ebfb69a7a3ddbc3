"""Chosen pictures of a video, decoded by PyAV: FFmpeg, in bounded memory, to be stopped anywhere.

Nothing is sought, as not every file can be sought in: the packets are read in order, and those
that no chosen picture needs are left undecoded.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from engines.sight.picking import ROUNDING
from engines.sight.track import Track, Watched, open_video, packets, time_of
from errors import InputError

#: Pixels of one picture: RGB, uint8 `[height, width, 3]`.
Pixels = NDArray[np.uint8]


def decoded(
    file: Watched,
    track: Track,
    wanted: Sequence[int],
    size: tuple[int, int],
    on_damage: Callable[[], None],
) -> Iterator[Pixels]:
    """Decode pictures of a video, upright.

    Of a picture that is damaged, the next one that is not stands in, or the last one there is.

    Args:
        file: The video.
        track: What is in it.
        wanted: Which pictures, as numbers into `track.times`, ascending.
        size: Width and height to which they are scaled, before they are turned.
        on_damage: Called for each piece that could not be decoded.

    Raises:
        InputError: If not one of them can be decoded; or see `Watched`.
        CancelledError: If that was wished.
    """
    with open_video(file) as (container, stream):
        going = _Going(file, track, stream, on_damage)
        pictures = going.through(packets(container, stream, on_damage))
        newest: Any = None
        for number in wanted:
            going.skip_to(number)
            due = track.times[number] - ROUNDING
            while newest is None or _shown(newest, track, stream) < due:
                picture = next(pictures, None)
                if picture is None:
                    break
                newest = picture
            if newest is None:
                raise InputError("Not one picture of this video can be decoded. Convert it to mp4.")
            yield _pixels(newest, size)


def is_turned(file: Watched) -> bool:
    """Whether the container says that the pictures are to be turned."""
    with open_video(file) as (container, stream):
        for packet in packets(container, stream, lambda: None):
            try:
                pictures = packet.decode()
            except (av.FFmpegError, ValueError):
                continue
            if pictures:
                return bool(pictures[0].rotation)
    return False


class _Going:
    """One way through a file, on which what nobody needs is passed over."""

    def __init__(
        self, file: Watched, track: Track, stream: Any, on_damage: Callable[[], None]
    ) -> None:
        self._file = file
        self._track = track
        self._stream = stream
        self._on_damage = on_damage
        self._begin = 0  # Number of the packet from which on they are decoded.
        self._at = 0

    def skip_to(self, number: int) -> None:
        """The next picture that is wanted is this one, so decoding may begin just before it."""
        due = self._track.times[number] + ROUNDING
        before = np.flatnonzero(self._track.begin_times <= due)
        begin = int(self._track.begins[before].max()) if len(before) else 0
        if begin > self._at:
            self._begin = begin

    def through(self, packets: Iterator[Any]) -> Iterator[Any]:
        """The pictures of the packets, from each place to which it was skipped."""
        for packet in packets:
            self._file.check()
            at, self._at = self._at, self._at + 1
            if packet.size and at < self._begin:
                continue
            if at == self._begin and at:
                self._stream.codec_context.flush_buffers()
            try:
                pictures = packet.decode()
            except (av.FFmpegError, ValueError):
                self._on_damage()
                continue
            yield from pictures


def _shown(picture: Any, track: Track, stream: Any) -> float:
    due = time_of(picture, picture.time_base or stream.time_base)
    return np.inf if due is None else due - track.origin


def _pixels(picture: Any, size: tuple[int, int]) -> Pixels:
    """A picture as RGB, turned as the phone was held that made it."""
    width, height = size
    pixels: Pixels = picture.to_ndarray(
        format="rgb24", width=width, height=height, interpolation="AREA"
    )
    # The container tells how far to turn it to the left, degrees.
    return np.ascontiguousarray(np.rot90(pixels, round(picture.rotation / 90) % 4))
