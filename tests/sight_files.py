"""Videos for the tests, whose every picture says which one it is."""

from fractions import Fraction
from io import BytesIO

import av
import numpy as np
from PIL import Image as Pillow
from seeing_engine import COLOURS

#: Of a picture, pixels: one column for each of its number's bits.
WIDTH, HEIGHT, BITS = 160, 96, 10

#: What the tests write, by what is read: container, encoder.
KINDS = {
    "mp4": ("mp4", "mpeg4"),
    "mov": ("mov", "mjpeg"),
    "webm": ("webm", "libvpx-vp9"),
    "avi": ("avi", "mpeg4"),
    "mp4-reordered": ("mp4", "libx264"),
}
#: How each encoder is to be quick; those that can, write pictures out of order.
OPTIONS = {
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libx264": {"preset": "ultrafast", "bf": "2", "b-pyramid": "none"},
    "mpeg4": {"bf": "0"},
}


def numbered(number, width=WIDTH, height=HEIGHT):
    """A picture that says its number, uint8 `[height, width, 3]`: bright columns are ones."""
    pixels = np.full((height, width, 3), 30, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            pixels[:, bit * width // BITS : (bit + 1) * width // BITS] = 220
    return pixels


def number_of(image):
    """The number that an `Image` of such a picture says."""
    pixels = image.pixels()
    width = pixels.shape[1]
    middles = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    bright = pixels[:, :, 1].mean(axis=0)
    return sum(1 << bit for bit, middle in enumerate(middles) if bright[middle] > 125)


def evenly(count, rate=10):
    """Times of so many pictures, seconds."""
    return [number / rate for number in range(count)]


def write_video(
    target,
    times,
    kind="mp4",
    *,
    picture=numbered,
    gop=12,
    size=(WIDTH, HEIGHT),
    turned=None,
    stretched=None,
    sound=False,
):
    """Write a video.

    Args:
        target: A path, or a file.
        times: When each picture appears, seconds.
        kind: One of `KINDS`.
        picture: Its number to pixels.
        gop: Decoding can begin at each so many pictures.
        size: Of the pictures.
        turned: How far the container says to turn it to the left, degrees.
        stretched: How much wider than stored a pixel is shown.
        sound: With a sound track.
    """
    container, encoder = KINDS[kind]
    with av.open(target, "w", format=container) as file:
        # An AVI counts pictures, and knows no time between two.
        base = Fraction(1, 10 if container == "avi" else 1000)
        stream = file.add_stream(encoder, rate=10, options=OPTIONS.get(encoder, {}))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        stream.gop_size = gop
        stream.time_base = stream.codec_context.time_base = base
        if turned is not None:
            stream.set_display_rotation(turned)
        if stretched is not None:
            stream.codec_context.sample_aspect_ratio = Fraction(stretched)
        tone = file.add_stream("pcm_s16le" if container == "mov" else "aac") if sound else None
        file.start_encoding()  # Else a file without pictures would not even have a head.
        for number, seconds in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            frame.pts, frame.time_base = round(seconds / base), base
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if tone is not None:
            _write_tone(file, tone, times[-1] if times else 1.0)
    return target


def write_sound(path, seconds=1.0):
    """A file with sound only, in a container of videos."""
    with av.open(path, "w", format="mp4") as file:
        _write_tone(file, file.add_stream("aac"), seconds)
    return path


def _write_tone(file, stream, seconds):
    rate = stream.rate
    count = int(seconds * rate)
    wave = (8000 * np.sin(np.arange(count) * 2 * np.pi * 440 / rate)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave[np.newaxis], format="s16", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    fifo = av.AudioFifo()
    fifo.write(frame)
    while (part := fifo.read(1024, partial=True)) is not None:
        file.mux(stream.encode(part))
    file.mux(stream.encode(None))


def picture_file(kind="JPEG", colour="red", size=(64, 48), mode="RGB", **options):
    """A picture as a file: its bytes."""
    file = BytesIO()
    image = Pillow.new("RGB", size, colour).convert(mode)
    image.save(file, kind, **options)
    return file.getvalue()


def write_y4m(path, colour, width=640, height=480):
    """A film of one colour for a browser's camera, by ITU-R BT.601."""
    red, green, blue = COLOURS[colour]
    luma = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    cb = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    cr = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    small = (height // 2, width // 2)
    planes = [((height, width), luma), (small, cb), (small, cr)]
    frame = b"".join(np.full(shape, round(value), np.uint8).tobytes() for shape, value in planes)
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420\n".encode())
    with path.open("ab") as file:
        for _ in range(5):
            file.write(b"FRAME\n" + frame)
    return path
