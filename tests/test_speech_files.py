import struct
import tracemalloc
import wave
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from errors import InputError
from speech.files import Clip, ClipLimits, from_samples, read_clip, safe_name, write_wav
from speech.pcm import Audio

RATE = 16_000


def tone(seconds=1.0, rate=RATE, hz=440.0, gain=0.3):
    time = np.arange(round(seconds * rate)) / rate
    return (gain * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def strongest_hz(audio: Audio) -> float:
    spectrum = np.abs(np.fft.rfft(audio.samples * np.hanning(len(audio))))
    return float(np.argmax(spectrum) * audio.rate / len(audio))


def assert_tone(clip: Clip, seconds=1.0, hz=440.0, gain=0.3):
    assert clip.audio.rate == RATE
    assert clip.audio.seconds == pytest.approx(seconds, abs=0.06)
    assert strongest_hz(clip.audio) == pytest.approx(hz, abs=3)
    middle = clip.audio.samples[len(clip.audio) // 4 : -len(clip.audio) // 4]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(gain / np.sqrt(2), rel=0.05)


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert len(message) < 220
    assert message.endswith(".")
    assert "Error" not in message
    return message


@pytest.mark.parametrize(
    ("suffix", "format_", "subtype"),
    [
        ("wav", "WAV", "PCM_16"),
        ("wav", "WAV", "PCM_U8"),
        ("wav", "WAV", "PCM_24"),
        ("wav", "WAV", "PCM_32"),
        ("wav", "WAV", "FLOAT"),
        ("wav", "WAV", "DOUBLE"),
        ("flac", "FLAC", "PCM_16"),
        ("ogg", "OGG", "VORBIS"),
        ("opus", "OGG", "OPUS"),
        ("mp3", "MP3", "MPEG_LAYER_III"),
        ("aiff", "AIFF", "PCM_16"),
        ("txt", "WAV", "PCM_16"),  # the content decides
        ("raw", "WAV", "PCM_16"),
        ("mp3", "FLAC", "PCM_16"),
    ],
)
def test_formats(tmp_path, suffix, format_, subtype):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path.with_suffix(".tmp"), tone(), RATE, format=format_, subtype=subtype)
    path.with_suffix(".tmp").rename(path)
    clip = read_clip(path)
    assert_tone(clip)
    assert clip.notes == ()
    assert clip.name == path.name


def encode(path, codec, rate=48_000, seconds=1.0, *, video=False, sound=True):
    with av.open(str(path), "w") as out:
        if video:
            picture = out.add_stream("mpeg4", rate=10)
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
        if sound:
            stream = out.add_stream(codec, rate=rate, layout="stereo")
            samples = np.repeat(tone(seconds, rate)[np.newaxis], 2, axis=0)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            frame.rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                out.mux(packet)
        if video:
            for index in range(round(10 * seconds)):
                image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
                image.pts = index
                for packet in picture.encode(image):
                    out.mux(packet)
            for packet in picture.encode(None):
                out.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "codec", "video"),
    [
        ("a.m4a", "aac", False),
        ("a.webm", "libopus", False),
        ("a.mp4", "aac", True),
        ("a.mkv", "aac", True),
    ],
)
def test_containers(tmp_path, name, codec, video):
    assert_tone(read_clip(encode(tmp_path / name, codec, video=video)))


def test_video_without_sound(tmp_path):
    path = encode(tmp_path / "silent.mp4", "aac", video=True, sound=False)
    assert "no audio track" in refusal(read_clip, path)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 192_000])
def test_rates(tmp_path, rate):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(rate=rate), rate)
    clip = read_clip(path)
    assert_tone(clip)
    assert len(clip.audio) == pytest.approx(RATE, abs=2)
    assert any("kHz" in note for note in clip.notes) == (rate < RATE)


def test_block_by_block_is_the_same_as_at_once(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.3, 0.3, 44_100 * 5).astype(np.float32)
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise, 44_100, subtype="FLOAT")
    whole = Audio(noise, 44_100).resampled(RATE).samples
    streamed = read_clip(path).audio.samples
    assert abs(len(whole) - len(streamed)) <= 1
    n = min(len(whole), len(streamed))
    assert np.abs(whole[:n] - streamed[:n]).max() < 1e-3


