"""Images: checked when they are made, upright, and given only to engines that see."""

import random
from io import BytesIO

import numpy as np
import pytest
from engine_contract import ImageContract
from PIL import Image as Pillow
from seeing_engine import ENTRIES, picture

from engines import images
from engines.images import Image
from errors import InputError
from services import Services
from settings import Settings


def noise(kind, width=40, height=30):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = BytesIO()
    Pillow.fromarray(pixels).save(file, kind)
    return pixels, file.getvalue()


@pytest.fixture
def services():
    with Services(Settings(_env_file=None, engine="seer"), ENTRIES) as services:
        yield services


class TestSeer(ImageContract):
    @pytest.fixture
    def engine(self, services):
        return services.engine("seer")


class TestMole(ImageContract):
    @pytest.fixture
    def engine(self, services):
        return services.engine("mole")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_reads_its_kinds(kind):
    pixels, data = noise(kind)
    image = Image(data)
    assert (image.kind, image.width, image.height) == (kind.lower(), 40, 30)
    assert len(image) == len(data)
    seen = image.pixels()
    assert seen.dtype == np.uint8 and seen.shape == (30, 40, 3)
    assert np.abs(seen.astype(int) - pixels).mean() < (1 if kind == "PNG" else 60)


def test_a_phone_held_upright_gives_an_upright_image():
    exif = Pillow.Exif()
    exif[0x0112] = 6  # Turn by 90 degrees to the right.
    wide = Pillow.new("RGB", (64, 32), "red")
    wide.paste("blue", (0, 0, 32, 32))
    file = BytesIO()
    wide.save(file, "JPEG", exif=exif)
    image = Image(file.getvalue())
    assert (image.width, image.height) == (32, 64)
    pixels = image.pixels()
    assert pixels.shape == (64, 32, 3)
    assert pixels[5, 16, 2] > 200 > pixels[5, 16, 0] and pixels[60, 16, 0] > 200


def test_pictures_of_phones_that_hold_two_are_jpegs():
    first, second = Pillow.new("RGB", (64, 48), "red"), Pillow.new("RGB", (32, 24), "blue")
    file = BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second])
    image = Image(file.getvalue())
    assert (image.kind, image.width) == ("jpeg", 64)
    assert image.pixels()[10, 10, 0] > 200


def test_what_is_transparent_is_white():
    file = BytesIO()
    Pillow.new("RGBA", (8, 8), (255, 0, 0, 0)).save(file, "PNG")
    assert (Image(file.getvalue()).pixels() == 255).all()


def test_grey_becomes_rgb():
    file = BytesIO()
    Pillow.new("L", (8, 4), 128).save(file, "PNG")
    assert Image(file.getvalue()).pixels().tolist() == [[[128] * 3] * 8] * 4


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF"])
def test_other_kinds_are_refused(kind):
    with pytest.raises(InputError, match="no JPEG or PNG"):
        Image(picture("red", kind=kind))


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"<svg/>", b"hello"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(InputError, match="no JPEG or PNG"):
        Image(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_half_an_image_is_refused(kind):
    _, data = noise(kind)
    for part in (8, 100, len(data) // 2, len(data) - 40):
        with pytest.raises(InputError, match="damaged"):
            Image(data[:part])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damage_is_refused_or_bearable_and_nothing_else(kind):
    _, data = noise(kind)
    dice = random.Random(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(dice.choice([1, 3, 20])):
            broken[dice.randrange(8, len(data))] = dice.randrange(256)
        try:
            image = Image(bytes(broken))
        except InputError:
            refused += 1
        else:
            assert image.pixels().shape == (image.height, image.width, 3)
    assert refused > 10


def test_limits():
    huge = picture("red", 4097, 4096, "PNG")
    assert len(huge) < 200_000, "small, and yet too big"
    with pytest.raises(InputError, match="4097 x 4096 pixels"):
        Image(huge)
    data = picture("red")
    with pytest.raises(InputError, match="bytes"):
        Image(data + bytes(images.MOST_BYTES - len(data) + 1))
    assert Image(data + bytes(images.MOST_BYTES - len(data))).width == 64


def test_an_image_that_claims_to_be_gigantic_is_not_unpacked():
    """The size stands at a fixed place of a PNG; its checksum is made anew."""
    import struct  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    data = bytearray(picture("red", kind="PNG"))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    with pytest.raises(InputError):
        Image(bytes(data))
