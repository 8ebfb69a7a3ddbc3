"""Videos of people: which pictures of them are shown to an engine, and what is said of bad ones."""

import os
import random
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from conftest import ROOT
from sight_files import KINDS, evenly, number_of, write_sound, write_video

from engines.base import Cancel
from engines.sight import track, videos
from engines.sight.decord_decoding import has_decord
from engines.sight.picking import Stretch, clock, pick, read_clock
from engines.sight.videos import read_video
from errors import CancelledError, InputError


@pytest.fixture
def look(monkeypatch):
    """Reads a video with PyAV alone."""
    monkeypatch.setattr(videos, "has_decord", lambda: False)

    def look(path, begin=0.0, end=None, most=64, **options):
        return read_video(path, Stretch(begin, end), most, cancel=Cancel(), **options)

    return look


def numbers(film):
    return [number_of(image) for image in film.frames]


def seconds(film):
    return [round(moment.seconds, 3) for moment in film.moments]


# --- which moments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "end", "most", "chosen"),
    [
        (0, 3.2, 64, (0, 1, 2, 3)),
        (0, 3.0, 64, (0, 1, 2)),
        (0, 0.04, 64, (0,)),
        (1.5, 4.0, 64, (1.5, 2.5, 3.5)),
        (0, 12.5, 4, (0, 4, 8, 12)),
        (0, 10, 3, (0, 4, 9)),
        (0, 100, 1, (0,)),
    ],
)
def test_one_a_second_evenly_thinned_out(begin, end, most, chosen):
    assert pick(begin, end, most) == chosen


def test_as_the_reference_picks():
    """One picture a second from the first on, then indices by `linspace`, as VITA-1.5 does."""
    frames, rate, most = 3000, 25, 64
    reference = list(range(0, frames, rate))
    reference = [reference[i] for i in np.linspace(0, len(reference) - 1, most, dtype=int)]
    assert [round(moment * rate) for moment in pick(0, frames / rate, most)] == reference


@pytest.mark.parametrize("most", [0, -1, 65])
def test_how_many_is_limited(most):
    with pytest.raises(InputError, match="From 1 to 64 frames"):
        pick(0, 10, most)


@pytest.mark.parametrize(
    ("text", "is_"), [("", None), (" 7 ", 7), ("0:07", 7), ("1:02:03", 3723), ("7,5", 7.5)]
)
def test_times_as_people_type_them(text, is_):
    assert read_clock(text) == is_


