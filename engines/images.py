"""The one type for images inside Parley."""

from dataclasses import dataclass, field
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from errors import InputError

#: A photo of a phone has 2 to 5 million bytes.
MOST_BYTES = 10_000_000
#: 4096 x 4096: no model here looks at more, and a small file can claim to be huge.
MOST_PIXELS = 2**24
#: How files of each kind begin.
SIGNATURES: dict[bytes, Literal["jpeg", "png"]] = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n": "png"}
#: EXIF's tag of how the camera was held, and its values for "on its side".
ORIENTATION, ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A picture that came with a message, as it was sent.

    Attributes:
        data: A JPEG or PNG file.
        kind: Which of them.
        width: Pixels, of the upright image.
        height: Likewise.

    Raises:
        InputError: On creation, if it is neither, is damaged, or is too big.
    """

    data: bytes = field(repr=False)
    kind: Literal["jpeg", "png"] = field(init=False)
    width: int = field(init=False)
    height: int = field(init=False)

    def __post_init__(self) -> None:
        kind = next((kind for start, kind in SIGNATURES.items() if self.data.startswith(start)), "")
        if not kind:
            raise InputError("This is no JPEG or PNG image. Convert it to one of them.")
        if len(self.data) > MOST_BYTES:
            raise InputError(
                f"This image has {len(self.data):,} bytes; the limit is {MOST_BYTES:,}. "
                "Make it smaller."
            )
        width, height = self._checked()
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "height", height)

    def __len__(self) -> int:
        return len(self.data)

    def pixels(self) -> NDArray[np.uint8]:
        """The upright image as RGB, uint8 `[height, width, 3]`; what is transparent is white."""
        with _open(self.data) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                white = Pillow.new("RGBA", upright.size, "white")
                upright = Pillow.alpha_composite(white, upright.convert("RGBA"))
            return np.asarray(upright.convert("RGB"))

    def _checked(self) -> tuple[int, int]:
        """Width and height, once it is certain that all of it can be read."""
        try:
            with _open(self.data) as image:
                width, height = image.size
                if width * height <= MOST_PIXELS:
                    # At an eighth of its size a JPEG is read several times faster.
                    image.draft("L", (1, 1))
                    image.load()
                    on_side = image.getexif().get(ORIENTATION) in ON_ITS_SIDE
                    return (height, width) if on_side else (width, height)
        except Exception as error:  # Pillow raises all kinds on damaged files.
            raise InputError("This image is damaged or incomplete. Send it again.") from error
        raise InputError(
            f"This image has {width} x {height} pixels; the limit is {MOST_PIXELS:,} in all. "
            "Make it smaller."
        )


def _open(data: bytes) -> Pillow.Image:
    return Pillow.open(BytesIO(data), formats=("JPEG", "PNG"))
