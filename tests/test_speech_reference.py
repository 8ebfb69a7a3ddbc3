import numpy as np
import pytest
import voice_clips

from errors import InputError
from speech.bandwidth import bandwidth
from speech.pcm import Audio, concatenate, silence
from speech.reference import LONGEST, assess, choose, clipped_share

RATE = 24_000


@pytest.fixture(scope="module")
def encoder():
    return voice_clips.encoder()


@pytest.fixture(scope="module")
def reader() -> Audio:
    return voice_clips.person("two_cities")


def louder(audio, gain):
    return Audio(np.clip(audio.samples * np.float32(gain), -1, 1), audio.rate)


def noisy(audio, level):
    noise = np.random.default_rng(0).normal(0, level, len(audio))
    return Audio((audio.samples + noise).astype(np.float32), audio.rate)


def test_excerpt_lies_where_the_speech_is(reader):
    said = voice_clips.part(reader, 2, 10)
    clip = concatenate([silence(20, RATE), said, silence(30, RATE)])
    found = choose(clip)
    assert found.start == pytest.approx(20, abs=0.7)
    assert found.end == pytest.approx(28, abs=0.7)
    begin, end = round(found.start * RATE), round(found.end * RATE)
    assert np.array_equal(found.audio.samples, clip.samples[begin:end])


def test_excerpt_is_long_but_not_too_long(reader):
    found = choose(reader)
    assert 10 < found.audio.seconds <= LONGEST
    assert choose(reader, longest=5).audio.seconds <= 5


def test_excerpt_avoids_what_is_soft_or_clipped(reader):
    said = voice_clips.part(reader, 0, 10)
    pause = silence(2, RATE)
    for worse in (louder(said, 0.05), louder(said, 30)):
        for parts, good in (([worse, pause, said], 12), ([said, pause, worse], 0)):
            found = choose(concatenate(parts), longest=8)
            assert good - 0.5 <= found.start
            assert found.end <= good + 10.5


def test_no_speech_is_no_excerpt(reader):
    for clip in (
        silence(5, RATE),
        silence(0, RATE),
        voice_clips.chords(8),
        noisy(silence(5, RATE), 0.1),
    ):
        with pytest.raises(InputError, match="No speech"):
            choose(clip)
    scattered = [
        part
        for at in range(6)
        for part in (voice_clips.part(reader, at, at + 0.7), silence(9, RATE))
    ]
    with pytest.raises(InputError, match=r"At most .* at least 3.0 s"):
        choose(concatenate(scattered))


def test_a_clean_recording_is_praised_by_silence(reader, encoder):
    found = assess(voice_clips.part(reader, 0, 15), encoder)
    assert found.usable
    assert found.one_speaker
    assert found.advice == ()
    assert found.rate == RATE
    assert found.clipped == 0
    assert found.snr > 20
    found.require()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda clip: voice_clips.part(clip, 0, 5), "speech will do"),
        (lambda clip: louder(clip, 0.3), "soft"),
        (lambda clip: louder(clip, 40), "clipped"),
        (lambda clip: noisy(clip, 0.03), "noisy"),
        (lambda clip: clip.resampled(8000).resampled(RATE), "telephone"),
    ],
)
def test_advice_names_what_is_wrong(reader, encoder, damage, words):
    found = assess(damage(voice_clips.part(reader, 0, 15)), encoder)
    assert found.usable
    assert len(found.advice) == 1
    assert words in found.advice[0]


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (lambda: silence(5, RATE), "silent"),
        (lambda: silence(0, RATE), "silent"),
        (lambda: voice_clips.chords(8), "No speech"),
        (lambda: noisy(silence(5, RATE), 0.1), "No speech"),
        (lambda: voice_clips.person("two_cities", 0.5, 2.5), "only"),
        (lambda: voice_clips.person("beckett", 0.3, 0.8), "needs at least 3.0 s"),
    ],
)
def test_what_cannot_be_used_says_why(encoder, clip, words):
    found = assess(clip(), encoder)
    assert not found.usable
    assert words in found.problems[0]
    with pytest.raises(InputError, match=words):
        found.require()


def test_two_speakers_are_found_and_one_is_not(reader, encoder):
    other = voice_clips.spoken(
        "The morning train was late because of the snow on the line.",
        "My brother bought a second hand bicycle for the summer.",
    )
    turns = [voice_clips.part(reader, 0, 4), voice_clips.part(other, 0, 3)]
    turns += [voice_clips.part(reader, 4, 8), voice_clips.part(other, 3, None)]
    assert not assess(concatenate(turns), encoder).usable
    for name in ("two_cities", "beckett"):
        assert assess(voice_clips.person(name), encoder).one_speaker


def test_ten_minutes_are_handled_and_no_more(reader, encoder):
    long = Audio(np.tile(reader.samples, 15), RATE)
    found = assess(long, encoder)
    assert found.usable
    assert found.seconds == pytest.approx(long.seconds)
    assert found.speech <= 600
    assert any("10 min" in words for words in found.advice)
    assert choose(long).end <= 600


def test_clipping_is_a_flat_top():
    time = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * 220 * time).astype(np.float32)
    assert clipped_share(0.9 * tone) < 0.02
    assert clipped_share(np.clip(3 * tone, -1, 1)) > 0.5
    assert clipped_share(0.3 * np.clip(3 * tone, -1, 1)) == 0
    assert clipped_share(tone[:1]) == 0


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000])
def test_bandwidth_is_that_of_the_first_recording(rate):
    samples = np.random.default_rng(0).normal(0, 0.1, 2 * rate).astype(np.float32)
    found = bandwidth(Audio(samples, rate).resampled(48_000))
    assert found == pytest.approx(rate / 2, rel=0.08)
    assert bandwidth(silence(1, rate)) == 0
    assert bandwidth(silence(0, rate)) == 0
