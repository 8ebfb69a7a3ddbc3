"""One connection: events in order in both directions, bounded in both, and its end."""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from live.meter import MOST_EVENTS, MOST_SIZE, PATIENCE, Meter
from live.protocol import error_event

logger = logging.getLogger(__name__)

#: Close codes: the first are the protocol's of WebSockets, the last is our own.
POLICY, TOO_BIG, BROKEN, RESTART, FULL, IDLE = 1008, 1009, 1011, 1012, 1013, 4408
#: Codes after which nobody comes back: the client hung up (1000, 1001), or the web server
#: did, because of what the client sent (1002, 1007, 1009) or because it stops (1012).
ENDED = frozenset({1000, 1001, 1002, 1007, 1009, 1012})
#: Longest reason that a close frame can hold, bytes of UTF-8.
REASON_BYTES = 123
#: Largest frame, bytes: 30 s of speech in base64, far more than a client needs to send at once.
MOST_BYTES = 2_000_000
#: What may wait for a slow reader, events and characters; the speech of a minute is 3.8 MB.
MOST_WAITING, MOST_WAITING_SIZE = 2_000, 4_000_000
#: How long a reader may take for one event, seconds.
STUCK = 30.0
#: How long a client may take to hear that it is hung up on, seconds.
CLOSING = 2.0
#: When a connection is broken that has not closed though it ended, seconds; uvicorn waits 10.
LINGERING = 12.0
#: How long the end of a connection may be known to the sender only, seconds.
LATE = 1.0

SLOW = "You read too slowly; too much is waiting for you."
TOO_FAST = (
    f"More than {MOST_EVENTS} events or {MOST_SIZE:,} bytes came within a second; "
    "what came is taken slowly. If this goes on, this line is closed."
)


class HangUpError(Exception):
    """The server ends a connection.

    Attributes:
        code: Of the close frame.

    Args:
        code: See above.
        reason: One line for the person at the other end.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _LeftError(Exception):
    """The client is gone."""


class Line:
    """A connection to a client.

    Attributes:
        take: Given every event that comes in; may be replaced between two.

    Args:
        socket: Not accepted yet.
        cut: Breaks a connection, if it is still there: some clients take not even its end.
    """

    def __init__(
        self,
        socket: WebSocket,
        cut: Callable[[WebSocket], None] = lambda _: None,
    ) -> None:
        self.take: Callable[[str | bytes], None] = _ignore
        self._socket = socket
        self._cut = cut
        self._meter = Meter(time.monotonic)
        self._waiting: deque[str] = deque()
        self._size = 0
        self._more = asyncio.Event()
        self._left: int | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def dropped(self) -> bool:
        """Whether the connection ended though neither side wanted it to."""
        return self._left is not None and self._left not in ENDED

    def put(self, event: dict[str, Any]) -> None:
        """Queue an event, without ever waiting; beyond the limit, the connection ends."""
        text = json.dumps(event)
        if len(self._waiting) >= MOST_WAITING or self._size + len(text) > MOST_WAITING_SIZE:
            self.hang_up(POLICY, SLOW)
            return
        self._waiting.append(text)
        self._size += len(text)
        self._more.set()

    def hang_up(self, code: int, reason: str) -> None:
        """End the connection, from anywhere on the event loop; the first reason counts."""
        self.take = _ignore
        if not self._over.done():
            self._over.set_exception(HangUpError(code, reason))

    async def refuse(self, code: int, reason: str) -> None:
        """End the connection before it begins."""
        # A client that was never accepted would see a failed handshake, and no reason.
        if await self._accept():
            await self._end(HangUpError(code, reason))

    async def hold(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Accept, and carry events until somebody hangs up.

        Args:
            work: What the connection is for; cancelled when the connection ends. It may
                raise `HangUpError`; any other error ends the connection with an apology.
        """
        if not await self._accept():
            return
        end: HangUpError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in (self._read(), self._send(), self._until_over(), work()):
                    tasks.create_task(part)
        except* _LeftError:
            pass
        except* HangUpError as group:
            end = _first(group)
        except* Exception:
            logger.exception("a live conversation failed")
            end = HangUpError(BROKEN, "Something went wrong inside Parley. Please call again.")
        await self._end(end)

    async def _accept(self) -> bool:
        try:
            await self._socket.accept()
        except OSError:
            return False  # It is gone already.
        return True

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                self._left = message["code"]
                raise _LeftError
            text = message.get("text") or message.get("bytes") or ""
            if len(text) > MOST_BYTES:
                raise HangUpError(TOO_BIG, f"A frame has at most {MOST_BYTES:,} bytes.")
            await self._slow_down(len(text))
            self.take(text)

    async def _slow_down(self, size: int) -> None:
        """Let others have their turn, and make who floods wait."""
        before = self._meter.strikes
        pause = self._meter.add(size)
        if self._meter.strikes > before:
            if self._meter.strikes == PATIENCE:
                raise HangUpError(POLICY, "You send too much, too fast. Slow down and call again.")
            if self._meter.strikes == 1:
                self.put(error_event(TOO_FAST, "rate_limit_exceeded"))
        await asyncio.sleep(pause)

    async def _send(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                try:
                    async with asyncio.timeout(STUCK):
                        await self._socket.send_text(self._waiting[0])
                except TimeoutError:
                    raise HangUpError(POLICY, SLOW) from None
                except WebSocketDisconnect:
                    # The reader knows why, unless the network broke so that only sending fails.
                    await asyncio.sleep(LATE)
                    self._left = 1006
                    raise _LeftError from None
                self._size -= len(self._waiting.popleft())

    async def _until_over(self) -> None:
        await self._over

    async def _end(self, end: HangUpError | None) -> None:
        """Say why, unless the client is gone; leave nothing behind."""
        asyncio.get_running_loop().call_later(LINGERING, self._cut, self._socket)
        if end is None:
            return
        reason = str(end).encode()[:REASON_BYTES].decode(errors="ignore")
        try:
            async with asyncio.timeout(CLOSING):
                await self._socket.close(end.code, reason)
        except TimeoutError:
            self._cut(self._socket)
        except (RuntimeError, WebSocketDisconnect):
            return  # It is gone already.


def _ignore(_: str | bytes) -> None:
    pass


def _first(group: BaseExceptionGroup[HangUpError]) -> HangUpError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, HangUpError)
    return error
