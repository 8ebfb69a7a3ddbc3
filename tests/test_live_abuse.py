"""What strangers send to a live conversation, while somebody else goes on with theirs."""

import asyncio
import base64
import json
import time

import numpy as np
import pytest
from live_line import RATE, ask, dial, drop, ending, flood, neighbour, receive, say, silence, speech
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from engines.base import Cancel
from live.line import POLICY, TOO_BIG


@pytest.fixture(scope="module", autouse=True)
def warm(services):
    """The models are loaded before anybody is waiting for an answer."""
    with services.models.use(*services.engine().models("sqa", "en"), cancel=Cancel()):
        pass


@pytest.fixture
def beside(page_url):
    """Runs what a stranger does while a neighbour is being answered."""

    def run(abuse):
        async def both():
            async with neighbour(page_url):
                return await abuse

        return asyncio.run(both())

    return run


async def provoke(url, *sent):
    """Send what is wrong; returns the error. The line stays open."""
    async with dial(url) as line:
        await receive(line, "session.created")
        for text in sent:
            await line.send(text)
        error = (await receive(line, "error"))["error"]
        await say(line, "input_audio_buffer.clear")
        await receive(line, "input_audio_buffer.cleared")
        return error


def append(audio):
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


def update(**audio):
    session = {"type": "realtime", "audio": {"input": audio}}
    return json.dumps({"type": "session.update", "session": session})


def message(*content, **fields):
    item = {"type": "message", "role": "user", "content": list(content), **fields}
    return json.dumps({"type": "conversation.item.create", "item": item})


def playhead(audio_ms):
    return f'{{"type": "parley.playhead", "item_id": "x", "audio_ms": {audio_ms}}}'


ODD = base64.b64encode(b"abc").decode()
WRONG = {
    "nothing": ("", "invalid_json"),
    "half": ("{", "invalid_json"),
    "words": ("not json", "invalid_json"),
    "nan": (playhead("NaN"), "invalid_json"),
    "deep": ("[" * 100_000, "invalid_json"),
    "binary": (b"\x00\xff\xfe", "invalid_json"),
    "empty binary": (b"", "invalid_json"),
    "list": ("[]", "invalid_event"),
    "null": ("null", "invalid_event"),
    "number": ("5", "invalid_event"),
    "string": ('"text"', "invalid_event"),
    "no type": ("{}", "unknown_event"),
    "object as type": ('{"type": {}}', "unknown_event"),
    "number as type": ('{"type": 3}', "unknown_event"),
    "unknown event": ('{"type": "session.explode"}', "unknown_event"),
    "unknown of ours": ('{"type": "parley.explode"}', "unknown_event"),
    "long type": (json.dumps({"type": "x" * 1_000_000}), "unknown_event"),
    "no base64": (append("%%%"), "invalid_audio"),
    "foreign base64": (append("äöü="), "invalid_audio"),
    "odd bytes": (append(ODD), "invalid_audio"),
    "odd bytes in an item": (message({"type": "input_audio", "audio": ODD}), "invalid_audio"),
    "other rate": (update(format={"type": "audio/pcm", "rate": 16_000}), "invalid_event"),
    "other format": (update(format={"type": "audio/pcmu"}), "invalid_value"),
    "negative time": (
        playhead("-1"),
        "invalid_event",
    ),
    "endless time": (
        playhead("1e999"),
        "invalid_event",
    ),
    "long id": (message({"type": "input_text", "text": "a"}, id="x" * 100_000), "invalid_value"),
    "long text": (message({"type": "input_text", "text": "a" * 500_000}), "refused"),
    "no such item": (
        json.dumps({"type": "conversation.item.delete", "item_id": "y" * 9999}),
        "item_not_found",
    ),
}


