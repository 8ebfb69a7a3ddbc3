"""Clauses in pieces, joined: no click at a seam, pauses as asked for, nothing lost."""

import numpy as np
import pytest

from speech.joining import CROSS, KEEP, LEAD, Joiner
from speech.pcm import Audio, concatenate
from speech.seams import seam_jump

RATE = 24_000


def tone(seconds, pitch=200.0):
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * pitch * time + 1)).astype(np.float32)


def breath(seconds):
    """What a neural voice breathes between words: -66 dBFS."""
    return np.random.default_rng(0).normal(0, 5e-4, round(seconds * RATE)).astype(np.float32)


def join(clauses, pauses, size):
    """All that is heard, and where each `push` and `end` put a seam."""
    joiner, heard = Joiner(RATE), []
    for clause, pause in zip(clauses, pauses, strict=True):
        for at in range(0, len(clause), size):
            heard.append(joiner.push(Audio(clause[at : at + size], RATE)))
        heard.append(joiner.end(pause))
    heard.append(joiner.finish())
    return concatenate(heard), np.cumsum([len(part) for part in heard])


@pytest.mark.parametrize("size", [37, 480, 5000, 10**6])
def test_pieces_of_any_size_give_the_same_sound(size):
    clauses = [np.concatenate([breath(0.2), tone(0.5), breath(0.3)]), tone(0.4, 300), tone(0.3)]
    sound, _ = join(clauses, [0.28, 0.04, 0.28], size)
    whole, _ = join(clauses, [0.28, 0.04, 0.28], 10**7)
    assert len(sound) == pytest.approx(len(whole), abs=0.01 * RATE)
    # Silence at both ends is replaced by what was asked for, and two clauses overlap.
    wanted = LEAD + 0.5 + KEEP + 0.28 + 0.4 + 0.3 - CROSS
    assert sound.seconds == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("pause", [0.04, 0.28])
def test_no_seam_jumps(pause):
    """Tones that are cut at full level: as hard as a seam can be."""
    sound, seams = join([tone(0.5), tone(0.5, 330), tone(0.5)], [pause, pause, 0.28], 700)
    assert max(seam_jump(sound, at) for at in seams if 1 <= at < len(sound)) < 0.3
    assert np.abs(np.diff(sound.samples)).max() < 0.05


def test_without_a_pause_there_is_no_hole():
    sound, _ = join([tone(0.5), tone(0.5)], [0.04, 0.28], 700)
    middle = sound.samples[round(0.3 * RATE) : round(0.7 * RATE)].reshape(-1, 240)
    assert np.sqrt(np.mean(middle**2, axis=1)).min() > 0.1


def test_silence_within_a_clause_stays():
    spoken = np.concatenate([tone(0.3), breath(0.5), tone(0.3)])
    sound, _ = join([spoken], [0.28], 500)
    assert sound.seconds == pytest.approx(1.1, abs=0.02)


def test_what_can_be_heard_is_given_at_once():
    joiner = Joiner(RATE)
    given = joiner.push(Audio(tone(0.2), RATE))
    assert given.seconds >= 0.2 - CROSS - 0.01


def test_silence_alone_gives_nothing_and_costs_nothing():
    joiner = Joiner(RATE)
    for _ in range(1000):
        assert not len(joiner.push(Audio(breath(0.1), RATE)))
    assert len(joiner._pending) < RATE
    assert not len(joiner.end(0.28))
    assert not len(joiner.finish())


def test_a_clause_that_is_shorter_than_a_fade():
    sound, _ = join([tone(0.008), tone(0.2)], [0.28, 0.28], 100)
    assert sound.seconds == pytest.approx(0.488, abs=0.03)