def test_memory_does_not_grow_with_the_source(tmp_path):
    path = tmp_path / "long.wav"
    block = np.zeros((192_000, 8), np.int16)
    block[:, 0] = 3000
    with soundfile.SoundFile(path, "w", 192_000, 8, "PCM_16") as file:
        for _ in range(40):
            file.write(block)
    assert path.stat().st_size > 120e6
    tracemalloc.start()
    clip = read_clip(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert clip.audio.seconds == pytest.approx(40, abs=0.01)
    assert peak < 20e6
    assert "8 channels were mixed to one." in clip.notes


def test_missing_and_folder(tmp_path):
    assert "no file gone.wav" in refusal(read_clip, tmp_path / "gone.wav")
    assert "is a folder" in refusal(read_clip, tmp_path)
    assert "no file" in refusal(read_clip, "/dev/zero")


def test_empty_files(tmp_path):
    path = tmp_path / "empty.wav"
    path.touch()
    assert "0 bytes" in refusal(read_clip, path)
    soundfile.write(path, np.zeros(0, np.float32), RATE)
    assert "holds no sound" in refusal(read_clip, path)
    assert "holds no sound" in refusal(from_samples, RATE, np.zeros(0, np.int16))


def test_too_short(tmp_path):
    path = tmp_path / "short.wav"
    soundfile.write(path, tone(0.02), RATE)
    assert "only 20 ms" in refusal(read_clip, path)


@pytest.mark.parametrize(
    "content",
    [
        b"Just some text.\n" * 100,
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        bytes(5000),
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile secret.wav\n",
    ],
)
def test_not_a_sound(tmp_path, content):
    path = tmp_path / "fake.wav"
    path.write_bytes(content)
    assert "not a sound file" in refusal(read_clip, path)


def test_truncated_wav(tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, tone(2.0), RATE)
    path.write_bytes(path.read_bytes()[: 44 + 2 * RATE])
    clip = read_clip(path)
    assert_tone(clip, 1.0)
    assert clip.notes == ("The file ends early: 1.0 s of 2.0 s is there.",)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_wav_written_to_a_pipe_is_not_truncated(tmp_path, size):
    path = tmp_path / "pipe.wav"
    soundfile.write(path, tone(), RATE)
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", size)
    path.write_bytes(content)
    clip = read_clip(path)
    assert_tone(clip)
    assert clip.notes == ()


@pytest.mark.parametrize(("suffix", "kind"), [("flac", "FLAC"), ("mp3", "MP3")])
def test_truncated_compressed(tmp_path, suffix, kind):
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, tone(4.0), RATE, format=kind)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    clip = read_clip(path)
    assert 0.5 < clip.audio.seconds < 3.5
    assert clip.notes


def test_damaged_flac(tmp_path):
    path = tmp_path / "damaged.flac"
    rng = np.random.default_rng(0)
    soundfile.write(path, rng.uniform(-0.5, 0.5, 4 * RATE), RATE)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    clip = read_clip(path)
    assert 3 < clip.audio.seconds < 4.1
    assert any("damaged" in note for note in clip.notes)


def test_not_numbers(tmp_path):
    path = tmp_path / "nan.wav"
    samples = tone()
    samples[:5000] = np.nan
    samples[5000] = np.inf
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    message = refusal(read_clip, path)
    assert "5,001 of its 16,000" in message
    samples[10:5001] = 0.0
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    clip = read_clip(path)
    assert np.isfinite(clip.audio.samples).all()
    assert any("10 damaged samples" in note for note in clip.notes)


def test_limits(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, tone(3.0), RATE)
    message = refusal(read_clip, path, limits=ClipLimits(max_seconds=2.0))
    assert "is 3.0 s long" in message
    assert "limit is 2.0 s (PARLEY_MAX_CLIP_SECONDS)" in message
    message = refusal(read_clip, path, limits=ClipLimits(max_bytes=2**16, bytes_setting="X"))
    assert "0 MB" in message
    assert "(X)" in message
    message = refusal(from_samples, RATE, tone(3.0), limits=ClipLimits(max_seconds=2.0))
    assert "longer than 2.0 s" in message


