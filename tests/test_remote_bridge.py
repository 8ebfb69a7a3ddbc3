"""The thread that asynchronous clients live on ends whatever is going on there."""

import asyncio
import threading
import time

import pytest
from standin import CHAT, StandIn, stalls

from engines.base import Cancel
from engines.cascade.parts import Prompt
from engines.messages import Sampling
from engines.remote.address import Remote
from engines.remote.bridge import AHEAD, Bridge
from engines.remote.chat import RemoteChat
from errors import ParleyError, UnavailableError

#: By then it hangs, seconds.
LONG = 20


class Source:
    """Items, and then silence.

    Args:
        items: How many, of 0, 1, 2, ...
    """

    def __init__(self, items):
        self._items = items
        self.silent = threading.Event()
        self.let_go = False

    async def items(self):
        try:
            for item in range(self._items):
                yield item
            self.silent.set()
            await asyncio.sleep(10 * LONG)
        finally:
            await asyncio.sleep(0.01)  # As a connection takes a while to be closed.
            self.let_go = True


def closed(bridge, *goodbye):
    """Whether it is closed in good time; on a thread, so that a hang is told and not waited for."""
    thread = threading.Thread(target=bridge.close, args=goodbye, daemon=True)
    thread.start()
    thread.join(LONG)
    return not thread.is_alive()


def read(bridge, source, into):
    try:
        for item in bridge.iterate(source.items(), Cancel()):
            into.append(item)
    except ParleyError as error:
        into.append(error)


@pytest.mark.parametrize("items", [0, 1, AHEAD + 3])
def test_close_while_a_request_runs(items):
    bridge, source, got, said = Bridge("test"), Source(items), [], []

    async def goodbye():
        said.append(source.let_go)

    reader = threading.Thread(target=read, args=(bridge, source, got), daemon=True)
    reader.start()
    assert source.silent.wait(LONG)
    assert closed(bridge, goodbye)
    reader.join(LONG)
    assert not reader.is_alive()
    assert got[:-1] == list(range(items))
    assert isinstance(got[-1], UnavailableError)
    assert said == [True]  # Connections are closed once nobody uses them.


def test_close_while_nobody_reads():
    """What waits for room is let go of, and whoever comes to read it is told."""
    bridge, source = Bridge("test"), Source(3 * AHEAD)
    items = bridge.iterate(source.items(), Cancel())
    assert next(items) == 0
    assert closed(bridge)
    assert source.let_go
    with pytest.raises(UnavailableError, match="closed"):
        list(items)


def test_a_reply_that_is_left_after_the_close():
    bridge, source, cancel = Bridge("test"), Source(2), Cancel()
    items = bridge.iterate(source.items(), cancel)
    assert next(items) == 0
    assert closed(bridge)
    cancel.set()
    items.close()


def test_closed_twice_and_asked_afterwards():
    bridge = Bridge("test")
    assert closed(bridge)
    assert closed(bridge)
    with pytest.raises(UnavailableError, match="closed"):
        list(bridge.iterate(Source(1).items(), Cancel()))


def test_a_goodbye_that_fails_ends_it_all_the_same():
    async def goodbye():
        raise OSError("gone already")

    assert closed(Bridge("test"), goodbye)


def test_chat_model_is_unloaded_while_it_writes():
    with StandIn({CHAT: stalls(LONG)}) as house:
        chat, ended = RemoteChat(Remote((house.url,)), "m"), []

        def ask():
            with pytest.raises(UnavailableError):
                chat.reply([Prompt("user", "Hello.")], Sampling(), ended.append, Cancel())
            ended.append("told")

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        while not house.asked:
            time.sleep(0.01)
        assert closed(chat)
        asking.join(LONG)
        assert ended == ["told"]
