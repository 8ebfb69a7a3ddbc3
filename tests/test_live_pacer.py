"""When speech is sent: at once, or held back until there is enough of it."""

import asyncio

import numpy as np
import pytest

from live.reply import AHEAD, PLENTY, SLICE, Pacer
from speech.pcm import Audio

RATE = 24_000


def speech(seconds):
    return Audio(np.full(round(seconds * RATE), 0.1, np.float32), RATE)


def paced(patience, *seconds, drained=False):
    """Seconds that were sent of what was added, a few slices later."""

    async def run():
        sent = []
        pacer = Pacer(lambda samples: sent.append(len(samples) / RATE), patience)
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
    assert SLICE <= paced(0.0, 1.0, 5.0) <= AHEAD + 5 * SLICE


def test_a_little_is_held_back_where_others_are_answered_too():
    assert paced(60.0, 1.0) == 0


def test_plenty_is_not_held_back():
    assert paced(60.0, 1.0, PLENTY - 1.0) > 0


def test_the_whole_of_a_short_reply_is_not_held_back():
    assert paced(60.0, 1.0, drained=True) == pytest.approx(1.0)


def test_patience_ends():
    assert paced(SLICE, 1.0) > 0
