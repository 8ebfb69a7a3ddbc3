"""Turns of real speech, in pieces of any size, and none of real noise."""

import time

import live_clips as clips
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turn_tools import ends, plain, run

from live.smart_turn import SmartTurn
from live.turns import Barged, Paused, TurnDetector, TurnEnded, TurnSettings
from speech.pcm import Audio
from speech.vad import FRAME, RATE, SpeechDetector


@pytest.fixture(scope="module")
def conversation():
    """Real speech with pauses, and what a detector with real VAD makes of it."""
    parts = [clips.in_room(clips.spoken(text), after=1.0) for text in clips.WORDS[:2]]
    samples = clips.joined([*parts, clips.in_room(clips.hesitations()[0].audio)]).samples
    return samples, plain(run(TurnDetector(), samples, chunk=FRAME)), judged(samples, [FRAME])


def judged(samples, sizes):
    """Every pause judged complete, in chunks of the sizes given, again and again."""
    detector, events, start, turn = TurnDetector(), [], 0, 0
    while start < len(samples):
        new = detector.push(samples[start : start + sizes[turn % len(sizes)]])
        events += new
        for event in new:
            if isinstance(event, Paused):
                events += detector.judge(event, 0.99)
        start, turn = start + sizes[turn % len(sizes)], turn + 1
    return plain(events)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_size_of_the_chunks_does_not_matter(conversation, data):
    samples, alone, with_judge = conversation
    assert len(alone) > 6 and len(with_judge) > 6
    sizes = data.draw(st.lists(st.integers(0, 9000), min_size=1, max_size=30).filter(any))
    detector, events = TurnDetector(), []
    start, turn = 0, 0
    while start < len(samples):
        events += detector.push(samples[start : start + sizes[turn % len(sizes)]])
        start, turn = start + sizes[turn % len(sizes)], turn + 1
    assert plain(events) == alone
    # The judge answers between two chunks, so they must not span a pause.
    assert judged(samples, [size % 1500 + 1 for size in sizes]) == with_judge


@pytest.fixture(scope="module")
def smart_turn(services):
    return SmartTurn(services.store.ensure("smart-turn-v3.2"))


#: The judge needs about 50 ms.
LATE = round(0.05 * RATE)


def listen(clip, smart_turn):
    """The events of a clip, judged by Smart Turn, as `in_room` places it."""
    return run(
        TurnDetector(), clip.samples, answer=lambda e: smart_turn.probability(e.speech), late=LATE
    )


START = round(0.6 * RATE)


def milliseconds(samples):
    return samples / RATE * 1000


def test_five_minutes_of_noise_start_no_turn():
    taken, frames = 0.0, 0
    for make in (clips.fan, clips.music, clips.keyboard):
        for seed, level in enumerate((0.02, 0.05, 0.1, 0.3)):
            noise = make(25, seed, level)
            detector = TurnDetector()
            started = time.perf_counter()
            assert run(detector, noise.samples) == []
            taken += time.perf_counter() - started
            frames += len(noise) // FRAME
            detector = TurnDetector(TurnSettings(interrupt_after=0.15))
            detector.speaking(True)
            assert detector.push(noise.samples[: 10 * RATE]) == []
    print(f"Turn detection: {taken / frames * 1e6:.0f} us a frame with 20 ms chunks")


@pytest.mark.parametrize("seconds", [0.03, 0.06, 0.09, 0.12])
@pytest.mark.parametrize("level", [0.1, 0.6])
def test_a_cough_starts_no_turn(seconds, level):
    assert run(TurnDetector(), clips.in_room(clips.click(seconds, level)).samples) == []


@pytest.mark.parametrize("text", clips.WORDS)
def test_short_answers_count(smart_turn, text):
    (ended,) = ends(listen(clips.in_room(clips.spoken(text)), smart_turn))
    assert ended.reason in {"complete", "hold"}


def test_a_short_answer_cut_to_a_quarter_of_a_second():
    yes = Audio(clips.spoken("Yes.").samples[: RATE // 4], RATE)
    assert len(ends(run(TurnDetector(), clips.in_room(yes).samples))) == 1


def test_a_finished_question_is_ended_after_200_ms(smart_turn):
    delays, complete = [], 0
    for text in clips.QUESTIONS:
        question = clips.spoken(text)
        (ended,) = ends(listen(clips.in_room(question), smart_turn))
        delays.append(milliseconds(ended.at - START - len(question)))
        complete += ended.reason == "complete"
        assert delays[-1] < (300 if ended.reason == "complete" else 900)
    print(f"Smart Turn calls {complete} of {len(delays)} questions complete")
    print(f"End of turn: {np.percentile(delays, [50, 95]).round()} ms after it (p50, p95)")
    assert complete >= 18
    assert 150 < np.median(delays) < 260


def test_a_hesitation_is_waited_for(smart_turn):
    cut, delays = [], []
    for spoken, texts in zip(clips.hesitations(), clips.HESITATIONS, strict=True):
        over = ends(listen(clips.in_room(spoken.audio), smart_turn))
        if any(ended.at < START + spoken.pause_end for ended in over):
            cut.append(texts)
        delays.append(milliseconds(over[-1].at - START - spoken.end))
        assert delays[-1] < 900
    print(f"Hesitations cut: {len(cut)} of {len(clips.HESITATIONS)}: {cut}")
    print(f"End of turn: {np.percentile(delays, [50, 95]).round()} ms after it (p50, p95)")
    assert len(cut) <= 3


def test_an_interruption_in_real_speech():
    detector = TurnDetector()
    room = clips.in_room(clips.spoken(clips.QUESTIONS[4]), before=1.0)
    detector.speaking(True)
    barged, *_, ended = run(detector, room.samples)
    assert isinstance(barged, Barged) and isinstance(ended, TurnEnded)
    assert 200 < milliseconds(barged.at - RATE) < 350
    # Nothing of it is lost.
    assert barged.start < RATE - RATE // 5


def test_a_cough_or_a_short_word_does_not_interrupt():
    for clip in (clips.click(0.12), Audio(clips.spoken("Hm.").samples[: RATE // 8], RATE)):
        detector = TurnDetector()
        detector.speaking(True)
        assert run(detector, clips.in_room(clip, before=1.0).samples) == []


def test_the_same_signal_takes_the_same_turns(smart_turn):
    clip = clips.in_room(clips.hesitations()[3].audio)
    assert plain(listen(clip, smart_turn)) == plain(listen(clip, smart_turn))


def test_the_detector_takes_frames_of_the_real_vad_one_by_one():
    """So that its numbers do not depend on the chunks, not in the last digit."""
    vad = SpeechDetector()
    counts = []
    real = vad.probabilities
    vad.probabilities = lambda samples: (counts.append(len(samples)), real(samples))[1]
    TurnDetector(vad=vad).push(np.zeros(10 * FRAME + 5, np.float32))
    assert counts == [FRAME] * 10
