"""Turns of a scripted voice, at exact times."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turn_tools import MANUAL, SEMANTIC, SERVER, ends, run, script, scripted, shape

from errors import InputError
from live.turns import Barged, Paused, Resumed, SpeechStarted, TurnEnded, TurnSettings
from speech.vad import FRAME, FRAME_SECONDS, RATE


@pytest.mark.parametrize(
    ("turn_settings", "probability", "reason", "silence"),
    [
        (SEMANTIC, 0.9, "complete", 6),
        (SEMANTIC, 0.2, "hold", 25),
        (SEMANTIC, None, "silence", 16),
        (SERVER, None, "silence", 16),
        (SERVER, 0.9, "silence", 16),
    ],
)
def test_a_turn(turn_settings, probability, reason, silence):
    answer = None if probability is None else lambda _: probability
    events = run(scripted(turn_settings), script(20, 30, 40), answer=answer)
    assert shape(events) == [("SpeechStarted", 24), ("Paused", 53), ("TurnEnded", 50 + silence)]
    started, paused, ended = events
    assert started.start == (20 - 9) * FRAME  # 0.3 s before
    assert ended.speech_end == paused.speech_end == 50 * FRAME
    assert ended.reason == reason
    assert ended.utterance is paused.utterance
    assert len(paused.utterance) == paused.at - started.start
    assert len(paused.speech) == paused.speech_end - started.start - FRAME
    assert paused.utterance.samples[9 * FRAME - 1 : 9 * FRAME + 1].tolist() == [0, 1]


def test_speech_goes_on_after_a_pause():
    events = run(scripted(), script(20, 30, 15, 30, 40), answer=lambda _: 0.2)
    assert [name for name, _ in shape(events)] == [
        "SpeechStarted", "Paused", "Resumed", "Paused", "TurnEnded",
    ]  # fmt: skip
    assert events[2].at == 67 * FRAME  # two frames of speech
    assert len(events[3].utterance) == (98 - 11) * FRAME
    assert events[4].at == (95 + 25) * FRAME


@pytest.mark.parametrize(
    ("tail", "pauses"),
    [
        # Fading is enough, and what fades is in the utterance.
        ([0.9, 0.6, 0.2, 0.1], [("Paused", 2)]),
        ([0.9, 0.2, 0.1, 0.1], [("Paused", 2)]),
        # It only sank for a moment.
        ([0.9, 0.6, 0.9, 0.9], [("Paused", 2), ("Resumed", 3)]),
        ([0.9, 0.6, 0.9, 0.6, 0.1], [("Paused", 2), ("Resumed", 3), ("Paused", 4)]),
        # Weak speech goes on: one pause for the fading, the next for silence.
        ([0.9, 0.6, 0.5, 0.5, 0.5, 0.5, 0.1], [("Paused", 2), ("Resumed", 4), ("Paused", 7)]),
        # After silence it takes two frames to go on, however clear.
        ([0.9, 0.6, 0.1, 0.9, 0.1], [("Paused", 2)]),
    ],
)
def test_speech_that_fades(tail, pauses):
    detector = scripted(TurnSettings())
    begin = script(20, 30)
    detector.push(begin)
    events = detector.push(np.repeat(np.array(tail, np.float32), FRAME))
    assert [(name, at - 50) for name, at in shape(events)] == pauses


def test_weak_speech_is_no_pause():
    detector = scripted(TurnSettings())
    events = detector.push(np.repeat(np.full(60, 0.6, np.float32), FRAME))
    assert [type(event) for event in events] == [SpeechStarted]


def test_an_answer_to_a_pause_that_is_over_is_ignored():
    detector = scripted()
    (first,) = [e for e in detector.push(script(20, 30, 5)) if isinstance(e, Paused)]
    assert [type(e) for e in detector.push(script(0, 20, 3))] == [Resumed, Paused]
    assert detector.judge(first, 0.99) == []
    assert detector.push(script(12)) == []
    assert [type(e) for e in detector.push(script(1))] == [TurnEnded]
    assert detector.judge(first, 0.99) == []


def test_a_late_answer_ends_the_turn_at_once():
    detector = scripted()
    *_, paused = detector.push(script(20, 30, 3))
    assert detector.push(script(9)) == []
    (ended,) = detector.judge(paused, 0.99)
    assert (ended.at, ended.reason) == (62 * FRAME, "complete")


def test_a_click_in_the_pause_changes_nothing():
    events = run(scripted(), script(20, 30, 10, 1, 40), answer=lambda _: 0.2)
    assert shape(events) == [("SpeechStarted", 24), ("Paused", 53), ("TurnEnded", 75)]
    # Not even one that comes when the turn is just about to end.
    events = run(scripted(), script(20, 30, 5, 1, 40), answer=lambda _: 0.9)
    assert shape(events)[-1] == ("TurnEnded", 57)


@pytest.mark.parametrize(("frames", "turns"), [(1, 0), (3, 0), (4, 1), (9, 1)])
def test_what_is_too_short_starts_no_turn(frames, turns):
    assert len(ends(run(scripted(), script(20, frames, 40)))) == turns


def test_clicks_do_not_add_up():
    assert run(scripted(), script(20, *(2, 4) * 50)) == []


def test_padding_does_not_reach_into_the_turn_before():
    events = run(scripted(), script(20, 10, 8, 10, 40), answer=lambda _: 0.9)
    first, second = ends(events)
    again = [event for event in events if isinstance(event, SpeechStarted)][1]
    assert first.at == 36 * FRAME == again.start
    assert len(second.utterance) == (48 + 3 - 36) * FRAME


def test_speech_that_begins_with_the_signal():
    started, *_ = run(scripted(), script(0, 30, 40))
    assert started.start == 0


def test_a_long_turn_is_ended():
    events = run(scripted(TurnSettings(longest=2.0)), script(20, 80, 40))
    over = ends(events)
    assert [e.reason for e in over] == ["longest", "silence"]
    assert over[0].at == over[0].speech_end == (11 + 62) * FRAME
    assert len(over[0].utterance) == 62 * FRAME
    # The next turn begins where that one was cut off.
    assert [e.start for e in events if isinstance(e, SpeechStarted)] == [11 * FRAME, 73 * FRAME]


def test_memory_is_bounded():
    for turn_settings in (SEMANTIC, TurnSettings(kind=None, longest=2.0)):
        detector = scripted(turn_settings)
        run(detector, script(2000), chunk=FRAME)
        assert len(detector._tape._frames) < 70


# --- settings that change ----------------------------------------------------------------------


def test_settings_change_between_two_words():
    """Speech in progress goes on, and the new settings count at once."""
    detector = scripted()
    events = run(detector, script(20, 10))
    detector.settings = TurnSettings(pause=0.1, hold=1.6, interrupt_after=0.5)
    events += run(detector, script(0, 20, 60), answer=lambda _: 0.2)
    assert shape(events) == [("SpeechStarted", 24), ("Paused", 53), ("TurnEnded", 100)]
    assert events[0].start == (20 - 9) * FRAME


def test_padding_that_has_just_been_made_longer():
    """What came before is gone; what is there is taken."""
    detector = scripted()
    run(detector, script(40))
    detector.settings = TurnSettings(prefix_padding=1.0)
    started, paused, *_ = run(detector, script(5, 20, 40))
    assert started.start == (40 - 9) * FRAME
    assert len(paused.utterance) == paused.at - started.start


@pytest.mark.parametrize("kinds", [(SEMANTIC, SERVER), (SEMANTIC, MANUAL), (MANUAL, SERVER)])
def test_another_kind_begins_afresh_but_time_goes_on(kinds):
    before, after = kinds
    detector = scripted(before)
    run(detector, script(20, 10))
    detector.settings = after
    assert detector.received == 30 * FRAME
    assert detector.commit() == [], "what was said before is forgotten"
    events = run(detector, script(20, 30, 40)) + detector.commit()
    ended = ends(events)[0]
    assert ended.speech_end == (30 + 50) * FRAME
    assert len(ended.utterance) <= ended.at - 30 * FRAME


def test_a_reply_that_is_played_is_known_to_another_kind():
    detector = scripted()
    detector.speaking(True)
    detector.settings = SERVER
    assert run(detector, script(20, 7, 20)) == [], "too short to interrupt"


# --- over a reply ----------------------------------------------------------------------------


def test_speech_over_a_reply_counts_when_it_goes_on():
    detector = scripted()
    detector.push(script(20))
    detector.speaking(True)
    assert detector.push(script(20, 7, 20)) == []
    events = run(detector, script(0, 30, 40), answer=lambda _: 0.9)
    onset = 67 * FRAME
    barged, _, ended = events
    assert isinstance(barged, Barged)
    assert barged.at == onset + 8 * FRAME  # 250 ms
    assert barged.start == onset - 9 * FRAME
    assert ended.at == onset + 36 * FRAME
    assert ended.utterance.samples[9 * FRAME] == 1 > ended.utterance.samples[9 * FRAME - 1]


@pytest.mark.parametrize("after", [0.1, 0.25, 0.5, 1.0])
def test_how_long_is_settable(after):
    detector = scripted(TurnSettings(interrupt_after=after, echo_grace=0.0))
    detector.speaking(True)
    (barged,) = [e for e in detector.push(script(20, 60)) if isinstance(e, Barged)]
    assert abs(barged.at / RATE - (20 * FRAME_SECONDS + after)) <= FRAME_SECONDS / 2


def test_the_echo_at_the_start_of_a_reply_does_not_count():
    detector = scripted()
    detector.speaking(True)
    assert detector.push(script(2, 14, 20)) == []  # 64 to 512 ms
    detector.speaking(False)
    detector.speaking(True)
    now = detector.received
    (barged,) = detector.push(script(2, 30))  # goes on
    assert barged.at - now == (9 + 8) * FRAME  # grace, then 250 ms
    assert barged.start == now - 7 * FRAME  # from the onset on, with padding


def test_the_grace_is_over_though_more_of_the_reply_comes():
    detector = scripted()
    detector.speaking(True)
    detector.push(script(20))
    detector.speaking(True)  # The next clause.
    (barged,) = [e for e in detector.push(script(0, 30)) if isinstance(e, Barged)]
    assert barged.at == 28 * FRAME


def test_a_frame_in_which_speech_rises_counts_over_a_reply():
    detector = scripted()
    detector.speaking(True)
    rising = np.repeat(np.array([0] * 20 + [0.4] + [1] * 10, np.float32), FRAME)
    (barged,) = [e for e in detector.push(rising) if isinstance(e, Barged)]
    assert barged.at == 28 * FRAME
    assert barged.start == (21 - 9) * FRAME


def test_after_the_reply_short_speech_counts_again():
    detector = scripted()
    detector.speaking(True)
    assert detector.push(script(30, 4)) == []
    detector.speaking(False)
    assert shape(detector.push(script(0, 1))) == [("SpeechStarted", 35)]


def test_half_duplex():
    detector = scripted()
    detector.hold_off(True)
    assert detector.push(script(10, 40, 10)) == []
    detector.hold_off(False)
    events = run(detector, script(2, 30, 40), answer=lambda _: 0.9)
    assert shape(events) == [("SpeechStarted", 66), ("Paused", 95), ("TurnEnded", 98)]
    assert not ends(events)[0].utterance.samples[: 9 * FRAME].any()  # nothing of the reply


# --- commit and clear ------------------------------------------------------------------------


def test_the_client_commits():
    detector = scripted(MANUAL)
    assert detector.commit() == []
    signal = script(10, 20, 10)[:-100]
    assert run(detector, signal, chunk=333) == []
    (ended,) = detector.commit()
    assert np.array_equal(ended.utterance.samples, signal)
    assert (ended.at, ended.speech_end) == (len(signal), 30 * FRAME)
    assert ended.reason == "commit"
    assert detector.commit() == []
    more = np.linspace(0, 0.1, 5000, dtype=np.float32)
    detector.push(more)
    (ended,) = detector.commit()
    assert np.array_equal(ended.utterance.samples, more)
    assert ended.speech_end == ended.at
    detector.push(more)
    detector.clear()
    detector.push(more[:77])
    (ended,) = detector.commit()
    assert np.array_equal(ended.utterance.samples, more[:77])


def test_what_the_client_never_commits_is_forgotten():
    detector = scripted(TurnSettings(kind=None, longest=2.0))
    signal = np.random.default_rng(0).uniform(0, 0.1, 10 * RATE).astype(np.float32)
    detector.push(signal)
    (ended,) = detector.commit()
    assert np.array_equal(ended.utterance.samples, signal[-62 * FRAME :])


def test_commit_and_clear_in_a_turn():
    detector = scripted()
    assert detector.commit() == []
    detector.push(script(20, 20)[:-10])
    (ended,) = detector.commit()
    assert len(ended.utterance) == 29 * FRAME - 10
    assert run(detector, script(40)) == []
    detector.push(script(0, 20, 4))
    detector.clear()
    assert run(detector, script(40)) == []


def test_settings_can_change_in_between():
    detector = scripted(MANUAL)
    assert detector.push(script(20, 20)) == []
    detector.settings = SERVER
    assert [type(e) for e in detector.push(script(0, 20, 20))] == [SpeechStarted, Paused, TurnEnded]


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": -0.1}, {"complete": 1.1}, {"pause": -0.1}, {"hold": float("nan")},
        {"longest": float("inf")}, {"longest": 0.0}, {"prefix_padding": 61.0},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        TurnSettings(**wrong)


# --- any signal ------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    frames=st.lists(st.integers(1, 40), max_size=12),
    answers=st.lists(st.sampled_from([None, 0.1, 0.9]), min_size=1, max_size=5),
    speaking=st.booleans(),
    kind=st.sampled_from(["semantic_vad", "server_vad"]),
)
def test_events_come_in_an_order_that_makes_sense(frames, answers, speaking, kind):
    detector = scripted(TurnSettings(kind=kind, longest=3.0))
    detector.speaking(speaking)
    signal, events = script(*frames, 1) if frames else script(1), []
    for index, chunk in enumerate(np.split(signal, len(signal) // FRAME)):
        new = detector.push(chunk)
        events += new
        for event in new:
            answer = answers[index % len(answers)]
            if isinstance(event, Paused) and answer is not None:
                events += detector.judge(event, answer)
    follows = {
        None: {SpeechStarted, Barged},
        SpeechStarted: {Paused, TurnEnded}, Barged: {Paused, TurnEnded},
        Paused: {Resumed, TurnEnded}, Resumed: {Paused, TurnEnded},
        TurnEnded: {SpeechStarted, Barged},
    }  # fmt: skip
    kinds = [None, *map(type, events)]
    assert all(after in follows[before] for before, after in pairwise(kinds))
    assert [e.at for e in events] == sorted(e.at for e in events)
    assert all(len(e.utterance) <= 94 * FRAME for e in ends(events))