@pytest.mark.parametrize("text", ["soon", "-1", "1:2:3:4", "inf", "nan", "1:-2", ":"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InputError, match="is no time"):
        read_clock(text)


def test_times_as_players_show_them():
    assert [clock(value) for value in (0, 7.9, 61, 3723)] == ["0:00", "0:07", "1:01", "1:02:03"]


# --- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_shows_one_picture_a_second(look, tmp_path, kind):
    path = write_video(str(tmp_path / f"film.{KINDS[kind][0]}"), evenly(125), kind)
    film = look(path)
    assert numbers(film) == list(range(0, 125, 10))
    assert seconds(film) == [float(second) for second in range(13)]
    assert film.seconds == pytest.approx(12.5, abs=0.11)
    assert film.notes == ()
    assert numbers(look(path, most=4)) == [0, 40, 80, 120]
    assert numbers(look(path, begin=3.5, end=6.0)) == [35, 45, 55]


def test_the_content_decides_not_the_suffix(look, tmp_path):
    assert numbers(look(write_video(str(tmp_path / "film.txt"), evenly(11)))) == [0, 10]


@pytest.mark.parametrize("kind", ["mp4", "webm", "mp4-reordered"])
def test_a_variable_rate_goes_by_time_stamps(look, tmp_path, kind):
    times = [0, 0.1, 0.2, 3.0, 3.05, 3.1, 7.5, 7.6]
    film = look(write_video(str(tmp_path / "film"), times, kind))
    # At 1 and 2 s the third picture is still on the screen, from 4 to 7 s the sixth.
    assert numbers(film) == [0, 2, 3, 5]
    assert seconds(film) == [0, 0.2, 3.0, 3.1]
    assert numbers(look(tmp_path / "film", begin=7.55)) == [6]


def test_a_video_that_does_not_begin_at_nought(look, tmp_path):
    path = write_video(str(tmp_path / "film"), [time + 5 for time in evenly(25)], "webm")
    film = look(path)
    assert (numbers(film), seconds(film)) == ([0, 10, 20], [0, 1, 2])


def corners(number, width, height):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    return pixels


@pytest.mark.parametrize(
    ("turned", "red"),
    [(0, "top left"), (90, "bottom left"), (180, "bottom right"), (-90, "top right")],
)
def test_a_phone_held_upright_gives_upright_pictures(look, tmp_path, turned, red):
    path = str(tmp_path / "film.mp4")
    write_video(path, evenly(3), picture=corners, size=(128, 64), turned=turned)
    (image,) = look(path).frames
    pixels = image.pixels()
    height, width, _ = pixels.shape
    assert (width, height) == ((64, 128) if turned in (90, -90) else (128, 64))
    found = [
        f"{'top' if y < 0.5 else 'bottom'} {'left' if x < 0.5 else 'right'}"
        for y in (0.25, 0.75)
        for x in (0.25, 0.75)
        if pixels[int(y * height), int(x * width), 0] > 180
    ]
    assert found == [red]


def test_pixels_that_are_not_square(look, tmp_path):
    path = write_video(str(tmp_path / "film.mp4"), evenly(3), stretched="2/1")
    (image,) = look(path).frames
    assert (image.width, image.height) == (320, 96)


def test_large_pictures_are_scaled_down(look, tmp_path):
    path = write_video(str(tmp_path / "film.mp4"), evenly(2), size=(1920, 1080))
    (image,) = look(path).frames
    assert (image.width, image.height) == (896, 504)
    assert number_of(image) == 0


def test_8k_is_scaled_down_and_beyond_is_refused(look, tmp_path, monkeypatch):
    path = write_video(str(tmp_path / "film.mov"), evenly(1), "mov", size=(7680, 4320))
    (image,) = look(path).frames
    assert (image.width, image.height) == (896, 504)
    monkeypatch.setattr(track, "MOST_PIXELS", 7680 * 4320 - 1)
    with pytest.raises(InputError, match="7680 x 4320 pixels; the limit is 8K"):
        look(path)


class Pipe(BytesIO):
    """What a browser records into: nothing is written again at its beginning."""

    def seekable(self):
        return False


def test_a_recording_of_a_browser_names_no_duration(look, tmp_path):
    pipe = Pipe()
    write_video(pipe, evenly(125), "webm")
    path = tmp_path / "recorded.webm"
    path.write_bytes(pipe.getvalue())
    film = look(path)
    assert numbers(film) == list(range(0, 125, 10))
    assert film.seconds == pytest.approx(12.5, abs=0.11)
    assert film.notes == ()


def test_hours_take_no_longer_than_minutes(look, tmp_path):
    path = write_video(str(tmp_path / "film.mp4"), [10.0 * n for n in range(1000)])
    film = look(path, most=4)
    assert numbers(film) == [0, 333, 666, 999]
    assert clock(film.moments[-1].seconds) == "2:46:30"
    assert film.seconds == pytest.approx(9990, abs=11)


def test_the_sound_is_no_matter(look, tmp_path):
    path = write_video(str(tmp_path / "film.mov"), evenly(25), "mov", sound=True)
    assert numbers(look(path)) == [0, 10, 20]


def test_progress_is_told(look, tmp_path):
    told = []
    look(write_video(str(tmp_path / "film"), evenly(25)), on_moment=lambda *made: told.append(made))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


# --- decord ----------------------------------------------------------------------------------


@pytest.mark.skipif(not has_decord(), reason="decord is not installed: only PyAV is tested here")
@pytest.mark.parametrize("kind", KINDS)
def test_decord_shows_the_same_pictures(look, tmp_path, monkeypatch, kind):
    path = write_video(str(tmp_path / "film"), evenly(95), kind, size=(320, 200))
    ours = look(path)
    used = []
    decord = videos.decoded_by_decord
    monkeypatch.setattr(videos, "has_decord", lambda: True)
    monkeypatch.setattr(videos, "decoded_by_decord", lambda *all: used.append(1) or decord(*all))
    monkeypatch.setattr(videos, "decoded", pytest.fail)
    theirs = look(path)
    assert used
    assert seconds(theirs) == seconds(ours)
    for our, their in zip(ours.frames, theirs.frames, strict=True):
        difference = np.abs(our.pixels().astype(int) - their.pixels())
        assert difference.mean() < 6


@pytest.mark.skipif(not has_decord(), reason="decord is not installed: only PyAV is tested here")
def test_decord_shows_the_same_of_a_variable_rate(look, tmp_path, monkeypatch):
    times = [0, 0.1, 0.2, 3.0, 3.05, 3.1, 7.5, 7.6]
    path = write_video(str(tmp_path / "film"), times, "webm")
    ours = look(path)
    monkeypatch.setattr(videos, "has_decord", lambda: True)
    monkeypatch.setattr(videos, "decoded", pytest.fail)
    theirs = look(path)
    assert numbers(theirs) == numbers(ours) == [0, 2, 3, 5]


def test_turned_pictures_are_not_left_to_decord(look, tmp_path, monkeypatch):
    path = write_video(str(tmp_path / "film.mp4"), evenly(3), size=(128, 64), turned=90)
    monkeypatch.setattr(videos, "has_decord", lambda: True)
    monkeypatch.setattr(videos, "decoded_by_decord", pytest.fail)
    (image,) = look(path).frames
    assert (image.width, image.height) == (64, 128)


@pytest.mark.parametrize("made", [0, 2])
def test_what_decord_cannot_read_is_read_by_pyav(look, tmp_path, monkeypatch, made):
    path = write_video(str(tmp_path / "film"), evenly(45))

    def breaks(path, file, track, wanted, size):
        for number in wanted[:made]:
            yield np.full((size[1], size[0], 3), 220 if number else 30, np.uint8)
        raise RuntimeError("no such codec")

    monkeypatch.setattr(videos, "has_decord", lambda: True)
    monkeypatch.setattr(videos, "decoded_by_decord", breaks)
    film = look(path)
    assert numbers(film)[made:] == [0, 10, 20, 30, 40][made:]
    assert len(film.frames) == 5


# --- stopped in time -------------------------------------------------------------------------


def test_a_cancel_stops_it(tmp_path):
    path = write_video(str(tmp_path / "film"), evenly(45))
    cancel = Cancel()
    with pytest.raises(CancelledError):
        read_video(path, cancel=cancel, on_moment=lambda done, of: done and cancel.set())
    with pytest.raises(CancelledError):
        read_video(path, cancel=cancel)


@pytest.mark.parametrize("passed", [0, 8, 40])
def test_it_takes_no_longer_than_it_may(look, tmp_path, monkeypatch, passed):
    """A clock that goes on by a second each time somebody looks at it."""
    path = write_video(str(tmp_path / "film"), evenly(45))
    ticks = iter(range(10**6))
    monkeypatch.setattr(track.time, "monotonic", lambda: float(next(ticks)))
    with pytest.raises(InputError, match="Choose a shorter part of it or fewer frames"):
        look(path, patience=passed)


def test_memory_is_bounded(tmp_path):
    """A minute of it unpacked would be half a gigabyte; counted in a process of its own."""
    path = write_video(str(tmp_path / "film"), evenly(600), size=(640, 480), gop=60)
    script = (
        "import resource, sys\n"
        "from engines.base import Cancel\n"
        "from engines.sight.videos import read_video\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read_video(sys.argv[1], most=1, cancel=Cancel())\n"
        "before = peak()\n"
        "film = read_video(sys.argv[1], most=64, cancel=Cancel())\n"
        "print(len(film.frames), peak() - before)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, path],
        capture_output=True, text=True, check=True, cwd=ROOT, timeout=120,
    )  # fmt: skip
    count, kilobytes = map(int, run.stdout.split())
    assert count == 60
    assert kilobytes < 60_000


# --- bad ones --------------------------------------------------------------------------------


def test_what_has_no_pictures_is_refused(look, tmp_path):
    with pytest.raises(InputError, match=r"sound.mp4: There are no pictures in this file"):
        look(write_sound(str(tmp_path / "sound.mp4")))


@pytest.mark.parametrize(
    ("kind", "says"),
    [("mp4", "There are no pictures"), ("webm", "no video"), ("avi", "not one whole picture")],
)
def test_a_video_of_no_frames_is_refused(look, tmp_path, kind, says):
    with pytest.raises(InputError, match=rf"nothing.bin: .*{says}"):
        look(write_video(str(tmp_path / "nothing.bin"), [], kind))


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        bytes(5000),
        random.Random(0).randbytes(5000),
    ],
)
def test_what_is_no_video_is_refused(look, tmp_path, data):
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"film.mp4: This is no video that I can read"):
        look(path)


