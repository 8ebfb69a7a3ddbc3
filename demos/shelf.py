"""What goes with the next message: pictures, and moments of a video, with their thumbnails."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from io import BytesIO

from PIL import Image as Pillow

from demos.clips import served
from demos.clone_words import shown
from engines.images import Image
from engines.sight.picking import Stretch, clock
from engines.sight.pictures import Picture, jpeg
from engines.sight.videos import Film

#: Longer side of a thumbnail, pixels: sharp where a screen has two to a point.
THUMB = 320
THUMB_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Thing:
    """A picture, or a video of which moments are shown.

    Attributes:
        name: Of the file.
        images: As the engine is given them.
        thumbs: Where their thumbnails lie.
        notes: What the person should know about it.
        moments: Of a video: seconds of each image.
        path: Of a video: where it lies, to be looked at anew.
        stretch: Of a video: the part that was looked at, as it was asked for.
        most: Of a video: how many moments were asked for.
        seconds: Of a video: its duration.
        key: Tells it from others.
    """

    name: str
    images: tuple[Image, ...]
    thumbs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    moments: tuple[float, ...] = ()
    path: str = ""
    stretch: Stretch = field(default_factory=Stretch)
    most: int = 0
    seconds: float = 0.0
    key: str = field(default_factory=lambda: secrets.token_hex(4))

    @classmethod
    def of_picture(cls, picture: Picture, files: set[str]) -> "Thing":
        """A picture; its thumbnail is added to `files`, which Gradio cleans up."""
        thumbs = _thumbs([picture.image], files)
        return cls(picture.name, (picture.image,), thumbs, picture.notes)

    @classmethod
    def of_film(
        cls, film: Film, path: str, stretch: Stretch, most: int, files: set[str]
    ) -> "Thing":
        """A video that lies at `path`; its thumbnails are added to `files`."""
        return cls(
            film.name,
            film.frames,
            _thumbs(film.frames, files),
            film.notes,
            tuple(moment.seconds for moment in film.moments),
            path,
            stretch,
            most,
            film.seconds,
        )


@dataclass(frozen=True, slots=True)
class Shelf:
    """All that goes with the next message, in the order in which it was given."""

    things: tuple[Thing, ...] = ()

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures, as a `Turn` takes them."""
        return tuple(image for thing in self.things if not thing.moments for image in thing.images)

    @property
    def frames(self) -> tuple[Image, ...]:
        """The moments of the video, as a `Turn` takes them."""
        return self.film.images if self.film else ()

    @property
    def film(self) -> Thing | None:
        """The video, if there is one."""
        return next((thing for thing in self.things if thing.moments), None)

    def with_(self, thing: Thing) -> "Shelf":
        """With one more; a video takes the place of the one before."""
        kept = [one for one in self.things if not (thing.moments and one.moments)]
        return replace(self, things=(*kept, thing))

    def without(self, key: str) -> "Shelf":
        """Without one."""
        return replace(self, things=tuple(one for one in self.things if one.key != key))


def drawn(shelf: Shelf, notices: Iterable[str] = (), reading: str = "") -> str:
    """The shelf as HTML, with a button to take each thing away.

    Args:
        shelf: What is on it.
        notices: What went wrong, or should be known, sentences.
        reading: What is being read, and how far that is.
    """
    parts = []
    if shelf.things:
        # While a video is read nothing is taken away: what comes of it joins what is here now.
        things = "".join(
            f"<li>{_figures(one)}{'' if reading else _remove(one)}</li>" for one in shelf.things
        )
        parts.append(
            f'<ul class="seen-shelf" aria-label="Goes with the next message">{things}</ul>'
        )
    if reading:
        parts.append(
            f'<p class="parley-waiting" role="status">{shown(reading)} '
            '<button type="button" class="voice-button" data-action="stop">'
            "Stop reading</button></p>"
        )
    noted = [f"{one.name}: {note}" for one in shelf.things for note in one.notes]
    for notice in dict.fromkeys((*notices, *noted)):
        parts.append(f'<p class="seen-notice" role="status">{shown(notice)}</p>')
    return "".join(parts)


def in_dialogue(things: tuple[Thing, ...]) -> str:
    """What was shown with a message, as HTML for the dialogue."""
    return "".join(f'<div class="seen-things">{_figures(one)}</div>' for one in things)


def _figures(thing: Thing) -> str:
    name = shown(thing.name)
    captions = [clock(moment) for moment in thing.moments] or [name]
    figures = "".join(
        # Relative, so that it also works behind a proxy that adds a path.
        f'<figure><img src="gradio_api/file={shown(path)}" '
        f'alt="{name if not thing.moments else f"{name} at {caption}"}">'
        f"<figcaption>{caption}</figcaption></figure>"
        for path, caption in zip(thing.thumbs, captions, strict=True)
    )
    if not thing.moments:
        return figures
    count = len(thing.moments)
    words = f"{count} {'frame' if count == 1 else 'frames'} of {clock(thing.seconds)}"
    return (
        f'<div class="seen-film"><p class="seen-name">{name} <span>{words}</span></p>'
        f'<div class="seen-strip" tabindex="0" role="group" aria-label="Frames of {name}">'
        f"{figures}</div></div>"
    )


def _remove(thing: Thing) -> str:
    return (
        f'<button type="button" class="voice-button" data-action="remove" data-key="{thing.key}" '
        f'aria-label="Remove {shown(thing.name)}">Remove</button>'
    )


def _thumbs(images: Iterable[Image], files: set[str]) -> tuple[str, ...]:
    paths = []
    for image in images:
        path = served("seen.jpg")
        with Pillow.open(BytesIO(image.data)) as picture:
            picture.draft("RGB", (THUMB, THUMB))
            picture.thumbnail((THUMB, THUMB))
            path.write_bytes(jpeg(picture.convert("RGB"), THUMB_QUALITY))
        files.add(str(path))
        paths.append(str(path))
    return tuple(paths)
