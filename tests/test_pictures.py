"""Picture files of people: what engines are given of them, and what is said about bad ones."""

import os
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow
from sight_files import picture_file

from engines.sight import pictures
from engines.sight.pictures import read_picture
from errors import InputError


@pytest.fixture
def write(tmp_path):
    def write(data, name="picture.jpg"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def colour_of(picture):
    return [int(value) for value in np.median(picture.image.pixels(), axis=(0, 1))]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_plain_file_goes_as_it_is(write, kind):
    data = picture_file(kind)
    picture = read_picture(write(data, "a plain one.bin"))
    assert picture.image.data == data
    assert (picture.name, picture.notes) == ("a plain one.bin", ())


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "L", {"comment": b"grey"}),
        ("PNG", "P", {}),
        ("PNG", "LA", {}),
        ("PNG", "1", {}),
    ],
)
def test_every_other_one_becomes_rgb(write, kind, mode, options):
    data = picture_file(kind, "white", mode=mode, **options)
    picture = read_picture(write(data))
    assert picture.image.kind == "jpeg"
    assert min(colour_of(picture)) > 240
    assert picture.image.pixels().shape == (48, 64, 3)


def test_cmyk_keeps_its_colours(write):
    red, green, blue = colour_of(read_picture(write(picture_file(colour="red", mode="CMYK"))))
    assert red > 200 and green < 60 and blue < 60


def test_sixteen_bits_of_grey_are_no_white(write):
    file = BytesIO()
    Pillow.fromarray(np.full((48, 64), 0x8000, np.uint16)).save(file, "PNG")
    assert all(abs(value - 128) < 4 for value in colour_of(read_picture(write(file.getvalue()))))


def test_what_is_transparent_is_white(write):
    file = BytesIO()
    Pillow.new("RGBA", (8, 8), (255, 0, 0, 0)).save(file, "WEBP")
    assert min(colour_of(read_picture(write(file.getvalue())))) > 250


def test_a_phone_held_upright_gives_an_upright_file_without_its_place(write):
    exif = Pillow.Exif()
    exif[0x0112] = 6  # Turn by 90 degrees to the right.
    exif[0x010F] = "A phone of mine"
    wide = Pillow.new("RGB", (64, 32), "red")
    wide.paste("blue", (0, 0, 32, 32))
    file = BytesIO()
    wide.save(file, "JPEG", exif=exif)
    image = read_picture(write(file.getvalue())).image
    with Pillow.open(BytesIO(image.data)) as written:
        assert written.size == (32, 64), "turned in the file itself, not by a remark in it"
        assert not written.getexif()
    assert b"phone" not in image.data
    pixels = image.pixels()
    assert pixels[5, 16, 2] > 200 > pixels[5, 16, 0] and pixels[60, 16, 0] > 200


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_one_that_moves_the_first_is_shown_and_that_is_said(write, kind):
    first, *rest = (Pillow.new("RGB", (64, 48), colour) for colour in ("red", "blue", "green"))
    file = BytesIO()
    first.save(file, kind, save_all=True, append_images=rest, duration=100)
    picture = read_picture(write(file.getvalue()))
    assert colour_of(picture)[0] > 200
    (note,) = picture.notes
    assert "of its 3 pictures only the first" in note


def test_two_pictures_of_a_phone_are_one(write):
    first, second = Pillow.new("RGB", (64, 48), "red"), Pillow.new("RGB", (32, 24), "blue")
    file = BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second])
    picture = read_picture(write(file.getvalue()))
    assert colour_of(picture)[0] > 200
    assert picture.notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_huge_one_is_scaled_down_and_that_is_said(write, kind):
    picture = read_picture(write(picture_file(kind, size=(6000, 1500))))
    assert (picture.image.width, picture.image.height) == (2048, 512)
    assert "scaled from 6000 x 1500 to 2048 x 512" in picture.notes[0]


def claiming(width, height):
    """A small PNG that says it is large; the checksum of its head is made anew."""
    data = bytearray(picture_file("PNG"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def test_one_that_is_too_large_is_refused_with_the_limit(write):
    with pytest.raises(InputError, match="8001 x 8000 pixels; the limit is 64 million"):
        read_picture(write(claiming(8001, 8000)))
    with pytest.raises(InputError, match=r"picture.jpg: This picture has far too many pixels"):
        read_picture(write(claiming(20_000, 20_000)))


def test_a_file_that_is_too_large_is_refused_with_the_limit(write):
    with pytest.raises(InputError, match=r"has 3 MB; the limit is 2 MB \(PARLEY_MAX_UPLOAD\)"):
        read_picture(write(bytes(3_000_000)), most_bytes=2_000_000)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"hello", "no picture that I can read. Send a JPEG, PNG or WebP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture that I can read"),
        (picture_file("GIF"), "no picture that I can read"),
        (picture_file("TIFF"), "no picture that I can read"),
        (b"", "is empty"),
    ],
)
def test_what_is_none_is_refused(write, data, says):
    with pytest.raises(InputError, match=says):
        read_picture(write(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_half_a_picture_is_refused(write, kind):
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    file = BytesIO()
    Pillow.fromarray(noise).save(file, kind)
    data = file.getvalue()
    for part in (40, 200, len(data) // 2, len(data) - 60):
        with pytest.raises(InputError, match=r"picture.jpg"):
            read_picture(write(data[:part]))


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        read_picture(tmp_path)
    with pytest.raises(InputError, match=r"There is no file nothing.png"):
        read_picture(tmp_path / "nothing.png")
    os.mkfifo(tmp_path / "endless.png")
    with pytest.raises(InputError, match=r"There is no file endless.png"):
        read_picture(tmp_path / "endless.png")


def test_the_limit_is_that_of_engines():
    assert pictures.LONGEST**2 <= pictures.MOST_PIXELS
