"""Pictures as people have them, made into what engines take.

A file goes as it is if it is a plain JPEG or PNG of a size that models look at. Else it is
written anew: upright, in RGB, without what is transparent, moving or CMYK, and without what a
phone writes beside the picture (place and time), which is nobody's business on a server.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from engines.images import MOST_BYTES, Image
from engines.sight.given import opened
from errors import InputError
from speech.names import safe_name

KINDS = ("JPEG", "PNG", "WEBP")
#: How videos begin: at which byte, with what (mp4 and mov, webm, avi); and how they are called.
FILMS = (
    (4, b"ftyp"),
    (4, b"moov"),
    (4, b"mdat"),
    (4, b"wide"),
    (0, b"\x1aE\xdf\xa3"),
    (8, b"AVI "),
)
FILM_SUFFIXES = {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi"}
#: The largest sensors of phones have 50 million; unpacked, this is a quarter of a gigabyte.
MOST_PIXELS = 64_000_000
#: Longer side of what is given to an engine, pixels; models that see scale down further.
LONGEST = 2048
#: Of a JPEG that is written anew: the eye finds no difference.
QUALITY = 92


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that can be shown to an engine.

    Attributes:
        image: As the engine is given it.
        name: Of the file, safe to show.
        notes: What the person should know about it, sentences.
    """

    image: Image
    name: str
    notes: tuple[str, ...] = ()


def read_picture(
    path: str | Path, most_bytes: int = 200_000_000, setting: str = "PARLEY_MAX_UPLOAD"
) -> Picture:
    """Read a JPEG, PNG or WebP file; the content decides, not the suffix.

    Args:
        path: The file.
        most_bytes: Its largest size, bytes.
        setting: What `most_bytes` is called, for the message.

    Raises:
        InputError: If it is none of them, damaged, or too large; says what to do.
    """
    path = Path(path)
    name = safe_name(path.name, "picture")
    with opened(path, most_bytes, setting) as file:
        data = file.readall()
    try:
        with Pillow.open(BytesIO(data), formats=KINDS) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise _too_large(f"{width} x {height}")
            notes = _notes(picture)
            if not notes and _is_plain(picture, data):
                return Picture(Image(data), name)
            image = Image(_anew(picture))
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name} is no picture that I can read. Send a JPEG, PNG or WebP file."
        ) from error
    except (InputError, Pillow.DecompressionBombError) as error:
        told = error if isinstance(error, InputError) else _too_large("far too many")
        raise InputError(f"{name}: {told}") from error
    except Exception as error:  # Pillow raises all kinds on damaged files.
        raise InputError(f"{name} is damaged or incomplete. Send it again.") from error
    if max(width, height) > LONGEST:
        notes += (f"It was scaled from {width} x {height} to {image.width} x {image.height}.",)
    return Picture(image, name, notes)


def is_video(path: str | Path) -> bool:
    """Whether a file is to be taken for a video: it begins like one, or is called one."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(12)
    except OSError:
        head = b""
    begins = any(head[at : at + len(mark)] == mark for at, mark in FILMS)
    return begins or (Path(path).suffix.lower() in FILM_SUFFIXES and not _is_picture(head))


def jpeg(pixels: Pillow.Image, quality: int = QUALITY) -> bytes:
    """Pixels in RGB as a JPEG file."""
    file = BytesIO()
    pixels.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _is_picture(head: bytes) -> bool:
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG")) or head[8:12] == b"WEBP"


def _too_large(size: str) -> InputError:
    return InputError(
        f"This picture has {size} pixels; the limit is {MOST_PIXELS // 10**6} million in all. "
        "Make it smaller."
    )


def _notes(picture: Pillow.Image) -> tuple[str, ...]:
    frames = getattr(picture, "n_frames", 1)
    # The second picture of an MPO is no movement, but the same seen otherwise.
    if frames > 1 and picture.format in ("PNG", "WEBP"):
        return (f"It moves: of its {frames} pictures only the first is shown. Send a video.",)
    return ()


def _is_plain(picture: Pillow.Image, data: bytes) -> bool:
    """Whether the file itself can go to an engine."""
    return (
        picture.format in ("JPEG", "PNG")
        and picture.mode in ("L", "RGB")
        and max(picture.size) <= LONGEST
        and len(data) <= MOST_BYTES
        and not picture.has_transparency_data
        and not picture.getexif()
    )


def _anew(picture: Pillow.Image) -> bytes:
    """The first picture of a file as a JPEG: upright, RGB, scaled if need be."""
    # A JPEG is unpacked at a half, a quarter or an eighth of its size where that is enough.
    picture.draft(picture.mode, (LONGEST, LONGEST))
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):
        # 16 bits of grey; as it converts them itself, Pillow cuts instead of scaling.
        upright = Pillow.fromarray((np.asarray(upright).astype(np.uint32) >> 8).astype(np.uint8))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        white = Pillow.new("RGBA", upright.size, "white")
        upright = Pillow.alpha_composite(white, upright)
    upright = upright.convert("RGB")
    upright.thumbnail((LONGEST, LONGEST), Pillow.Resampling.LANCZOS)
    return jpeg(upright)
