"""When speech is sent: at once, or held back until there is enough of it."""

import asyncio

import numpy as np
import pytest

from live.reply import AHEAD, MOST_OTHERS, PLENTY, SLICE, Pacer
from speech.pcm import Audio

RATE = 24_000


def speech(seconds):
    return Audio(np.full(round(seconds * RATE), 0.1, np.float32), RATE)


def paced(others, *seconds, drained=False):
    """Seconds that were sent of what was added, a few slices later."""

    async def run():
        sent = []
        pacer = Pacer(lambda samples: sent.append(len(samples) / RATE), others)
        for piece in seconds:
            pacer.add(speech(piece))
        if drained:
            await asyncio.wait_for(pacer.drained(), 10)
        else:
            await asyncio.sleep(3 * SLICE)
        pacer.stop()
        return sum(sent)

    return asyncio.run(run())


def test_speech_goes_out_at_once_and_no_further_than_allowed():
    assert SLICE <= paced(0, 1.0, 5.0) <= AHEAD + 5 * SLICE


def test_a_little_is_held_back_where_others_are_answered_too():
    assert paced(1, PLENTY - 0.1) == 0


@pytest.mark.parametrize("others", [1, 2, MOST_OTHERS])
def test_the_more_others_the_more_is_held_back(others):
    assert paced(others, (others - 0.5) * PLENTY) == 0
    assert paced(others, 1.0, others * PLENTY - 1.0) > 0


def test_beyond_some_others_no_more_is_held_back():
    assert paced(100, MOST_OTHERS * PLENTY) > 0


def test_the_whole_of_a_short_reply_is_not_held_back():
    assert paced(MOST_OTHERS, 1.0, drained=True) == pytest.approx(1.0)


def test_patience_ends(monkeypatch):
    monkeypatch.setattr("live.reply.PATIENCE", SLICE / MOST_OTHERS)
    assert paced(MOST_OTHERS, 1.0) > 0