def test_what_is_no_file_is_refused(look, tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        look(tmp_path)
    with pytest.raises(InputError, match=r"There is no file none.mp4"):
        look(tmp_path / "none.mp4")
    os.mkfifo(tmp_path / "endless.mp4")
    with pytest.raises(InputError, match=r"There is no file endless.mp4"):
        look(tmp_path / "endless.mp4")
    path = write_video(str(tmp_path / "film"), evenly(3))
    with pytest.raises(InputError, match="the limit is 0 MB"):
        look(path, most_bytes=1000)


def test_a_video_that_was_cut_off(look, tmp_path):
    whole = tmp_path / "film.mp4"
    write_video(str(whole), evenly(125))
    half = tmp_path / "half.mp4"
    half.write_bytes(whole.read_bytes()[:-2000])  # What says where everything is lies at its end.
    with pytest.raises(InputError, match=r"half.mp4: .* damaged"):
        look(half)
    write_video(str(whole), evenly(125), "avi")
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    film = look(half)
    assert numbers(film) == list(range(0, len(film.frames) * 10, 10))
    assert 4 < len(film.frames) < 12
    assert any("It ends early" in note for note in film.notes)


@pytest.mark.parametrize("kind", ["mp4", "mov", "webm", "avi"])
def test_damage_is_refused_or_bearable_and_nothing_else(look, tmp_path, kind):
    path = tmp_path / "film"
    write_video(str(path), evenly(45), kind)
    data = path.read_bytes()
    dice = random.Random(0)
    told = 0
    for _ in range(25):
        broken = bytearray(data)
        for _ in range(dice.choice([1, 20, 400])):
            broken[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(broken[: dice.choice([len(data), dice.randrange(len(data))])])
        try:
            film = look(path)
        except InputError:
            told += 1
        else:
            assert 1 <= len(film.frames) <= 64
            told += bool(film.notes)
    assert told > 5


@pytest.mark.parametrize(
    ("begin", "end", "says"),
    [
        (5.0, None, "The video is over after 0:04; there is nothing from 0:05 on"),
        (3.0, 3.0, "no part of a video"),
        (3.0, 1.0, "no part of a video"),
        (-1.0, None, "no part of a video"),
        (float("nan"), None, "no part of a video"),
    ],
)
def test_a_part_that_is_none_is_refused(look, tmp_path, begin, end, says):
    path = write_video(str(tmp_path / "film"), evenly(45))
    with pytest.raises(InputError, match=says):
        look(path, begin, end)


def test_an_end_beyond_the_end_is_the_end(look, tmp_path):
    film = look(write_video(str(tmp_path / "film"), evenly(25)), end=60)
    assert (film.begin, round(film.end, 1)) == (0, 2.5)


def test_nonsense_behind_the_end_is_passed_over(look, tmp_path):
    path = tmp_path / "film"
    write_video(str(path), evenly(45), "webm")
    path.write_bytes(path.read_bytes() + bytes(20_000_000))
    assert numbers(look(path)) == [0, 10, 20, 30, 40]
