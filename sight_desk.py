"""What people show: files of theirs within the limits, as engines take them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.base import Cancel
from engines.images import Image
from engines.sight.picking import USUAL, Stretch
from engines.sight.pictures import Picture, read_picture
from engines.sight.videos import Film, read_video
from errors import InputError
from settings import Settings
from turnstile import Turnstile

#: Pictures that go with one question: as many as a live conversation keeps.
MOST_PICTURES = 16
#: Videos that are read at once: one of 8K takes a gigabyte.
AT_ONCE = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """What goes with a question.

    Attributes:
        images: Pictures, in the order given.
        frames: Of the video, oldest first.
        notes: What the person should know about them, sentences.
    """

    images: tuple[Image, ...] = ()
    frames: tuple[Image, ...] = ()
    notes: tuple[str, ...] = ()


class Sight:
    """Reads pictures and videos.

    Args:
        settings: Has the limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._most_bytes = settings.max_upload
        self._readers = Turnstile(AT_ONCE, settings.max_queue)

    def picture(self, source: str | Path) -> Picture:
        """Read a picture: JPEG, PNG, WebP.

        Raises:
            InputError: If it cannot be used; the message says what to do.
        """
        return read_picture(source, self._most_bytes)

    def film(
        self,
        source: str | Path,
        stretch: Stretch = Stretch(),
        most: int = USUAL,
        *,
        cancel: Cancel,
        on_moment: Callable[[int, int], None] = lambda done, of: None,
    ) -> Film:
        """Read moments of a video (mp4, mov, webm, avi), when it is one's turn.

        Args:
            source: The file.
            stretch: The part to look at.
            most: How many moments.
            cancel: Ends the wait and the work.
            on_moment: Told how many moments are there, and of how many.

        Raises:
            InputError: If it cannot be used; the message says what to do.
            BusyError: If too many wait already.
            CancelledError: If `cancel` was set.
        """
        with self._readers.enter(cancel):
            return read_video(
                source,
                stretch,
                most,
                cancel=cancel,
                on_moment=on_moment,
                most_bytes=self._most_bytes,
            )

    def gather(
        self,
        pictures: Sequence[str | Path] = (),
        video: str | Path | None = None,
        stretch: Stretch = Stretch(),
        most: int = USUAL,
        *,
        cancel: Cancel,
    ) -> Seen:
        """Read all that goes with a question; see `picture` and `film`.

        Raises:
            InputError: If one of them cannot be used, or there are too many.
        """
        check_number(len(pictures))
        read = [self.picture(path) for path in pictures]
        notes = [f"{picture.name}: {note}" for picture in read for note in picture.notes]
        if video is None:
            return Seen(tuple(picture.image for picture in read), (), tuple(notes))
        film = self.film(video, stretch, most, cancel=cancel)
        notes += [f"{film.name}: {note}" for note in film.notes]
        return Seen(tuple(picture.image for picture in read), film.frames, tuple(notes))


def check_number(pictures: int) -> None:
    """Raise `InputError` if these are too many pictures for one question."""
    if pictures > MOST_PICTURES:
        raise InputError(
            f"At most {MOST_PICTURES} pictures go with one question, not {pictures}. "
            "Ask about the others with the next ones."
        )
