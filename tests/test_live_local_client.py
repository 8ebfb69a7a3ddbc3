"""The client of a session in its own process: sound in and out, without a browser."""

import asyncio

import numpy as np
import pytest

from demos.stream_call import RESERVE, _Stream
from demos.stream_dialogue import Dialogue
from live.local_client import LEAD, MOST_EARLY, LocalClient, Microphone, Sound
from live.protocol import RATE
from live.session import Session
from speech.pcm import Audio, silence


def pieces_of(audio, seconds=0.25):
    """The audio in pieces, numbered from 1."""
    size = round(seconds * audio.rate)
    cut = range(0, len(audio), size)
    return [
        (number, Audio(audio.samples[at : at + size], audio.rate))
        for number, at in enumerate(cut, start=1)
    ]


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000, 96_000])
def test_pieces_of_any_rate_join_without_seams(rate):
    time = np.arange(2 * rate) / rate
    tone = Audio(np.sin(2 * np.pi * 440 * time).astype(np.float32), rate)
    microphone = Microphone()
    heard = np.concatenate([microphone.push(*piece) for piece in pieces_of(tone, 0.1)])
    # The filter keeps the last few milliseconds for what follows.
    assert 2 * RATE - 0.05 * RATE < len(heard) <= 2 * RATE
    expected = np.sin(2 * np.pi * 440 * np.arange(len(heard)) / RATE)
    inside = slice(RATE // 50, -RATE // 50)
    assert np.abs(heard - expected)[inside].max() < 0.01


def test_a_microphone_may_change_its_rate():
    microphone = Microphone()
    heard = [
        microphone.push(number, silence(0.5, rate))
        for number, rate in enumerate((48_000, 44_100, 24_000, 16_000), start=1)
    ]
    assert len(np.concatenate(heard)) == pytest.approx(2 * RATE, rel=0.03)


def test_pieces_that_overtake_each_other_are_put_in_order():
    microphone = Microphone()
    levels = {n: Audio(np.full(240, n / 100, np.float32), RATE) for n in range(1, 6)}
    given = [microphone.push(number, levels[number]) for number in (2, 1, 4, 5, 3)]
    assert [len(samples) for samples in given] == [0, 480, 0, 0, 720]
    heard = np.concatenate(given)[::240]
    assert heard == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])


def test_a_piece_that_never_comes_is_given_up_and_too_late_then():
    microphone = Microphone()
    given = [
        len(microphone.push(number, silence(0.01, RATE))) for number in range(2, 3 + MOST_EARLY)
    ]
    assert given[:-1] == [0] * MOST_EARLY
    assert given[-1] == 240 * (MOST_EARLY + 1)
    assert not len(microphone.push(1, silence(0.01, RATE)))


class Listener:
    """A local client of a real session, with what was told to it."""

    def __init__(self, services):
        self.events = []
        self.dialogue = Dialogue()
        self.client = LocalClient(self._note)
        self.client.session = Session(services, lambda: None, self.client.take)
        self.client.session.begin()

    def _note(self, event):
        self.events.append(event)
        self.dialogue.take(event)

    async def until(self, condition, seconds=60):
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    def has(self, kind):
        return any(event["type"] == kind for event in self.events)

    @property
    def state(self):
        return [event["state"] for event in self.events if event["type"] == "parley.state"][-1]

    @property
    def words(self):
        return [message["content"] for message in self.dialogue.messages()]


def test_a_reply_is_over_when_it_was_heard(services, question):
    async def converse():
        listener = Listener(services)
        client = listener.client
        asked = Audio(np.concatenate([question.samples, np.zeros(32_000, np.float32)]), 16_000)
        for number, piece in pieces_of(asked.resampled(44_100)):
            client.hear(number, piece)
        await listener.until(lambda: client.sound and client.sound.received > 0.5)
        sound = client.sound
        # It comes faster than it is played, but not all of it.
        await listener.until(lambda: sound.complete or sound.received >= LEAD)
        assert sound.received < LEAD + 0.6
        heard = 0.0
        while not sound.complete:
            heard = min(heard + 0.1, sound.received)
            client.played(sound.item, heard)
            await asyncio.sleep(0.01)
        assert listener.state == "speaking", "the listener has not heard it all"
        client.played(sound.item, 0.0, ended=True)
        await listener.until(lambda: listener.state == "listening")
        assert client.sound is None
        await client.session.close()
        return listener

    listener = asyncio.run(converse())
    question_heard, answer = listener.words
    assert question_heard == "Why is the sky blue?"
    assert "sky" in answer and "~~" not in answer


def test_what_was_not_heard_of_a_stopped_reply_is_forgotten(services):
    async def converse():
        listener = Listener(services)
        client = listener.client
        content = [{"type": "input_text", "text": "Count from one to thirty in words."}]
        item = {"type": "message", "role": "user", "content": content}
        client._send("conversation.item.create", item=item)
        client._send("response.create")
        await listener.until(lambda: client.sound and client.sound.received > 1.5)
        client.played(client.sound.item, 1.2)
        client.stop()
        assert client.sound is None
        await listener.until(lambda: listener.has("conversation.item.retrieved"))
        kept = listener.events[-1]["item"]["content"][0]["transcript"]
        await client.session.close()
        return listener, kept

    listener, kept = asyncio.run(converse())
    answer = listener.words[-1]
    assert 0 < len(kept.split()) < 6
    assert answer.startswith(kept.split()[0]) and answer.endswith("~~")


@pytest.mark.parametrize(
    ("half_duplex", "heard", "is_deaf"),
    [(True, 0.0, True), (True, 2.0, True), (False, 0.2, True), (False, 2.0, False)],
)
def test_what_the_microphone_hears_of_a_reply(half_duplex, heard, is_deaf):
    class Tape:
        def take(self, text):
            self.text = text

    async def listen():
        client = LocalClient(lambda event: None)
        client.session = Tape()
        client.half_duplex = half_duplex
        client.sound = Sound("item", "response", 0.0, received=3.0, heard=heard)
        client.hear(1, Audio(np.full(240, 0.5, np.float32), RATE))
        return client.session.text

    loud = Audio(np.full(1, 0.5, np.float32), RATE).pcm16().tobytes()
    assert is_deaf == (asyncio.run(listen()).count("AAAAAAAA") > 0), loud


def test_a_stream_gives_all_of_a_reply_and_never_waits_with_the_last_of_it():
    sound = Sound("item", "response", 0.0)
    stream = _Stream(sound)
    given = []

    def receive(seconds):
        sound.waiting.append(np.full(round(seconds * RATE), 7, np.int16))
        given.extend(stream.pieces())
        return sum(map(len, given)) / RATE

    assert receive(1.0) == pytest.approx(1.0 - RESERVE)
    assert len(given) == 2, "one piece wakes up the encoder, one is for the player"
    ticks = 0
    while stream.keeps_back:
        given.extend(stream.pieces())
        ticks += 1
    assert ticks > 1
    assert sum(map(len, given)) == RATE
    assert receive(0.3) == pytest.approx(1.3 - RESERVE)
    sound.complete = True
    receive(0.2)
    assert stream.is_over
    assert sum((piece == 7).sum() for piece in given) == round(1.5 * RATE)
    assert not (given[-1][-RATE // 10 :]).any(), "it ends in silence"
