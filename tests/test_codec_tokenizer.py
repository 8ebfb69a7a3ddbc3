"""The speech tokenizer against the reference: ids exactly, mel and states within tolerance."""

import numpy as np
import pytest
import soundfile
import torch
from codec_golden import TOKENIZER, close, folders

from codec.features import first_channel
from codec.resampling import Resampler, resample
from codec.speech_tokenizer import SpeechTokenizer
from errors import InputError

CASES = [
    pytest.param(folder, name, id=f"{folder}-{name}")
    for folder in folders("speech_tokenizer")
    for name, clip in folder.meta["clips"].items()
    if "wav" in clip
]
LOADED = {}


def tokenizer(path):
    if path not in LOADED:
        LOADED[path] = SpeechTokenizer.load(path)
    return LOADED[path]


def clip(folder, name):
    path = folder.path / folder.meta["clips"][name]["wav"]
    return soundfile.read(path, dtype="float32", always_2d=True)


@pytest.mark.parametrize(("folder", "name"), CASES)
@torch.inference_mode()
def test_every_clip(folder, name):
    arrays, (samples, rate) = folder.arrays(), clip(folder, name)
    loaded = tokenizer(folder.checkpoint)
    assert loaded.encode(samples, rate) == arrays[f"{name}/token_ids"].tolist()

    features = loaded.features
    signal = resample(first_channel(samples), rate, features.rate)
    if (wanted := arrays.get(f"{name}/resampled_16k_channel0")) is not None:
        close(torch.from_numpy(signal), wanted, {"rtol": 0} | folder.tolerance("resampled"))
    segments = [
        signal[at : at + features.segment] for at in range(0, len(signal), features.segment)
    ]
    mel, mask = features(segments, features.padded(len(segments[0])))
    near = {"rtol": 0} | folder.tolerance("mel")
    if (wanted := arrays.get(f"{name}/mel")) is not None:
        close(mel, wanted, near)
    if (wanted := arrays.get(f"{name}/mel_every_8th_frame")) is not None:
        close(mel[:, :, ::8], wanted, near)
    assert torch.equal(mask, arrays[f"{name}/mel_attention_mask"].bool())
    encoded = loaded.network(mel, mask)
    close(encoded.pooled, arrays[f"{name}/pre_vq"], folder.tolerance("pre_vq"))
    close(encoded.states, arrays[f"{name}/last_hidden_state"], folder.tolerance("pre_vq"))
    assert torch.equal(encoded.codes, arrays[f"{name}/quantized_token_ids_padded"])


def pushed(loaded, samples, rate, seconds):
    """A stream, pushed in pieces of some length; and the codes it gave out."""
    stream, codes, size = loaded.open(rate), [], max(1, round(seconds * rate))
    for at in range(0, len(samples), size):
        codes += stream.push(samples[at : at + size])
        # Blocks of 4 s from the start of each segment of 30 s; a resampler looks ahead.
        segments, rest = divmod(max(0, min(at + size, len(samples)) / rate - 0.01), 30)
        assert len(codes) >= segments * 375 + rest // 4 * 50
    return stream, codes + stream.finish()


@pytest.mark.parametrize(("folder", "name"), CASES)
@pytest.mark.parametrize("seconds", [0.02, 0.7, 100])
def test_stream_gives_the_same(folder, name, seconds):
    samples, rate = clip(folder, name)
    loaded = tokenizer(folder.checkpoint)
    stream, codes = pushed(loaded, samples, rate, seconds)
    exact = loaded.encode(samples, rate)
    assert stream.codes == exact
    # What a louder sound changed later is told, and is not much.
    assert stream.revised == sum(a != b for a, b in zip(codes, exact, strict=True))
    assert stream.revised <= len(codes) / 20


