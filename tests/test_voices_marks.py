"""Marks of synthetic speech: in every format, and after conversion by other programs."""

import io
import json
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from conftest import SAMPLES
from voice_tools import recording

import settings
from errors import InputError, UnavailableError
from speech.pcm import Audio
from voices.marks import Made, encode_marked, label, read_mark, write_marked

MADE = Made(
    engine="embedded",
    voice="安娜 “Anna”; {x}",
    use="match",
    when="2026-11-20T12:00:00+00:00",
    software="Parley 0.1.0",
)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_mark_survives_the_file(tmp_path, suffix):
    path = tmp_path / f"speech.{suffix}"
    write_marked(path, recording(seconds=1, rate=24_000), MADE)
    assert read_mark(path) == MADE
    with soundfile.SoundFile(path) as sound:
        assert sound.format == suffix.upper() and sound.samplerate == 24_000
        assert "Synthetic speech, not a recording of a person" in sound.comment
        assert sound.title == "Synthetic speech"


def test_wav_has_the_chunks_that_others_look_for():
    content = encode_marked(recording(seconds=1), MADE)
    assert content.index(b"LIST") < content.index(b"data"), "players that stream see it too"
    assert (
        b"INFO" in content
        and b"ICMT" in content
        and b"ISFTParley"
        in content.replace(content[content.index(b"ISFT") + 4 : content.index(b"ISFT") + 8], b"")
    )
    samples, _ = soundfile.read(io.BytesIO(content), dtype="int16")
    assert np.array_equal(samples, recording(seconds=1).pcm16())


@pytest.mark.parametrize("suffix", ["m4a", "mp3", "flac", "webm", "mka", "ogg", "wav"])
def test_mark_survives_conversion_by_ffmpeg(tmp_path, suffix):
    source, target = tmp_path / "speech.wav", tmp_path / f"copy.{suffix}"
    write_marked(source, recording(seconds=1, rate=48_000), MADE)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(source), str(target)]
    subprocess.run(command, check=True)
    assert read_mark(target) == MADE


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_five_minutes_in_every_format(kind):
    """Encoders that are given this at once have crashed the process."""
    tone = np.sin(np.arange(24_000 * 300) / 20).astype(np.float32) / 2
    content = encode_marked(Audio(tone, 24_000), MADE, kind)
    assert soundfile.info(io.BytesIO(content)).duration == pytest.approx(300, abs=0.2)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("match", "moved towards the recording 'Anna'"),
        ("clone", "cloned from the recording 'Anna'"),
        ("prompt", "conditioned on the recording 'Anna'"),
        (None, "with the voice 'Anna'"),
    ],
)
def test_sentence_for_people(use, words):
    made = Made("embedded", "Anna", use, "2026-11-20", "Parley 0.1.0", watermarked=use == "clone")
    assert words in made.sentence and "Parley 0.1.0" in made.sentence
    assert ("watermark" in made.sentence) == (use == "clone")


def test_files_without_a_mark(tmp_path):
    assert read_mark(SAMPLES / "sky.wav") is None
    for number, comment in enumerate(
        [
            "parley-mark: ",
            "parley-mark: [1]",
            "parley-mark: {}",
            'parley-mark: {"engine": 1}',
            "parley-mark: " + "[" * 5000,
            "parley-mark: " + json.dumps({"engine": "x", "use": "stolen"}),
            "x" * 20_000,
        ]
    ):
        path = tmp_path / f"{number}.flac"
        with soundfile.SoundFile(path, "w", 16_000, 1, format="FLAC") as sound:
            sound.comment = comment
            sound.write(np.zeros(16_000, np.int16))
        assert read_mark(path) is None, comment[:50]


def test_what_is_no_sound_file(tmp_path):
    (tmp_path / "note.wav").write_text("no sound")
    for name in ("note.wav", "nothing.wav"):
        with pytest.raises(InputError, match=f"{name} cannot be read as a sound file"):
            read_mark(tmp_path / name)


def test_a_file_written_piece_by_piece(tmp_path):
    path = tmp_path / "speech.wav"
    with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as sound:
        label(sound, MADE)
        for _ in range(3):
            sound.write(recording(seconds=1).pcm16())
    assert read_mark(path) == MADE and soundfile.info(path).frames == 48_000


def test_writing_to_an_open_file_and_to_a_place_that_refuses(tmp_path):
    content = io.BytesIO()
    write_marked(content, recording(seconds=1), MADE, "FLAC")
    assert content.getvalue()[:4] == b"fLaC"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UnavailableError, match="The speech was not written"):
        write_marked(tmp_path / "file" / "speech.wav", recording(seconds=1), MADE)


def test_version_is_that_of_the_project():
    import tomllib  # noqa: PLC0415

    from conftest import ROOT  # noqa: PLC0415

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == settings.VERSION