def test_duration_in_the_header_is_not_trusted(tmp_path):
    """A stream without a duration is still stopped at the limit."""
    path = tmp_path / "stream.mp3"
    encode(path, "libmp3lame", seconds=5.0)
    assert "s." in refusal(read_clip, path, limits=ClipLimits(max_seconds=2.0))


def test_notes():
    eight = np.zeros((RATE, 8), np.float32)
    eight[:] = tone()[:, np.newaxis]
    assert from_samples(RATE, eight).notes == ("8 channels were mixed to one.",)

    assert from_samples(RATE, np.stack([tone(), tone()], axis=1)).notes == ()

    clipped = np.clip(tone(gain=3.0), -1, 1)
    (note,) = from_samples(RATE, clipped).notes
    assert note.startswith("Heavily clipped")
    clean = (tone(gain=1.0) * 32767).astype(np.int16)
    assert from_samples(RATE, clean).notes == ()

    (note,) = from_samples(RATE, tone(gain=0.001)).notes
    assert "Very quiet (level -63 dB)" in note
    (note,) = from_samples(RATE, np.zeros(RATE, np.int16)).notes
    assert "silent" in note
    opposite = np.stack([tone(), -tone()], axis=1)
    assert "cancel" in from_samples(RATE, opposite).notes[0]


@pytest.mark.parametrize(
    "array",
    [
        (tone() * 127 + 128).astype(np.uint8),
        (tone() * 32767).astype(np.int16),
        (tone() * 2147483000).astype(np.int32),
        tone(),
        tone().astype(np.float64),
        np.stack([tone(), tone()], axis=1),
    ],
)
def test_from_samples(array):
    before = array.copy()
    clip = from_samples(RATE, array)
    assert_tone(clip)
    assert clip.name == "recording"
    assert np.array_equal(array, before)


def test_float_arrays_in_the_scale_of_integers_are_turned_down():
    clip = from_samples(RATE, tone(gain=1.0) * 20_000)
    assert np.abs(clip.audio.samples).max() == pytest.approx(1.0, abs=0.01)
    assert "Louder than full scale" in clip.notes[0]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2, 100)),
        np.zeros((2, 16_000)),
        np.float32(1.0),
        np.array(["a", "b"] * 5000),
        np.zeros(16_000, np.complex64),
        np.zeros(16_000, bool),
    ],
)
def test_arrays_that_are_no_sound(array):
    refusal(from_samples, RATE, array)


@pytest.mark.parametrize("rate", [0, -1, 10, 10_000_000])
def test_impossible_rates(rate):
    assert "sample rate" in refusal(from_samples, rate, tone())


def test_write_wav(tmp_path):
    path = tmp_path / "out.wav"
    write_wav(path, Audio(np.array([0.0, 0.5, -1.0, 2.0], np.float32), 24_000))
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert np.frombuffer(file.readframes(9), "<i2").tolist() == [0, 16384, -32767, 32767]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("voice.wav", "voice.wav"),
        ("Ünïcode ねこ.wav", "Ünïcode ねこ.wav"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system.ini", "system.ini"),
        ("/", "clip"),
        ("..", "clip"),
        ("", "clip"),
        (" . ", "clip"),
        ("\x00\x1b[31mred\n.wav", "[31mred .wav"),
        ("invoice\u202ewav.exe", "invoicewav.exe"),
        ("a\u200bb\ufeff.wav", "ab.wav"),
        ("CON", "_CON"),
        ("nul.wav", "_nul.wav"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("console.wav", "console.wav"),
        ("<img src=x>.wav", "_img src=x_.wav"),
        ("-rf", "rf"),
        (".hidden", "hidden"),
        ("tail. ", "tail"),
        ("\ud800broken", "broken"),
    ],
)
def test_safe_name(name, safe):
    assert safe_name(name) == safe


def test_safe_name_shortens_and_keeps_the_suffix():
    name = safe_name("ね" * 300 + ".wav")
    assert name.endswith(".wav")
    assert len(name.encode()) <= 180
    assert len(safe_name("x" * 300 + "." + "y" * 300).encode()) <= 180


@given(st.text())
def test_safe_name_holds_for_anything(name):
    safe = safe_name(name)
    assert safe
    assert safe_name(safe) == safe
    assert not set(safe) & set('/\\<>:"|?*\n\r\t\0')
    assert safe not in {".", ".."}
    safe.encode()
