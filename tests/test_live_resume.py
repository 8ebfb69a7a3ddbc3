"""Conversations that go on after their line dropped."""

import asyncio
import json

import pytest
from live_line import (
    another_house,
    ask,
    dial,
    drop,
    ending,
    receive,
    say,
    silence,
    speech,
    until,
)
from websockets.exceptions import ConnectionClosed

from demos.page import launch
from live.keeper import Held, Keeper
from live.line import POLICY
from live.routes import Routes

SECONDS = 3


@pytest.fixture(scope="module")
def rooms():
    """The `Routes` of every server that is started meanwhile."""
    made = []
    with pytest.MonkeyPatch.context() as patch:
        begin = Routes.__init__

        def note(self, *given):
            begin(self, *given)
            made.append(self)

        patch.setattr(Routes, "__init__", note)
        yield made


@pytest.fixture(scope="module")
def house(services, rooms):
    """A server with two seats that keeps a session for some seconds, and its insides."""
    page = launch(
        another_house(services, max_live=2, live_resume=SECONDS, max_live_waiting=4), block=False
    )
    yield page.local_url, rooms[-1]
    page.close()


@pytest.fixture
def url(house):
    return house[0]


async def begin(url, **options):
    """A new conversation, its id and its key."""
    line = await dial(url, **options)
    created = await receive(line, "session.created")
    held = await receive(line, "parley.session")
    assert held["seconds"] == SECONDS
    return line, created["session"]["id"], held["resume"]


async def first(line):
    """The first event of a line that says who it is for."""
    while True:
        event = json.loads(await asyncio.wait_for(line.recv(), 30))
        if event["type"] in ("session.created", "parley.resumed"):
            return event


async def remember(line, boat):
    text = {"type": "realtime", "output_modalities": ["text"]}
    await say(line, "session.update", session=text)
    await ask(line, f"My boat is called {boat}. Please remember it.")
    await receive(line, "response.done")


def test_a_dropped_conversation_goes_on(url):
    async def converse():
        line, session, key = await begin(url)
        await remember(line, "Pelican")
        await drop(line)
        async with dial(url, resume=key) as again:
            told = [json.loads(await again.recv()) for _ in range(3)]
            await ask(again, "What is my boat called?")
            done = await receive(again, "response.done")
        return session, key, told, done

    session, key, told, done = asyncio.run(converse())
    assert [event["type"] for event in told] == ["parley.resumed", "parley.session", "parley.state"]
    assert told[0]["session_id"] == session
    assert told[1]["resume"] not in ("", key)
    assert told[2]["state"] == "listening"
    # Still text, and still the same dialogue.
    assert "Pelican" in done["response"]["output"][0]["content"][0]["text"]


def test_a_reply_that_the_drop_cut_short_is_kept_as_far_as_it_was_heard(url):
    async def converse():
        line, _, key = await begin(url)
        await ask(line, "Tell me the history of Rome at length.")
        item = (await receive(line, "response.output_audio.delta"))["item_id"]
        said = ""
        for _ in range(10):
            await receive(line, "response.output_audio.delta")
        await say(line, "parley.playhead", item_id=item, audio_ms=900)
        # Taken before the line drops: events are answered in order.
        await say(line, "conversation.item.retrieve", item_id=item)
        await receive(line, "conversation.item.retrieved")
        await drop(line)
        async with dial(url, resume=key) as again:
            await receive(again, "parley.resumed")
            await say(again, "conversation.item.retrieve", item_id=item)
            kept = await receive(again, "conversation.item.retrieved")
            said = kept["item"]
            # Nothing of the old reply comes after, and the next one is made.
            await ask(again, "Say yes.")
            created = await receive(again, "response.created")
            delta = await receive(again, "response.output_audio.delta")
        return said, created, delta

    said, created, delta = asyncio.run(converse())
    assert said["status"] == "incomplete"
    assert 1 <= len(said["content"][0]["transcript"].split()) <= 5
    assert delta["response_id"] == created["response"]["id"]


