"""Every way in which the server ends a conversation, and what it says then."""

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import string

import psutil
import pytest
from live_line import (
    another_house,
    ask,
    dial,
    drop,
    ending,
    flood,
    neighbour,
    receive,
    say,
    speech,
    until,
)
from test_app import App
from websockets.exceptions import ConnectionClosed

from demos.page import launch
from engines.base import Cancel
from live.line import (
    BROKEN,
    IDLE,
    MOST_BYTES,
    MOST_WAITING_SIZE,
    POLICY,
    REASON_BYTES,
    RESTART,
    TOO_BIG,
    Line,
)
from live.meter import MOST_EVENTS, PATIENCE, REST, Meter
from live.routes import _spell
from live.session import Session
from live.smart_turn import SmartTurn

PLAYHEAD = '{"type": "parley.playhead", "item_id": "none", "audio_ms": 0}'


@pytest.fixture(scope="module", autouse=True)
def warm(services):
    """The models are loaded before anybody is waiting for an answer."""
    with services.models.use(*services.engine().models("sqa", "en"), cancel=Cancel()):
        pass


@pytest.fixture
def serve(services):
    pages = []

    def serve(**settings):
        pages.append(launch(another_house(services, **settings), block=False))
        return pages[-1]

    yield serve
    for page in pages:
        page.close()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_nobody_says_anything(serve):
    url = serve(live_idle=1).local_url

    async def converse():
        line = await dial(url)
        await receive(line, "session.created")
        return await ending(line)

    assert asyncio.run(converse()) == (IDLE, "Nothing was said for 1 second.")


def test_durations_in_words():
    assert [_spell(seconds) for seconds in (600, 60, 90, 30, 1, 0.2)] == [
        "10 minutes",
        "1 minute",
        "90 seconds",
        "30 seconds",
        "1 second",
        "1 second",
    ]


def test_what_counts_as_being_quiet(services, question):
    async def converse():
        clock, told = Clock(), []
        session = Session(services, lambda: None, told.append, clock)
        session.begin()

        def quiet_after(*texts):
            clock.now += 100
            for text in texts:
                session.take(text)
            return session.quiet

        still = speech(question.samples[:480] * 0)
        frame = '{"type": "parley.playhead", "item_id": "none", "audio_ms": 10}'
        assert quiet_after(still, frame) == 100
        assert quiet_after("garbage", '{"type": "input_audio_buffer.append", "audio": "%"}') == 200
        assert quiet_after('{"type": "input_audio_buffer.clear"}') == 0
        assert quiet_after(still) == 100
        pcm = question.resampled(24_000).pcm16()
        assert quiet_after(speech(pcm)) == 0, "speech started"
        kinds = [event["type"] for event in told]
        assert "input_audio_buffer.speech_started" in kinds
        content = [{"type": "input_text", "text": "Say yes."}]
        item = {"type": "message", "role": "user", "content": content}
        create = json.dumps({"type": "conversation.item.create", "item": item})
        assert quiet_after(create, '{"type": "response.create"}') == 0
        clock.now += 10_000
        assert session.quiet == 0, "a reply is under way"
        await until(lambda: told[-1]["type"] == "parley.timings")
        assert quiet_after(still) == 100
        await session.close()

    asyncio.run(converse())


def test_a_long_reply_is_not_cut_by_the_time_out(serve):
    url = serve(live_idle=2).local_url

    async def converse():
        async with dial(url) as line:
            await ask(line, "Count from one to forty in words.")
            await receive(line, "response.output_audio.delta")
            begun = asyncio.get_running_loop().time()
            done = await receive(line, "response.done")
            lasted = asyncio.get_running_loop().time() - begun
            return done, lasted, await ending(line)

    done, lasted, (code, _) = asyncio.run(converse())
    assert done["response"]["status"] == "completed"
    assert lasted > 2.5, "the reply was too short to tell"
    assert code == IDLE


