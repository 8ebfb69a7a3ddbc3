import io
import pickle

import numpy as np
import pytest
import voice_clips

from errors import InputError
from speech.bands import BANDS, centres, level_free, to_bands, to_bins, unwarped, warped
from speech.pcm import Audio, silence
from speech.timbre import Timbre, measure
from speech.world import BINS, RATE, analyse, synthesize

NAMES = ("pitch", "spread", "voiced", "covariance", "sounds", "unvoiced", "bandwidth", "seconds")


@pytest.fixture(scope="module")
def reader() -> Audio:
    return voice_clips.person("two_cities", 0, 8)


@pytest.fixture(scope="module")
def timbre(reader) -> Timbre:
    return measure(reader)


def vowel(pitch, seconds=1.5, rate=RATE):
    """A buzz through two resonances."""
    time = np.arange(round(seconds * rate)) / rate
    tones = [
        np.sin(2 * np.pi * pitch * n * time) / (1 + ((pitch * n - 700) / 400) ** 2)
        for n in range(1, int(rate / 2 / pitch))
    ]
    return Audio((0.1 * sum(tones)).astype(np.float32), rate)


@pytest.mark.parametrize("pitch", [90, 210, 350])
def test_pitch_is_found(pitch):
    found = analyse(vowel(pitch), careful=True).pitch
    assert np.median(found[found > 0]) == pytest.approx(pitch, rel=0.02)


def test_analysis_and_synthesis_give_the_sound_again(reader):
    clip = voice_clips.part(reader, 0, 2).resampled(RATE)
    found = analyse(clip)
    made = synthesize(found, len(clip))
    assert len(made) == len(clip)
    again = analyse(made)
    both = (found.pitch > 0) & (again.pitch > 0)
    away = to_bands(found.envelope)[both] - to_bands(again.envelope)[both]
    assert np.median(np.abs(away)) < 2


def test_numbers_are_those_of_the_voice(timbre):
    assert 80 < np.exp(timbre.pitch) < 180
    assert 0.05 < timbre.spread < 0.5
    assert timbre.seconds > 2
    assert timbre.covariance.shape == (BANDS, BANDS)
    assert np.linalg.eigvalsh(timbre.covariance).min() > -1e-6
    assert timbre.bandwidth <= 12_000


def test_level_and_rate_do_not_matter(reader, timbre):
    soft = measure(Audio(reader.samples * np.float32(0.1), reader.rate))
    assert soft.pitch == pytest.approx(timbre.pitch, abs=0.01)
    heard = centres() < timbre.bandwidth
    assert np.abs(soft.voiced - timbre.voiced)[heard].max() < 0.5
    other = measure(reader.resampled(48_000))
    assert np.abs(other.voiced - timbre.voiced)[heard].max() < 1


def test_bytes_bring_it_back(timbre):
    again = Timbre.from_bytes(timbre.to_bytes())
    for name in NAMES:
        assert np.array_equal(getattr(again, name), getattr(timbre, name))
    assert isinstance(again.pitch, float)
    assert timbre.to_bytes() == timbre.to_bytes()


def rewritten(timbre, **changes):
    with np.load(io.BytesIO(timbre.to_bytes())) as arrays:
        values = {**arrays, **changes}
    target = io.BytesIO()
    np.savez(target, **{name: value for name, value in values.items() if value is not None})
    return target.getvalue()


def test_bad_bytes_are_refused(timbre):
    whole = timbre.to_bytes()
    bad = [
        b"",
        b"nothing of ours",
        whole[: len(whole) // 2],
        pickle.dumps({"pitch": 1.0}),
        rewritten(timbre, pitch=np.array([1.0, 2.0])),
        rewritten(timbre, voiced=np.full(BANDS, np.nan)),
        rewritten(timbre, voiced=np.array(["a"] * BANDS)),
        rewritten(timbre, voiced=np.array([{}] * BANDS, object)),
        rewritten(timbre, unvoiced=None),
        rewritten(timbre, sounds=np.zeros((0, BANDS))),
        rewritten(timbre, sounds=np.zeros((10_000, BANDS))),
        rewritten(timbre, sounds=np.zeros(BANDS)),
    ]
    for content in bad:
        with pytest.raises(InputError, match="damaged"):
            Timbre.from_bytes(content)
    with pytest.raises(InputError, match="another version"):
        Timbre.from_bytes(rewritten(timbre, version=np.array(99)))


def test_too_little_voice(reader):
    for clip in (
        silence(5, RATE),
        silence(0, RATE),
        voice_clips.part(reader, 0, 0.2),
        voice_clips.chords(5),
    ):
        with pytest.raises(InputError, match="too little"):
            measure(clip)


def test_bands_are_fine_and_go_back_to_bins():
    assert np.all(np.diff(centres()) > 0)
    flat = np.full((2, BINS), 0.01)
    assert np.allclose(to_bands(flat), -20)
    assert np.allclose(to_bins(np.ones((2, BANDS))), 1)
    tilted = np.outer([1.0, 100.0], np.linspace(1, 2, BINS))
    first, second = level_free(to_bands(tilted))
    assert np.allclose(first, second)


@pytest.mark.parametrize("factor", [0.8, 0.95, 1.0, 1.2])
def test_warp_moves_a_peak_and_loses_no_end(factor):
    positions = centres()
    peak = np.exp(-(((positions - 1500) / 200) ** 2))
    moved = positions[(peak @ warped(positions, factor)).argmax()]
    assert moved == pytest.approx(1500 * factor, abs=80)
    ends = unwarped(np.array([0.0, RATE / 2]), factor)
    assert ends == pytest.approx([0, RATE / 2])
    assert np.all(np.diff(unwarped(np.linspace(0, RATE / 2, BINS), factor)) > 0)