@pytest.mark.parametrize(("sent", "code"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_gets_an_error_and_the_line_stays_open(page_url, sent, code):
    error = asyncio.run(provoke(page_url, sent))
    assert error["code"] == code, error
    assert 10 < len(error["message"]) < 600


def test_all_of_it_at_once_disturbs_nobody(page_url, beside):
    async def converse():
        async with dial(page_url) as line:
            await receive(line, "session.created")
            for sent, _ in WRONG.values():
                await line.send(sent)
            return [(await receive(line, "error"))["error"]["code"] for _ in WRONG]

    assert beside(converse()) == [code for _, code in WRONG.values()]


def test_a_huge_frame_ends_only_its_own_call(page_url, beside):
    async def converse():
        async with dial(page_url, max_size=None) as line:
            await receive(line, "session.created")
            await line.send("x" * 10_000_000)
            return await ending(line)

    assert beside(converse())[0] == TOO_BIG


def test_a_minute_at_once_is_bounded(page_url, beside):
    assert beside(provoke(page_url, *[silence(1)] * 60))["code"] == "rate_limit_exceeded"


def test_a_flood_ends_only_its_own_call(page_url, beside):
    async def converse():
        async with dial(page_url) as line:
            await receive(line, "session.created")
            return await flood(line, silence(0.02))

    code, reason = beside(converse())
    assert code == POLICY and "too fast" in reason


def test_requests_without_end_leave_places_for_others(page_url, beside, services):
    """Who asks for one reply after the other, each before the last was begun."""

    async def converse():
        async with dial(page_url) as line:
            await receive(line, "session.created")
            least = services.turnstile.limit
            for _ in range(200):
                await ask(line, "Count to one hundred.")
                least = min(least, services.turnstile.remaining)
                await asyncio.sleep(0.002)
            return least

    # The neighbour's, the stranger's newest, and those that are being stopped.
    assert beside(converse()) >= services.turnstile.limit // 2


def test_one_response_at_a_time(page_url):
    async def converse():
        async with dial(page_url) as line:
            await ask(line, "Say yes.")
            await say(line, "response.create")
            error = (await receive(line, "error"))["error"]
            return error, await receive(line, "response.done")

    error, done = asyncio.run(converse())
    assert error["code"] == "conversation_already_has_active_response"
    assert done["response"]["status"] == "completed"


@pytest.mark.parametrize("phase", ["hearing", "thinking", "speaking"])
def test_hanging_up_in_any_phase_frees_everything(page_url, services, question, beside, phase):
    pcm = question.resampled(RATE).pcm16()
    pcm = np.concatenate([pcm, np.zeros(RATE, np.int16)])

    async def converse():
        line = await dial(page_url)
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
        await drop(line)

    beside(converse())
    deadline = time.monotonic() + 30
    while services.turnstile.active and time.monotonic() < deadline:
        time.sleep(0.05)
    assert services.turnstile.active == 0


def test_two_hundred_connects_at_once(page_url, beside, services):
    seats, places = services.settings.max_live, services.settings.max_live_waiting

    async def knock(leave):
        try:
            async with dial(page_url, open_timeout=60) as line:
                event = json.loads(await asyncio.wait_for(line.recv(), 60))
                await leave.wait()
                return event["type"]
        except ConnectionClosed as closed:
            return closed.rcvd.reason if closed.rcvd else "dropped"

    async def converse():
        leave = asyncio.Event()
        knocks = [asyncio.create_task(knock(leave)) for _ in range(200)]
        while sum(task.done() for task in knocks) < 200 - (seats - 1) - places:
            await asyncio.sleep(0.05)
        leave.set()
        answers = await asyncio.gather(*knocks)
        async with dial(page_url) as line:
            await receive(line, "session.created")
        return answers

    answers = beside(converse())
    assert answers.count("session.created") == seats - 1
    assert answers.count("parley.queue") == places
    full = [answer for answer in answers if answer.startswith("The room is full and so is")]
    assert len(full) == 200 - (seats - 1) - places


def test_small_frames_that_unpack_to_huge_ones_are_not_taken(page_url):
    """The server makes no use of compression, so what is small stays small."""

    async def converse():
        async with connect(page_url.replace("http", "ws") + "v1/realtime") as line:
            return line.protocol.extensions

    assert asyncio.run(converse()) == []
