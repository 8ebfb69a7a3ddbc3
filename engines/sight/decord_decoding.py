"""Chosen pictures of a video, decoded by decord, where that is installed.

decord is faster where many pictures of a long video are wanted, and what the models here were
trained with. It knows no cancel, and can hang on damaged files: it is given sound ones only, and
is asked for one picture at a time.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from engines.sight.decoding import Pixels
from engines.sight.track import Track, Watched


def has_decord() -> bool:
    """Whether decord is installed."""
    return find_spec("decord") is not None


def decoded_by_decord(
    path: Path, file: Watched, track: Track, wanted: Sequence[int], size: tuple[int, int]
) -> Iterator[Pixels]:
    """Decode pictures of a video; see `engines.sight.decoding.decoded`.

    Args:
        path: The file.
        file: The same, asked whether to go on.
        track: What is in it.
        wanted: Which pictures, as numbers into `track.times`, ascending.
        size: Width and height to which they are scaled, before they are turned.

    Raises:
        Exception: Of decord's own, if it cannot read this file.
    """
    from decord import VideoReader  # noqa: PLC0415  (only where it is installed)

    width, height = size
    reader = VideoReader(str(path), width=width, height=height, num_threads=1)
    times = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0]
    times = times - times[0]
    for number in wanted:
        file.check()
        nearest = int(np.argmin(np.abs(times - track.times[number])))
        yield reader[nearest].asnumpy()
