"""Answers whose client leaves: the request stops, whatever is going out in that moment."""

import asyncio
import threading

import pytest
from starlette.requests import Request

from engines.base import Cancel
from rest.answers import streamed

SCOPE = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}


# A cancel that comes as something else ends can get lost between the two, in one order of
# events out of several: here are all that are near.
@pytest.mark.parametrize("steps", range(-5, 6))
def test_a_client_leaves_as_a_piece_goes_out(steps):
    cancel, stopped = Cancel(), threading.Event()
    cancel.on_set(stopped.set)

    def pieces():
        yield b"one"
        yield b"two"
        stopped.wait(10)
        cancel.check()

    async def leave():
        left, going_out, taken = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def receive():
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message.get("body") == b"two":
                going_out.set()
                await taken.wait()

        response = await streamed(Request(SCOPE, receive), pieces(), cancel, "text/plain")
        answering = asyncio.create_task(response(SCOPE, receive, send))
        await going_out.wait()
        (taken if steps > 0 else left).set()
        for _ in range(abs(steps)):
            await asyncio.sleep(0)
        (left if steps > 0 else taken).set()
        done, _ = await asyncio.wait({answering}, timeout=5)
        assert done and cancel.is_set(), "the request goes on for nobody"

    asyncio.run(leave())