@pytest.mark.parametrize(("folder", "name"), CASES)
@pytest.mark.parametrize("seconds", [0.02, 0.7])
def test_nothing_changes_after_the_loudest_sound(folder, name, seconds):
    """Here it comes first in every segment."""
    samples, rate = clip(folder, name)
    loaded = tokenizer(folder.checkpoint)
    burst = np.sin(np.arange(rate // 10) * 0.5)[:, None] * 0.99
    for at in range(0, len(samples), 30 * rate):
        part = samples[at : at + len(burst)]
        part[:] = burst[: len(part)]
    stream, codes = pushed(loaded, samples, rate, seconds)
    assert codes == stream.codes == loaded.encode(samples, rate)
    assert stream.revised == 0


def speech_like(seconds, rate=16_000, seed=0):
    """A signal whose level is about the same from the start: tones in noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    signal = sum(np.sin(2 * np.pi * f * time + random.uniform(0, 6)) for f in (180, 900, 2500))
    return (0.1 * signal + 0.03 * random.standard_normal(len(time))).astype(np.float32)


@pytest.mark.parametrize("seconds", [3.999, 4.0, 4.001, 29.9, 30.0, 30.08, 37.3])
def test_stream_at_the_edges(seconds):
    """Where blocks and segments end."""
    loaded, samples = tokenizer(TOKENIZER), speech_like(seconds)
    stream = loaded.open(16_000)
    codes = stream.push(samples[:20_000]) + stream.push(samples[20_000:])
    assert len(codes) % 50 in (0, 25)
    codes += stream.finish()
    assert len(codes) == -(-len(samples) // 1280)
    assert codes == loaded.encode(samples, 16_000)


def test_stream_tells_when_a_louder_sound_changes_what_was():
    """Whisper's front end looks at the loudest frame of all, which a stream cannot know."""
    loaded = tokenizer(TOKENIZER)
    quiet, loud = speech_like(5, seed=1) * 1e-5, speech_like(5, seed=2)
    samples = np.concatenate((quiet, loud))
    stream = loaded.open(16_000)
    pushed = stream.push(quiet) + stream.push(loud) + stream.finish()
    exact = loaded.encode(samples, 16_000)
    assert stream.codes == exact
    assert stream.revised == sum(a != b for a, b in zip(pushed, exact, strict=True)) > 0


def test_streams_do_not_know_each_other():
    loaded = tokenizer(TOKENIZER)
    one, other = speech_like(6, seed=3), speech_like(6, seed=4)
    streams = [loaded.open(16_000), loaded.open(16_000)]
    codes = [[], []]
    for at in range(0, len(one), 7_000):
        for index, samples in enumerate((one, other)):
            codes[index] += streams[index].push(samples[at : at + 7_000])
    for index, samples in enumerate((one, other)):
        assert codes[index] + streams[index].finish() == loaded.encode(samples, 16_000)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 44_099])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channel_count(rate, channels):
    samples = np.stack([speech_like(0.5, rate, seed) for seed in range(channels)], axis=1)
    codes = tokenizer(TOKENIZER).encode(samples, rate)
    assert len(codes) == 7
    assert codes == tokenizer(TOKENIZER).encode(samples[:, 0], rate)


def test_whole_numbers_are_full_scale():
    samples = speech_like(0.5)
    whole = np.round(samples * 32768).astype(np.int16)
    assert np.array_equal(first_channel(whole), whole / np.float32(32768))


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 44_099])
def test_resampling_in_pieces(rate):
    samples = speech_like(1.3, rate)
    whole = resample(samples, rate, 16_000)
    resampler = Resampler(rate, 16_000)
    sizes, at, parts = [1, 7, 5_000, 441, 10_000_000], 0, []
    for size in sizes:
        parts.append(resampler.push(samples[at : at + size]))
        at += size
    parts.append(resampler.finish())
    joined = np.concatenate(parts)
    assert len(joined) == -(-len(samples) * 16_000 // rate)
    np.testing.assert_allclose(joined, whole, atol=1e-6)


def test_resampling_keeps_a_tone():
    rate = 44_100
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    wanted = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    made = resample(tone, rate, 16_000)
    np.testing.assert_allclose(made[100:-100], wanted[100:-100], atol=2e-3)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0, np.float32), "empty"),
        (np.full(100, np.nan, np.float32), "not finite"),
        (np.zeros((2, 3, 4), np.float32), "n, channels"),
        (np.zeros((3, 0), np.float32), "n, channels"),
        (np.zeros(9, np.complex64), "complex64"),
    ],
)
def test_bad_clips(samples, message):
    with pytest.raises(InputError, match=message):
        tokenizer(TOKENIZER).encode(samples, 16_000)


def test_bad_pushes_leave_the_stream_as_it_is():
    loaded, samples = tokenizer(TOKENIZER), speech_like(5)
    stream = loaded.open(16_000)
    codes = stream.push(samples[:30_000])
    with pytest.raises(InputError, match="Nothing"):
        stream.push(samples[:0])
    with pytest.raises(InputError, match="finite"):
        stream.push(np.full(9, np.inf, np.float32))
    codes += stream.push(samples[30_000:]) + stream.finish()
    assert codes == loaded.encode(samples, 16_000)
    for call in (stream.finish, lambda: stream.push(samples)):
        with pytest.raises(InputError, match="over"):
            call()


def test_bad_rate():
    with pytest.raises(InputError, match="-1 Hz"):
        tokenizer(TOKENIZER).encode(speech_like(0.1), -1)
