"""Seats for live conversations and the line before them."""

import asyncio
import json

import pytest
from live_line import another_house, ask, dial, drop, ending, receive, say, silence

from demos.page import launch
from live.line import FULL
from live.room import MOST_EARLY, Early, FullError, Room

SEATS, PLACES = 2, 3


class Guest:
    """Somebody who sits down as soon as they can, and gets up when told to."""

    def __init__(self, room, returning=False):
        self.told = []
        self.seated = asyncio.Event()
        self._up = asyncio.Event()
        self.visit = asyncio.create_task(self._visit(room, returning))

    async def _visit(self, room, returning):
        async with room.seat(self.told.append, returning=returning):
            self.seated.set()
            await self._up.wait()

    async def leave(self):
        self._up.set()
        await self.visit


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def guests(room, number):
    arrived = []
    for _ in range(number):
        arrived.append(Guest(room))
        await settle()
    return arrived


def test_first_come_first_served():
    async def visits():
        room = Room(1, 9)
        order = await guests(room, 5)
        assert [guest.told for guest in order] == [[], [0], [1], [2], [3]]
        for number, guest in enumerate(order):
            assert guest.seated.is_set()
            assert not any(later.seated.is_set() for later in order[number + 1 :])
            await guest.leave()
            await settle()
        assert order[4].told == [3, 2, 1, 0]
        assert (room.taken, room.waiting) == (0, 0)

    asyncio.run(visits())


def test_who_leaves_the_line_makes_room_in_it():
    async def visits():
        room = Room(1, 2)
        first, second, third = await guests(room, 3)
        with pytest.raises(FullError):
            async with room.seat(lambda _: None):
                pass
        second.visit.cancel()
        await settle()
        assert third.told == [1, 0]
        (late,) = await guests(room, 1)
        await first.leave()
        await settle()
        assert third.seated.is_set() and late.told == [1, 0]

    asyncio.run(visits())


def test_a_seat_that_comes_to_one_who_just_left_goes_on():
    async def visits():
        room = Room(1, 9)
        async with room.seat(lambda _: None):
            second, third = await guests(room, 2)
        # The second has the seat, but has not looked yet.
        second.visit.cancel()
        await settle()
        assert third.seated.is_set() and not second.seated.is_set()
        await third.leave()
        assert room.taken == 0

    asyncio.run(visits())


def test_everybody_leaves_at_once():
    async def visits():
        room = Room(2, 9)
        present = await guests(room, 7)
        for guest in present:
            guest.visit.cancel()
        await settle()
        assert (room.taken, room.waiting) == (0, 0)

    asyncio.run(visits())


def test_who_returns_waits_before_the_others_and_is_never_refused():
    async def visits():
        room = Room(1, 1)
        first, second = await guests(room, 2)
        back, back_too = Guest(room, returning=True), Guest(room, returning=True)
        await settle()
        assert (back.told, back_too.told, second.told) == ([0], [1], [0, 1, 2])
        for sitting, following in ((first, back), (back, back_too), (back_too, second)):
            await sitting.leave()
            await settle()
            assert following.seated.is_set()

    asyncio.run(visits())


def test_what_comes_early_is_kept_within_limits():
    told = []
    early = Early(told.append)
    update = json.dumps({"type": "session.update"})
    for number in range(MOST_EARLY * 3):
        early.take(silence(0.02))
        early.take(update)
        if number < MOST_EARLY:
            assert not told
    assert early.kept == [update] * MOST_EARLY
    assert len(told) == MOST_EARLY * 2 and told[0]["error"]["code"] == "too_early"
    large = Early(told.append)
    for _ in range(50):
        large.take("x" * 100_000)
    assert sum(map(len, large.kept)) <= 300_000


@pytest.fixture(scope="module")
def small_url(services):
    house = another_house(services, max_live=SEATS, max_live_waiting=PLACES)
    page = launch(house, block=False)
    yield page.local_url
    page.close()


async def seated(url, number):
    lines = [await dial(url) for _ in range(number)]
    for line in lines:
        await receive(line, "session.created")
    return lines


async def queued(url):
    line = await dial(url)
    return line, (await receive(line, "parley.queue"))["ahead"]


def test_callers_wait_their_turn(small_url):
    async def converse():
        inside = await seated(small_url, SEATS)
        waiting = []
        for number in range(PLACES):
            line, ahead = await queued(small_url)
            assert ahead == number
            waiting.append(line)
        late = await dial(small_url)
        refused = await ending(late)
        await drop(waiting[1])
        moved = await receive(waiting[2], "parley.queue")
        assert (moved["ahead"], moved["message"]) == (
            1,
            "The room is full. One other is before you.",
        )
        await inside[0].close()
        assert json.loads(await waiting[0].recv())["type"] == "session.created"
        assert (await receive(waiting[2], "parley.queue"))["ahead"] == 0
        await inside[1].close()
        await receive(waiting[2], "session.created")
        for line in waiting:
            await line.close()
        return refused

    code, reason = asyncio.run(converse())
    assert code == FULL
    assert reason.startswith("The room is full and so is the line before it.")


def test_what_is_said_in_the_line_counts_once_the_conversation_begins(small_url):
    async def converse():
        inside = await seated(small_url, SEATS)
        line, _ = await queued(small_url)
        text = {"type": "realtime", "output_modalities": ["text"]}
        await say(line, "session.update", session=text)
        await ask(line, "Say hello.")
        for _ in range(100):
            await line.send(silence(0.02))
        await inside[0].close()
        await receive(line, "session.created")
        updated = await receive(line, "session.updated")
        done = await receive(line, "response.done")
        for other in (inside[1], line):
            await other.close()
        return updated, done

    updated, done = asyncio.run(converse())
    assert updated["session"]["output_modalities"] == ["text"]
    assert done["response"]["status"] == "completed"


def test_who_talks_too_much_in_the_line_is_told(small_url):
    async def converse():
        inside = await seated(small_url, SEATS)
        line, _ = await queued(small_url)
        for _ in range(MOST_EARLY + 1):
            await say(line, "session.update", session={"type": "realtime"})
        error = (await receive(line, "error"))["error"]
        for other in (*inside, line):
            await other.close()
        return error

    assert asyncio.run(converse())["code"] == "too_early"
