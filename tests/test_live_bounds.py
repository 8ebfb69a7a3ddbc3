"""What a session keeps is bounded, and clients are told of the bounds."""

import asyncio

import numpy as np
import pytest
from live_line import another_house, ask, dial, receive, say
from openai.types.realtime import RateLimitsUpdatedEvent

from bench.caller import call
from demos.page import launch
from live.items import MOST_BYTES, MOST_ITEMS, Item, Items
from live.protocol import ProtocolError
from speech.pcm import Audio
from turnstile import Turnstile


def test_old_items_give_way():
    gone = []
    items = Items(gone.append)
    items.add(Item("system", "Be brief.", id="rule"))
    for number in range(MOST_ITEMS + 10):
        items.add(Item("user", f"{number}", id=f"item {number}"))
    assert gone == [f"item {number}" for number in range(11)]
    assert items.get("rule").text == "Be brief."
    with pytest.raises(ProtocolError):
        items.get("item 10")
    assert len(items.conversation("", 5).messages) == MOST_ITEMS - 1


def test_speech_gives_way_to_newer_speech():
    gone = []
    items = Items(gone.append)
    clip = Audio(np.zeros(MOST_BYTES // 4 // 4, np.float32), 24_000)
    for number in range(6):
        items.add(Item("user", audio=clip, id=f"{number}"))
    assert gone == ["0", "1"]
    items.add(Item("user", audio=clip, id="first"), after="root")
    assert "first" not in gone, "what was just added stays"


def test_one_item_beyond_the_bound_stays_alone():
    gone = []
    items = Items(gone.append)
    for number in range(2):
        items.add(Item("user", "x" * (MOST_BYTES + 1), id=f"{number}"))
    assert gone == ["0"]


def test_clients_hear_what_was_forgotten(page_url, monkeypatch):
    monkeypatch.setattr("live.items.MOST_ITEMS", 3)

    async def converse():
        async with dial(page_url) as line:
            for number in range(4):
                content = [{"type": "input_text", "text": "Hello."}]
                item = {"type": "message", "role": "user", "id": f"{number}", "content": content}
                await say(line, "conversation.item.create", item=item)
            deleted = await receive(line, "conversation.item.deleted")
            added = await receive(line, "conversation.item.added")
            return deleted["item_id"], added["item"]["id"], added["previous_item_id"]

    assert asyncio.run(converse()) == ("0", "3", "2")


@pytest.mark.parametrize("number", [0, -1, 10**9])
def test_replies_have_a_bound(page_url, number):
    async def converse():
        async with dial(page_url) as line:
            session = {"type": "realtime", "max_output_tokens": number}
            await say(line, "session.update", session=session)
            return (await receive(line, "error"))["error"]

    error = asyncio.run(converse())
    assert (error["code"], error["param"]) == ("invalid_value", "session.max_output_tokens")


def test_instructions_have_a_bound(page_url, services):
    async def converse():
        async with dial(page_url) as line:
            text = "x" * (services.settings.max_text + 1)
            await say(line, "session.update", session={"type": "realtime", "instructions": text})
            return (await receive(line, "error"))["error"]

    assert "PARLEY_MAX_TEXT" in asyncio.run(converse())["message"]


def test_half_a_surrogate_pair_is_no_trouble(page_url):
    async def converse():
        async with dial(page_url) as line:
            text = {"type": "realtime", "output_modalities": ["text"], "instructions": "\ud800 ok"}
            await say(line, "session.update", session=text)
            await receive(line, "session.updated")
            await ask(line, "Say \udfff yes.")
            return await receive(line, "response.done")

    assert asyncio.run(converse())["response"]["status"] == "completed"


def test_the_official_client_is_told_how_much_room_there_is(page_url, services):
    async def converse():
        async with call(page_url, talking=False) as caller:
            text = {"type": "realtime", "output_modalities": ["text"]}
            await caller.send(type="session.update", session=text)
            item = {"type": "message", "role": "user"}
            item["content"] = [{"type": "input_text", "text": "Say yes."}]
            await caller.send(type="conversation.item.create", item=item)
            await caller.send(type="response.create")
            await caller.wait("response.done")
            return caller

    caller = asyncio.run(converse())
    kinds = [event.type for event in caller.events]
    told = caller.events[kinds.index("response.created") + 1]
    assert isinstance(told, RateLimitsUpdatedEvent)
    (limit,) = told.rate_limits
    assert (limit.name, limit.reset_seconds) == ("requests", 0)
    assert limit.limit == services.settings.max_active + services.settings.max_queue
    assert limit.remaining == limit.limit - 1


def test_when_to_try_again_if_there_is_no_room(services):
    house = another_house(services)
    house.turnstile = Turnstile(1, 0)
    page = launch(house, block=False)

    async def converse():
        async with dial(page.local_url) as line:
            await ask(line, "Say yes.")
            return await receive(line, "rate_limits.updated")

    (limit,) = asyncio.run(converse())["rate_limits"]
    page.close()
    assert limit == {"name": "requests", "limit": 1, "remaining": 0, "reset_seconds": 60}