def test_the_server_stops(serve):
    page = serve()
    small = serve(max_live=1)

    async def converse():
        talking, quiet = await dial(page.local_url), await dial(page.local_url)
        seated = await dial(small.local_url)
        await receive(seated, "session.created")
        waiting = await dial(small.local_url)
        await receive(waiting, "parley.queue")
        dropped = await dial(page.local_url)
        await receive(dropped, "session.created")
        await drop(dropped)
        await ask(talking, "Count from one to ten in words.")
        await receive(talking, "response.output_audio.delta")
        lines = (talking, quiet, seated, waiting)
        ends = [asyncio.create_task(ending(line)) for line in lines]
        for stopping in (page, small):
            await asyncio.to_thread(stopping.close)
        return await asyncio.gather(*ends)

    assert asyncio.run(converse()) == [(RESTART, "The server is being restarted.")] * 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_whole_app_is_stopped(number):
    app = App("--no-warm")

    async def converse():
        # The last that Gradio says: from then on it waits for its end.
        await until(lambda: any("public link" in said for said in app.output))
        async with dial(app.url) as line:
            await receive(line, "session.created")
            app.process.send_signal(number)
            return await ending(line)

    try:
        assert asyncio.run(converse()) == (RESTART, "The server is being restarted.")
        assert app.process.wait(60) == 0, "".join(app.output)
    finally:
        app.process.kill()


def test_something_breaks_inside(page_url, monkeypatch, caplog):
    def break_down(*_):
        raise ZeroDivisionError("broken on purpose")

    monkeypatch.setattr(Session, "_clear", break_down)

    async def converse():
        async with dial(page_url) as line, dial(page_url) as other:
            await receive(line, "session.created")
            await receive(other, "session.created")
            await say(line, "input_audio_buffer.clear")
            end = await ending(line)
            await say(other, "session.update", session={"type": "realtime"})
            await receive(other, "session.updated")
            return end

    with caplog.at_level(logging.ERROR):
        code, reason = asyncio.run(converse())
    assert code == BROKEN and reason == "Something went wrong inside Parley. Please call again."
    assert "broken on purpose" in caplog.text


def test_something_breaks_in_the_background(page_url, monkeypatch, caplog, question):
    def break_down(*_):
        raise ZeroDivisionError("broken on purpose")

    monkeypatch.setattr(SmartTurn, "probability", break_down)
    pcm = question.resampled(24_000).pcm16()

    async def converse():
        async with dial(page_url) as line:
            for at in range(0, len(pcm), 480):
                await line.send(speech(pcm[at : at + 480]))
            await line.send(speech(pcm[:24_000] * 0))
            return await ending(line)

    with caplog.at_level(logging.ERROR):
        code, reason = asyncio.run(converse())
    assert code == BROKEN and "inside Parley" in reason
    assert "broken on purpose" in caplog.text


@pytest.mark.parametrize("size", [MOST_BYTES + 1, 10_000_000])
def test_a_frame_is_too_big(page_url, size):
    async def converse():
        async with dial(page_url, max_size=None) as line:
            await receive(line, "session.created")
            await line.send("x" * size)
            return await ending(line)

    assert asyncio.run(converse()) == (TOO_BIG, f"A frame has at most {MOST_BYTES:,} bytes.")


def test_a_frame_is_beyond_all_measure(page_url):
    """The web server does not even read it; what it says is its own."""

    async def converse():
        async with dial(page_url, max_size=None) as line:
            await receive(line, "session.created")
            with contextlib.suppress(ConnectionClosed):
                await line.send("x" * 20_000_000)
            return await ending(line)

    code, _ = asyncio.run(converse())
    assert code in (TOO_BIG, 1006)


def test_a_client_floods(page_url):
    seen = []

    async def converse():
        async with dial(page_url) as line:
            return await flood(line, PLAYHEAD, seen)

    code, reason = asyncio.run(converse())
    assert code == POLICY and "too fast" in reason
    (error,) = [event["error"] for event in seen if event["type"] == "error"]
    assert error["code"] == "rate_limit_exceeded" and "within a second" in error["message"]


