"""Images as InternViT is shown them: square tiles of one size, normalised.

An image is cut into up to twelve tiles, in the grid whose shape is closest to its own, with all of
it in small beside them; a moment of a video is a single tile, cropped to its middle.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from codec.checkpoint import CheckpointError, read_json, require
from engines.images import Image

#: Tiles of an image at most, in the published demos.
TILES = 12

#: Of a picture longer than so many times its shorter side, the ends are never looked at: a line
#: of pixels would be huge before it is cropped.
_SHAPE = 16


@dataclass(frozen=True, slots=True)
class Lens:
    """What pictures become.

    Attributes:
        size: Pixels of a tile, each way.
        mean: Of red, green and blue.
        std: Likewise.
    """

    size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @classmethod
    def read(cls, folder: Path, size: int) -> "Lens":
        """Read a `preprocessor_config.json`.

        Args:
            folder: Holds it.
            size: Pixels that the encoder takes.

        Raises:
            CheckpointError: If it is absent or damaged, or makes other tiles.
        """
        path = folder / "preprocessor_config.json"
        require(folder, (path.name,))
        values = read_json(path)
        for name in ("size", "crop_size"):
            given = values.get(name, size)
            given = list(given.values()) if isinstance(given, dict) else [given]
            if set(given) != {size}:
                raise CheckpointError(f"{path}: {name} is {given}; the encoder takes {size}.")
        colours = []
        for name in ("image_mean", "image_std"):
            numbers = values.get(name)
            match numbers:
                case [
                    float() | int() as red,
                    float() | int() as green,
                    float() | int() as blue,
                ] if min(red, green, blue) > 0:
                    colours.append((float(red), float(green), float(blue)))
                case _:
                    raise CheckpointError(
                        f"{path}: {name} is {numbers!r}, not three numbers above 0."
                    )
        return cls(size, *colours)

    def image(self, image: Image, most: int = TILES) -> NDArray[np.float32]:
        """The tiles of an image, [tiles, 3, size, size] float32, normalised.

        Args:
            image: Of any size.
            most: Tiles that it is cut into at most.
        """
        return self._normalised(tiles(image.pixels(), self.size, most))

    def frame(self, image: Image) -> NDArray[np.float32]:
        """The one tile of a moment of a video, [1, 3, size, size] float32, normalised."""
        return self._normalised(middle(image.pixels(), self.size)[None])

    def _normalised(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        mean, std = (np.array(colours, np.float32) for colours in (self.mean, self.std))
        made = (pixels.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(made.transpose(0, 3, 1, 2))


def grid(width: int, height: int, size: int, most: int = TILES) -> tuple[int, int]:
    """Columns and rows of tiles that fit the shape of an image best.

    Of two that fit equally, the larger one is taken if the image has more than half its pixels.
    """
    candidates = sorted(
        (
            (columns, rows)
            for columns in range(1, most + 1)
            for rows in range(1, most // columns + 1)
        ),
        key=lambda shape: shape[0] * shape[1],
    )
    shape, best = (1, 1), float("inf")
    for columns, rows in candidates:
        distance = abs(width / height - columns / rows)
        large = width * height > 0.5 * size * size * columns * rows
        if distance < best or (distance == best and large):
            shape, best = (columns, rows), distance
    return shape


def tiles_of(width: int, height: int, size: int, most: int = TILES) -> int:
    """How many tiles an image makes, the small one of it all included."""
    columns, rows = grid(width, height, size, most)
    return columns * rows + (columns * rows > 1)


def tiles(pixels: NDArray[np.uint8], size: int, most: int = TILES) -> NDArray[np.uint8]:
    """Cut an image into tiles, row by row; all of it in small comes last.

    Args:
        pixels: [height, width, 3].
        size: Of a tile.
        most: Tiles of the grid at most.

    Returns:
        [tiles, size, size, 3].
    """
    image = Pillow.fromarray(pixels)
    columns, rows = grid(image.width, image.height, size, most)
    whole = np.asarray(_resized(image, columns * size, rows * size))
    cut = whole.reshape(rows, size, columns, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)
    if len(cut) == 1:
        return cut
    return np.concatenate((cut, np.asarray(_resized(image, size, size))[None]))


def middle(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The middle of a picture whose shorter side is made `size` long, [size, size, 3]."""
    shorter, longest = min(pixels.shape[:2]), _SHAPE * min(pixels.shape[:2])
    height, width = (max(0, side - longest) // 2 for side in pixels.shape[:2])
    image = Pillow.fromarray(pixels[height : height + longest, width : width + longest])
    image = _resized(image, size * image.width // shorter, size * image.height // shorter)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _resized(image: Pillow.Image, width: int, height: int) -> Pillow.Image:
    return image.resize((width, height), Pillow.Resampling.BICUBIC)