def test_what_was_half_said_is_forgotten(url, question):
    pcm = question.resampled(24_000).pcm16()

    async def converse():
        line, _, key = await begin(url)
        for at in range(0, len(pcm) // 2, 480):
            await line.send(speech(pcm[at : at + 480]))
        await receive(line, "input_audio_buffer.speech_started")
        await drop(line)
        async with dial(url, resume=key) as again:
            await receive(again, "parley.state")
            for _ in range(100):
                await again.send(silence(0.02))
            await say(again, "input_audio_buffer.clear")
            kinds = []
            while "input_audio_buffer.cleared" not in kinds:
                kinds.append(json.loads(await again.recv())["type"])
            return kinds

    assert asyncio.run(converse()) == ["input_audio_buffer.cleared"]


def test_a_key_works_once(url):
    async def converse():
        line, session, key = await begin(url)
        await drop(line)
        async with dial(url, resume=key) as again, dial(url, resume=key) as thief:
            assert (await first(again))["session_id"] == session
            assert (await first(thief))["type"] == "session.created"

    asyncio.run(converse())


@pytest.mark.parametrize("key", ["guess", "é", "0" * 5000, "%00"])
def test_a_guess_begins_a_new_conversation_and_disturbs_none(url, key):
    async def converse():
        line, _, _ = await begin(url)
        async with dial(url, resume=key) as thief:
            assert (await first(thief))["type"] == "session.created"
        await remember(line, "Gull")
        await line.close()

    asyncio.run(converse())


def test_a_hang_up_is_final(url):
    async def converse():
        for code in (1000, 1001):
            line, _, key = await begin(url)
            await line.close(code)
            async with dial(url, resume=key) as again:
                assert (await first(again))["type"] == "session.created"

    asyncio.run(converse())


def test_a_conversation_is_forgotten_in_time(house):
    url, routes = house

    async def converse():
        line, _, key = await begin(url)
        await drop(line)
        await until(lambda: routes._keeper.kept == 1)
        await until(lambda: routes._keeper.kept == 0)
        async with dial(url, resume=key) as again:
            assert (await first(again))["type"] == "session.created"

    asyncio.run(converse())


def test_the_key_takes_a_conversation_from_a_line_that_only_seems_alive(url):
    async def converse():
        line, session, key = await begin(url)
        other, _, _ = await begin(url)
        waiting = await dial(url)
        await receive(waiting, "parley.queue")
        async with dial(url, resume=key) as again:
            assert (await first(again))["session_id"] == session, "the seat was given away"
            end = await ending(line)
            await ask(again, "Say yes.")
            await receive(again, "response.done")
            with pytest.raises(TimeoutError):
                await receive(waiting, "session.created", seconds=0.1)
        for open_line in (other, waiting):
            await open_line.close()
        return end

    code, reason = asyncio.run(converse())
    assert code == POLICY and "another connection" in reason


def test_who_waits_gets_the_seat_and_who_returns_is_next(url):
    async def converse():
        line, session, key = await begin(url)
        other, _, _ = await begin(url)
        waiting = [await dial(url) for _ in range(2)]
        for one in waiting:
            await receive(one, "parley.queue")
        await drop(line)
        await receive(waiting[0], "session.created")
        again = await dial(url, resume=key)
        assert (await receive(again, "parley.queue"))["ahead"] == 0
        assert (await receive(waiting[1], "parley.queue"))["ahead"] == 0
        assert (await receive(waiting[1], "parley.queue"))["ahead"] == 1
        # Their line drops once more while they wait: the key still works.
        await drop(again)
        assert (await receive(waiting[1], "parley.queue"))["ahead"] == 0
        again = await dial(url, resume=key)
        await receive(again, "parley.queue")
        await other.close()
        assert (await first(again))["session_id"] == session
        for open_line in (again, *waiting):
            await open_line.close()

    asyncio.run(converse())


def test_without_a_time_to_keep_them_there_are_no_keys(services):
    page = launch(another_house(services, live_resume=0), block=False)

    async def converse():
        async with dial(page.local_url, resume="guess") as line:
            kinds = [json.loads(await line.recv())["type"]]
            await say(line, "input_audio_buffer.clear")
            while kinds[-1] != "input_audio_buffer.cleared":
                kinds.append(json.loads(await line.recv())["type"])
            return kinds

    kinds = asyncio.run(converse())
    page.close()
    assert kinds[0] == "session.created" and "parley.session" not in kinds


class Silent:
    """A session that says what became of it."""

    closed = suspended = False

    def suspend(self):
        self.suspended = True

    async def close(self):
        self.closed = True


def test_the_oldest_give_way_when_many_are_kept():
    async def keep():
        keeper = Keeper(60, most=3)
        sessions = [Silent() for _ in range(5)]
        keys = []
        for session in sessions:
            held = Held(session)
            (told,) = keeper.hold(held, lambda: None)
            keys.append(told["resume"])
            await keeper.part(held, dropped=True)
        await asyncio.sleep(0)
        assert [session.closed for session in sessions] == [True, True, False, False, False]
        assert keeper.kept == 3 and len(set(keys)) == 5
        found = keeper.claim(keys[3])
        assert found.session is sessions[3]
        assert keeper.claim(keys[3]) is None and keeper.claim(keys[0]) is None
        await keeper.part(found, dropped=False)
        assert sessions[3].closed
        await keeper.close()
        assert all(session.closed for session in sessions)

    asyncio.run(keep())


def test_no_event_is_queued_while_nobody_listens(house):
    """What a session says meanwhile goes nowhere, instead of into a list that grows."""
    url, routes = house

    async def converse():
        line, _, key = await begin(url)
        await ask(line, "Tell me the history of Rome at length.")
        await receive(line, "response.output_audio.delta")
        await drop(line)
        await until(lambda: routes._keeper.kept == 1)
        (kept,) = [held for held in routes._keeper._held if held.let_go is None]
        assert kept.session._presence._emit is None and kept.session._speaker.reply is None
        async with dial(url, resume=key) as again:
            await receive(again, "parley.resumed")
            await say(again, "input_audio_buffer.clear")
            kinds = []
            while "input_audio_buffer.cleared" not in kinds:
                kinds.append(json.loads(await again.recv())["type"])
            with pytest.raises((TimeoutError, ConnectionClosed)):
                kinds.append(json.loads(await asyncio.wait_for(again.recv(), 0.5))["type"])
            return kinds

    assert asyncio.run(converse()) == [
        "parley.session",
        "parley.state",
        "input_audio_buffer.cleared",
    ]