def test_a_burst_is_only_slowed_down(page_url):
    async def converse():
        async with dial(page_url) as line:
            await receive(line, "session.created")
            for _ in range(MOST_EVENTS * 2):
                await line.send(PLAYHEAD)
            await say(line, "input_audio_buffer.clear")
            await receive(line, "error")
            await receive(line, "input_audio_buffer.cleared")

    asyncio.run(converse())


def test_how_fast_is_too_fast():
    clock = Clock()
    meter = Meter(clock)

    def second(events, size=10):
        """A second in which the client sends as much as it is let; its pauses."""
        pauses = [meter.add(size) for _ in range(events)]
        clock.now += 1
        return sum(pause > 0 for pause in pauses)

    for _ in range(20):
        assert second(MOST_EVENTS) == 0
    assert meter.strikes == 0
    for number in range(1, PATIENCE + 1):
        assert second(MOST_EVENTS + 1) == 1
        assert meter.strikes == number
    second(1)
    second(1)
    assert meter.strikes == 0, "a second of rest"
    assert second(3, size=2_000_000) == 1 and meter.strikes == 1
    clock.now += REST
    second(1)
    assert meter.strikes == 0


def connections(page):
    return len(page.server.server_state.connections)


def test_a_client_never_reads(serve):
    """It is given up, told so if it ever looks, and what waited for it is freed."""
    page = serve()
    text = "".join(random.Random(0).choices(string.printable, k=90_000))
    memory = psutil.Process(os.getpid()).memory_info

    async def converse():
        before = memory().rss
        line = await dial(page.local_url, max_queue=1, ping_interval=None, compression=None)
        await receive(line, "session.created")
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "id": "long", "content": content}
        await say(line, "conversation.item.create", item=item)
        most = 0
        async with neighbour(page.local_url):
            open_before = connections(page)
            for _ in range(400):
                await say(line, "conversation.item.retrieve", item_id="long")
                most = max(most, memory().rss - before)
                await asyncio.sleep(0.005)
            await until(lambda: connections(page) < open_before)
        return most

    most = asyncio.run(converse())
    assert most < 10 * MOST_WAITING_SIZE
    print(f"at most {most / 1e6:.0f} MB for a client that never reads 36 MB")


def test_a_slow_reader_that_wakes_up_hears_why(serve):
    page = serve()

    async def converse():
        line = await dial(page.local_url, max_queue=1, ping_interval=None, compression=None)
        await receive(line, "session.created")
        content = [{"type": "input_text", "text": os.urandom(45_000).hex()}]
        item = {"type": "message", "role": "user", "id": "long", "content": content}
        await say(line, "conversation.item.create", item=item)
        for _ in range(300):
            await say(line, "conversation.item.retrieve", item_id="long")
            await asyncio.sleep(0.003)
        return await ending(line)

    code, reason = asyncio.run(converse())
    assert (code, reason) == (POLICY, "You read too slowly; too much is waiting for you.")


def test_who_takes_not_one_event_is_given_up(monkeypatch):
    monkeypatch.setattr("live.line.STUCK", 0.1)
    cut = []

    class Stuck:
        """A socket whose client is there, and takes nothing."""

        async def accept(self):
            pass

        async def receive(self):
            await asyncio.Event().wait()

        async def send_text(self, _):
            await asyncio.Event().wait()

        async def close(self, *_):
            await asyncio.Event().wait()

    async def converse():
        monkeypatch.setattr("live.line.CLOSING", 0.1)
        line = Line(Stuck(), cut.append)
        line.put({"type": "test"})
        await asyncio.wait_for(line.hold(asyncio.Event().wait), 5)
        return line.dropped

    assert not asyncio.run(converse())
    assert len(cut) == 1


def test_a_reason_always_fits():
    told = []

    class Socket:
        async def accept(self):
            pass

        async def close(self, code, reason):
            told.append((code, reason))

    async def refuse():
        await Line(Socket()).refuse(POLICY, "ü" * 200)

    asyncio.run(refuse())
    ((code, reason),) = told
    assert code == POLICY and reason == "ü" * (REASON_BYTES // 2)
