import threading

import numpy as np
import pytest
import voice_clips

from engines.base import Cancel
from errors import CancelledError, InputError
from speech.level import level_db
from speech.matching import EDGE, Matcher, Plan
from speech.pcm import Audio, concatenate, silence
from speech.seams import seam_jump, trim
from speech.speaker import similarity
from speech.timbre import measure
from speech.tuning import CALIBRATION, LEAST_GAIN, tune
from speech.world import RATE, analyse, synthesize


@pytest.fixture(scope="module")
def clause() -> Audio:
    return voice_clips.spoken("Nobody expected the river to rise so quickly.")


@pytest.fixture(scope="module")
def source():
    return measure(
        voice_clips.spoken(
            "The museum opens at nine and closes before dinner.",
            "She wrote the address on the back of an old ticket.",
            "A small boat crossed the bay without any lights.",
        )
    )


@pytest.fixture(scope="module")
def reader() -> Audio:
    return voice_clips.person("two_cities", 0, 12)


@pytest.fixture(scope="module")
def target(reader):
    return measure(reader)


@pytest.fixture(scope="module")
def matcher(source, target) -> Matcher:
    return Matcher(source, target)


def pitch_of(audio):
    found = analyse(audio).pitch
    return float(np.median(found[found > 0]))


def test_speech_comes_nearer_to_the_voice(matcher, clause, reader):
    encoder = voice_clips.encoder()
    wanted = encoder.embed(reader)
    before = similarity(encoder.embed(clause), wanted)
    after = similarity(encoder.embed(matcher.match(clause)), wanted)
    assert after > before + 0.12


def test_pitch_becomes_that_of_the_voice(matcher, clause, target):
    assert pitch_of(matcher.match(clause)) == pytest.approx(np.exp(target.pitch), rel=0.1)


def test_a_voice_moved_to_itself_stays(source, clause):
    made = Matcher(source, source).match(clause)
    assert pitch_of(made) == pytest.approx(pitch_of(clause), rel=0.03)
    copied = synthesize(analyse(clause), len(clause))
    assert distance(made, clause) < 1.2 * distance(copied, clause)


def distance(first, second):
    """Mean difference of two signals' spectra over time, dB."""
    one, two = (10 * np.log10(analyse(audio).envelope[:, :340]) for audio in (first, second))
    loud = two.mean(axis=1) > np.percentile(two.mean(axis=1), 50)
    return float(np.abs(one - two)[loud].mean())


@pytest.mark.parametrize("seconds", [0.0, 1 / RATE, 0.004, 0.05, 0.2, 1.0, None])
@pytest.mark.parametrize("rate", [RATE, 16_000, 44_100])
def test_length_rate_and_level_stay(matcher, clause, seconds, rate):
    given = voice_clips.part(clause.resampled(rate), 0.3 if seconds is not None else 0)
    given = voice_clips.part(given, 0, seconds)
    made = matcher.match(given)
    assert len(made) == len(given)
    assert made.rate == rate
    assert made.samples.dtype == np.float32
    assert np.isfinite(made.samples).all()
    assert np.abs(made.samples).max(initial=0) <= 1
    if given.seconds >= 0.2:
        assert level_db(made.samples) == pytest.approx(level_db(given.samples), abs=1.0)


def test_without_voice_there_is_no_tone(matcher):
    hiss = np.random.default_rng(0).normal(0, 0.05, RATE // 2).astype(np.float32)
    made = matcher.match(Audio(hiss, RATE))
    assert level_db(made.samples) == pytest.approx(level_db(hiss), abs=1.0)
    assert matcher.match(silence(0.5, RATE)).samples.any() == np.False_


def test_input_is_not_changed_and_output_is_the_same_each_time(matcher, clause):
    before = clause.samples.copy()
    first = matcher.match(clause)
    matcher.match(voice_clips.part(clause, 0.5))
    assert np.array_equal(matcher.match(clause).samples, first.samples)
    assert np.array_equal(clause.samples, before)


def test_threads_share_a_matcher(matcher, clause):
    clips = [voice_clips.part(clause, start) for start in (0, 0.4, 0.8)]
    alone = [matcher.match(clip).samples for clip in clips]
    found = {}
    threads = [
        threading.Thread(target=lambda at=at: found.update({at: matcher.match(clips[at]).samples}))
        for at in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for at in range(3):
        assert np.array_equal(found[at], alone[at])


def test_clauses_join_without_a_click(matcher, clause):
    # Cut through a vowel: the worst clause there can be.
    cut = voice_clips.part(clause, 0.55, 1.4)
    made = matcher.match(cut)
    assert abs(made.samples[0]) < 1e-3
    assert abs(made.samples[-1]) < 0.05 * np.abs(made.samples).max()
    parts = [silence(0.1, RATE), made, silence(0.1, RATE)]
    joined = concatenate(parts)
    for at in (len(parts[0]), len(parts[0]) + len(made)):
        assert seam_jump(joined, at) < 1
    assert EDGE < 0.005
    assert trim(made).seconds > 0.5 * cut.seconds


def test_a_clause_is_the_same_beside_another(matcher, clause):
    """Nothing is carried over: joined before or after, the middle of the speech is alike."""
    alone = matcher.match(clause)
    twice = matcher.match(concatenate([clause, silence(0.3, RATE), clause]))
    first = Audio(twice.samples[: len(alone)], RATE)
    assert distance(first, alone) < 2


def test_a_telephone_voice_does_not_take_the_treble(source, reader, clause):
    narrow = measure(reader.resampled(8000))
    made = Matcher(source, narrow).match(clause)
    treble = lambda audio: float(analyse(audio).envelope[:, 220:340].mean())  # noqa: E731
    low = lambda audio: float(analyse(audio).envelope[:, 20:140].mean())  # noqa: E731
    kept = (treble(made) / low(made)) / (treble(clause) / low(clause))
    assert 10 * np.log10(kept) > -15


def test_plan_comes_back_and_bad_ones_are_refused():
    plan = Plan(warp=0.88, shape=0.5)
    assert Plan.from_bytes(plan.to_bytes()) == plan
    bad = [
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        b'{"version": 1, "warp": "wide"}',
        b'{"version": 1, "wrap": 1}',
    ]
    bad += [plan.to_bytes().replace(b"0.88", value) for value in (b"9", b"NaN", b"null", b"-1")]
    for content in bad:
        with pytest.raises(InputError, match="damaged"):
            Plan.from_bytes(content)
    with pytest.raises(InputError, match="another version"):
        Plan.from_bytes(plan.to_bytes().replace(b'"version": 1', b'"version": 0'))


def test_tuning_takes_the_best_plan(source, target, reader):
    encoder = voice_clips.encoder()
    wanted = encoder.embed(reader)
    speech = voice_clips.spoken(*CALIBRATION[:2])

    def near(plan):
        return similarity(encoder.embed(Matcher(source, target, plan).match(speech)), wanted)

    found = tune(speech, source, target, wanted, encoder)
    assert near(found) >= near(Plan())
    assert all(near(found) >= near(Plan(warp=warp)) - LEAST_GAIN for warp in (0.82, 1.22))
    assert tune(speech, source, target, wanted, encoder) == found


def test_tuning_can_be_stopped(source, target, reader):
    cancel = Cancel()
    cancel.set()
    voice = voice_clips.encoder()
    with pytest.raises(CancelledError):
        tune(reader, source, target, voice.embed(reader), voice, cancel.check)
