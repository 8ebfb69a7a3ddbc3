"""Raw WebSockets for the tests: what no well-behaved client would do, and how lines end."""

import asyncio
import base64
import copy
import json
from contextlib import asynccontextmanager

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bench.caller import call

RATE = 24_000


def dial(url, token=None, resume=None, **options):
    """A connection to the page's server at `url`."""
    address = url.rstrip("/").replace("http://", "ws://") + "/v1/realtime?model=default"
    address += f"&token={token}" if token else ""
    address += f"&resume={resume}" if resume else ""
    # Else a client that does not read would not see the end either.
    return connect(address, **{"max_queue": None, **options})


async def receive(line, kind, seconds=90):
    """The next event of a kind."""
    async with asyncio.timeout(seconds):
        while (event := json.loads(await line.recv()))["type"] != kind:
            pass
        return event


async def ending(line, seconds=90, seen=None):
    """Code and reason of the end of a line; notes the events before it in `seen`."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                event = json.loads(await line.recv())
                if seen is not None:
                    seen.append(event)
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


async def say(line, kind, **fields):
    await line.send(json.dumps({"type": kind, **fields}))


async def ask(line, text):
    """Ask in writing."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await say(line, "conversation.item.create", item=item)
    await say(line, "response.create")


async def drop(line):
    """Break the connection, as a network does."""
    line.transport.abort()
    await line.wait_closed()


async def flood(line, text, seen=None):
    """Send until the line ends; see `ending`."""

    async def send():
        while True:
            for _ in range(20):
                await line.send(text)
            await asyncio.sleep(0.005)

    sending = asyncio.create_task(send())
    end = await ending(line, seen=seen)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    return end


async def until(condition, seconds=30):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def speech(samples):
    """An event with samples of -32768 to 32767."""
    audio = base64.b64encode(samples.astype("<i2").tobytes()).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


def silence(seconds):
    return speech(np.zeros(round(seconds * RATE), np.int16))


def another_house(services, **settings):
    """The same engines under other rules."""
    house = copy.copy(services)
    house.settings = services.settings.model_copy(update=settings)
    return house


@asynccontextmanager
async def neighbour(url):
    """Somebody else is being answered meanwhile, and is not disturbed."""
    async with call(url) as caller:
        await caller.send(
            type="session.update", session={"type": "realtime", "max_output_tokens": 40}
        )
        await caller.write("Count from one to ten in words.")
        await caller.wait("response.output_audio.delta")
        yield caller
        done = await caller.wait("response.done")
        assert done.response.status == "completed"
        assert not caller.of("error")
