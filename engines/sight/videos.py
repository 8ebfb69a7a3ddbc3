"""A video file as moments that an engine can look at."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pillow

from engines.base import Cancel
from engines.images import Image
from engines.sight.decoding import Pixels, decoded, is_turned
from engines.sight.decord_decoding import decoded_by_decord, has_decord
from engines.sight.given import opened
from engines.sight.picking import USUAL, Stretch, pick, shown_at
from engines.sight.pictures import jpeg
from engines.sight.track import DAMAGED, Track, Watched, read_track
from errors import InputError, ParleyError
from speech.names import safe_name

logger = logging.getLogger(__name__)

#: Longer side of a frame, pixels: its shorter one is then at least what models cut out, 448.
LONGEST = 896
#: Of its JPEG: at so many pixels nobody sees the difference.
QUALITY = 87
#: Longest time that reading a video may take, seconds.
PATIENCE = 90.0


@dataclass(frozen=True, slots=True)
class Moment:
    """What is seen at one moment of a video; `seconds` after its first picture."""

    seconds: float
    image: Image


@dataclass(frozen=True, slots=True)
class Film:
    """Moments of a video.

    Attributes:
        name: Of the file, safe to show.
        seconds: Duration of the whole video.
        begin: Of the part that was looked at, seconds.
        end: Likewise.
        moments: Oldest first, at least one.
        notes: What the person should know about it, sentences.
    """

    name: str
    seconds: float
    begin: float
    end: float
    moments: tuple[Moment, ...]
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> tuple[Image, ...]:
        """What a `Turn` takes."""
        return tuple(moment.image for moment in self.moments)


def read_video(
    path: str | Path,
    stretch: Stretch = Stretch(),
    most: int = USUAL,
    *,
    cancel: Cancel,
    on_moment: Callable[[int, int], None] = lambda done, of: None,
    most_bytes: int = 200_000_000,
    setting: str = "PARLEY_MAX_UPLOAD",
    patience: float = PATIENCE,
) -> Film:
    """Look at a video: one picture a second, thinned out evenly if that is too many.

    By time stamps, so a variable rate is no matter; upright, scaled down. In memory are the
    moments that were picked, as JPEG, and one picture that is being decoded.

    Args:
        path: mp4, mov, webm, avi; the content decides, not the suffix.
        stretch: The part to look at.
        most: How many moments, 1 to 64.
        cancel: Stops it.
        on_moment: Told how many moments are there, and of how many.
        most_bytes: Largest file, bytes.
        setting: What `most_bytes` is called, for the message.
        patience: Longest time it may take, seconds.

    Raises:
        InputError: If it is no video, too large, damaged beyond use, or takes too long; says
            what to do.
        CancelledError: If `cancel` was set.
    """
    path = Path(path)
    name = safe_name(path.name, "video")
    with opened(path, most_bytes, setting) as raw:
        file = Watched(raw, cancel, patience)
        try:
            track = read_track(file)
            begin, end = stretch.within(track.seconds)
            wanted = shown_at(track.times, pick(begin, end, most))
            notes = list(track.notes)
            moments = []
            on_moment(0, len(wanted))
            pictures = _pictures(path, file, track, wanted, notes)
            for number, pixels in zip(wanted, pictures, strict=True):
                image = Image(jpeg(Pillow.fromarray(pixels), QUALITY))
                moments.append(Moment(float(track.times[number]), image))
                on_moment(len(moments), len(wanted))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    return Film(name, track.seconds, begin, end, tuple(moments), tuple(dict.fromkeys(notes)))


def _pictures(
    path: Path, file: Watched, track: Track, wanted: Sequence[int], notes: list[str]
) -> Iterator[Pixels]:
    """The wanted pictures from whatever can decode them here; what went wrong goes to `notes`."""
    size = _size(track)
    done = 0
    # Some versions of decord turn what was filmed upright themselves, and some do not.
    if has_decord() and not track.notes and not is_turned(file):
        try:
            for pixels in decoded_by_decord(path, file, track, wanted, size):
                yield pixels
                done += 1
            return
        except ParleyError:
            raise
        except Exception as error:  # noqa: BLE001  (of its own making; PyAV reads more than it does)
            logger.info("decord cannot read this video: %s", error)
    yield from decoded(file, track, wanted[done:], size, lambda: notes.append(DAMAGED))


def _size(track: Track) -> tuple[int, int]:
    """Width and height to which the stored pictures are scaled, before they are turned."""
    width, height = track.width * track.stretched, float(track.height)
    scale = min(1.0, LONGEST / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
