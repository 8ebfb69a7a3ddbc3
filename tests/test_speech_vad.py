import threading
import time
from importlib.metadata import distribution
from itertools import pairwise

import numpy as np
import pytest

from speech.files import read_clip
from speech.pcm import Audio, concatenate, silence
from speech.segments import _bounded, no_speech_message, split
from speech.vad import (
    FRAME,
    FRAMES_PER_RUN,
    SpeechDetector,
    speech_probabilities,
    speech_regions,
)

RATE = 16_000


@pytest.fixture(scope="module")
def cities() -> Audio:
    """44 s of a person reading, as moonshine-voice ships it."""
    file = distribution("moonshine-voice").locate_file("moonshine_voice/assets/two_cities.wav")
    return read_clip(str(file)).audio


def noise(seconds, gain=0.01, rate=RATE):
    rng = np.random.default_rng(0)
    return Audio((gain * rng.standard_normal(round(seconds * rate))).astype(np.float32), rate)


def part(audio, start, end):
    return Audio(audio.samples[round(start * audio.rate) : round(end * audio.rate)], audio.rate)


@pytest.mark.parametrize("samples", [0, 1, 511, 512, 513, 512 * FRAMES_PER_RUN, 512 * 300 + 7])
def test_every_sample_is_in_a_frame(samples):
    found = speech_probabilities(Audio(np.zeros(samples, np.float32), RATE))
    assert found.dtype == np.float32
    assert found.shape == (-(-samples // FRAME),)


def test_runs_do_not_show(cities):
    detector = SpeechDetector()
    frames = cities.samples[: len(cities) // FRAME * FRAME].reshape(-1, FRAME)
    one_by_one = np.concatenate([detector.probabilities(frame) for frame in frames])
    together = speech_probabilities(cities)[: len(frames)]
    assert np.abs(one_by_one - together).max() < 1e-4


def test_input_is_not_changed(cities):
    clip = part(cities, 0, 2.048)
    before = clip.samples.copy()
    speech_probabilities(clip)
    assert np.array_equal(clip.samples, before)


def test_callers_at_the_same_time_do_not_disturb_each_other(cities):
    clips = [cities, part(cities, 7, 20), noise(5)]
    alone = [speech_probabilities(clip) for clip in clips]
    together = {}

    def work(index):
        together[index] = [speech_probabilities(clips[index]) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, expected in enumerate(alone):
        assert all(np.array_equal(found, expected) for found in together[index])


def test_regions(cities):
    clip = concatenate([noise(2), part(cities, 1.2, 4.6), noise(3), part(cities, 5, 6.2), noise(1)])
    (first, second) = speech_regions(clip)
    assert first == pytest.approx((2.0, 5.4), abs=0.25)
    assert second == pytest.approx((8.4, 9.6), abs=0.25)
    at_48k = speech_regions(clip.resampled(48_000))
    assert np.allclose(at_48k, [first, second], atol=0.1)


def test_regions_are_in_order_within_the_clip_and_long_enough(cities):
    regions = speech_regions(cities, min_silence=0.1, pad=0.5)
    assert regions[0][0] >= 0
    assert regions[-1][1] <= cities.seconds
    assert all(end - start >= 0.1 for start, end in regions)
    assert all(a[1] <= b[0] for a, b in pairwise(regions))


def test_speech_up_to_the_very_end(cities):
    clip = part(cities, 1.2, 3.0)
    assert speech_regions(clip)[-1][1] == pytest.approx(clip.seconds, abs=0.05)


@pytest.mark.parametrize("clip", [silence(3, RATE), noise(3), noise(0.05), silence(0, RATE)])
def test_no_regions_without_speech(clip):
    assert speech_regions(clip) == []
    assert list(split(clip)) == []


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (noise(2.1, 10 ** (-58 / 20)), "(2.1 s, level -58 dB). Try closer to the microphone."),
        (silence(3, RATE), "(3.0 s, silent). Check that the microphone is on."),
        (noise(90, 0.1), "(1 min 30 s, level -20 dB). It may hold only noise or music."),
    ],
)
def test_no_speech_message(clip, message):
    assert no_speech_message(clip) == "I could not hear speech in this clip " + message


def check(audio, segments, max_seconds):
    """What holds for every split: order, limits, exact offsets."""
    for segment in segments:
        assert 0 < segment.audio.seconds <= max_seconds + 1e-9
        first = round(segment.start * audio.rate)
        assert first / audio.rate == segment.start
        there = audio.samples[first : first + len(segment.audio)]
        assert np.array_equal(there, segment.audio.samples)
    for a, b in pairwise(segments):
        assert a.start + a.audio.seconds <= b.start + 1e-9


@pytest.mark.parametrize("max_seconds", [1.0, 3.0, 5.0, 10.0, 28.0])
@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_split(cities, max_seconds, rate):
    audio = cities.resampled(rate)
    segments = list(split(audio, max_seconds))
    check(audio, segments, max_seconds)
    # All speech is in a segment.
    covered = [(s.start, s.start + s.audio.seconds) for s in segments]
    for start, end in speech_regions(audio, pad=0.0):
        for moment in np.arange(start, end, 0.05):
            assert any(a - 0.1 <= moment <= b + 0.1 for a, b in covered)
    if max_seconds == 28.0:
        assert len(segments) == 2
        assert segments[0].audio.seconds > 14


def test_cuts_lie_in_pauses(cities):
    loud = np.sqrt(np.mean(cities.samples**2))
    for segment in split(cities, 10.0):
        for edge in (segment.audio.samples[:320], segment.audio.samples[-320:]):
            assert np.sqrt(np.mean(edge**2)) < 0.1 * loud


def test_speech_without_a_pause_is_cut_at_its_quietest_moment():
    run = [noise(6.0, 0.1), noise(0.08, 0.001), noise(7.0, 0.1)]
    parts = list(_bounded(concatenate(run), [(0.0, 13.08)], 8.0))
    assert parts == [(0.0, pytest.approx(6.04, abs=0.03)), (parts[0][1], 13.08)]
    # Nowhere to cut: the parts still fit.
    parts = list(_bounded(noise(30, 0.1), [(0.0, 30.0)], 8.0))
    assert all(0 < end - start <= 8.0 for start, end in parts)
    assert [a[1] for a in parts[:-1]] == [b[0] for b in parts[1:]]


def test_long_silence_is_left_out(cities):
    words = part(cities, 1.2, 4.6)
    audio = concatenate([silence(5, RATE), words, noise(10, 0.001), words, silence(5, RATE)])
    segments = list(split(audio))
    assert [s.start for s in segments] == pytest.approx([4.9, 18.3], abs=0.15)
    assert sum(s.audio.seconds for s in segments) < 8


def test_window_too_small():
    with pytest.raises(ValueError, match="too small"):
        list(split(noise(1), 0.5))


def test_half_an_hour_streams(cities):
    audio = concatenate([cities] * 41)
    assert audio.seconds > 30 * 60
    began = time.perf_counter()
    segments = split(audio)
    first = next(segments)
    first_after = time.perf_counter() - began
    rest = list(segments)
    total = time.perf_counter() - began
    check(audio, [first, *rest], 28.0)
    print(f"first segment after {first_after:.3f} s, all after {total:.2f} s")
    assert first_after < 1
    assert total < 60
