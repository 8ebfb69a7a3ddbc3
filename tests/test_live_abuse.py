"""What strangers send to a live conversation, over raw WebSockets."""

import asyncio
import base64
import json
import time

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from live.routes import MOST_WAITING, _SlowReaderError, _Writer

RATE = 24_000


@pytest.fixture
def address(page_url):
    return page_url.replace("http://", "ws://") + "v1/realtime?model=default"


async def receive(line, kind):
    while True:
        event = json.loads(await asyncio.wait_for(line.recv(), 20))
        if event["type"] == kind:
            return event


async def works(address):
    """A new caller is served."""
    async with connect(address) as line:
        await receive(line, "session.created")


def speech(samples):
    return json.dumps(
        {
            "type": "input_audio_buffer.append",
            "audio": base64.b64encode(samples.astype("<i2").tobytes()).decode(),
        }
    )


@pytest.mark.parametrize(
    "garbage",
    ["", "{", "[]", "null", "5", '"text"', "[" * 50_000, b"\x00\xff\xfe", '{"type": {}}'],
    ids=lambda value: repr(value)[:12],
)
def test_garbage_gets_an_error_and_the_line_stays_open(address, garbage):
    async def converse():
        async with connect(address) as line:
            await receive(line, "session.created")
            await line.send(garbage)
            error = (await receive(line, "error"))["error"]
            await line.send('{"type": "input_audio_buffer.clear"}')
            await receive(line, "input_audio_buffer.cleared")
            return error

    error = asyncio.run(converse())
    assert error["code"] in {"invalid_json", "unknown_event", "invalid_event"}
    assert len(error["message"]) < 300


def test_a_huge_frame_ends_the_call_with_a_reason(address):
    async def converse():
        async with connect(address, max_size=None) as line:
            await receive(line, "session.created")
            await line.send("x" * 10_000_000)
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    await asyncio.wait_for(line.recv(), 20)
        await works(address)
        return caught.value.rcvd

    close = asyncio.run(converse())
    assert close.code == 1009
    assert "bytes" in close.reason


def test_a_minute_at_once_is_bounded(address):
    async def converse():
        # The client would not see the end of the call behind events it has no room for.
        async with connect(address, max_queue=None) as line:
            await receive(line, "session.created")
            second = speech(np.zeros(RATE, np.int16))
            for _ in range(60):
                await line.send(second)
            return (await receive(line, "error"))["error"]

    assert asyncio.run(converse())["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("phase", ["hearing", "thinking", "speaking"])
def test_hanging_up_in_any_phase_frees_everything(address, services, question, phase):
    pcm = question.resampled(RATE).pcm16()
    pcm = np.concatenate([pcm, np.zeros(RATE, np.int16)])

    async def converse():
        line = await connect(address)
        state = None
        sent = 0
        while state != phase:
            if sent < len(pcm):
                await line.send(speech(pcm[sent : sent + 480]))
                sent += 480
            try:
                event = json.loads(await asyncio.wait_for(line.recv(), 0.02))
                state = event.get("state", state)
            except TimeoutError:
                continue
        line.transport.abort()
        deadline = time.monotonic() + 20
        while services.turnstile.active and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        await works(address)

    asyncio.run(converse())
    assert services.turnstile.active == 0


def test_a_full_room_says_so_and_empties(address, services):
    async def converse():
        lines = [await connect(address) for _ in range(services.settings.max_live)]
        for line in lines:
            await receive(line, "session.created")
        late = await connect(address)
        with pytest.raises(ConnectionClosed) as caught:
            await asyncio.wait_for(late.recv(), 10)
        for line in lines:
            await line.close()
        await asyncio.sleep(0.5)
        await works(address)
        return caught.value.rcvd

    close = asyncio.run(converse())
    assert close.code == 1013
    assert "full" in close.reason


def test_two_hundred_connects_at_once(address):
    async def knock():
        try:
            async with connect(address, open_timeout=30) as line:
                await asyncio.wait_for(line.recv(), 30)
                return "served"
        except ConnectionClosed as closed:
            return closed.rcvd.reason if closed.rcvd else "dropped"

    async def converse():
        answers = await asyncio.gather(*(knock() for _ in range(200)))
        await asyncio.sleep(1)
        await works(address)
        return answers

    answers = asyncio.run(converse())
    assert answers.count("served") >= 1
    assert all(answer == "served" or "full" in answer for answer in answers)


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null"])
def test_pages_of_others_are_refused(address, origin):
    async def converse():
        async with connect(address, origin=origin) as line:
            with pytest.raises(ConnectionClosed) as caught:
                await asyncio.wait_for(line.recv(), 10)
        return caught.value.rcvd

    close = asyncio.run(converse())
    assert close.code == 1008
    assert "not from here" in close.reason


def test_who_never_reads_is_given_up():
    """Whatever the network buffers: what waits here is bounded."""

    class Stuck:
        async def send_text(self, text):
            await asyncio.Event().wait()

    async def converse():
        writer = _Writer(Stuck())
        sending = asyncio.create_task(writer.run())
        for number in range(MOST_WAITING * 3):
            writer.put({"number": number})
            if number % 500 == 0:
                await asyncio.sleep(0)
        with pytest.raises(_SlowReaderError):
            await asyncio.wait_for(sending, 5)
        return len(writer._waiting)

    assert asyncio.run(converse()) <= MOST_WAITING
