"""Answers on their way out: whole, or piece by piece, given up when nobody takes them."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from engines.base import Cancel
from rest.problems import LEFT, problem_of
from streaming import stream

logger = logging.getLogger(__name__)

#: A client that takes nothing for so long is given up, seconds: it keeps others waiting.
PATIENCE = 60.0

SSE = "text/event-stream"
#: What no proxy may hold back.
UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

T = TypeVar("T")


async def whole(request: Request, items: Iterator[T], cancel: Cancel) -> T:
    """The last thing that a request gives; it is cancelled if its client leaves.

    Raises:
        ClientDisconnect: If the client left.
        Whatever the request raises.
    """
    async with aclosing(stream(items, cancel)) as given:
        return await _unless_gone(request.receive, _last(given))


async def streamed(
    request: Request,
    pieces: Iterator[bytes],
    cancel: Cancel,
    media_type: str,
    headers: Mapping[str, str] = {},
) -> Response:
    """An answer that is sent while it is made.

    Its first piece is waited for, so that what is refused is refused with a status.

    Raises:
        ClientDisconnect: If the client left before.
        Whatever the request raises before its first piece.
    """
    given = stream(pieces, cancel)
    try:
        first = await _unless_gone(request.receive, anext(given, b""))
    except BaseException:
        await given.aclose()
        raise
    return _Streamed(first, given, media_type, {**UNBUFFERED, **headers})


def sse(data: Mapping[str, Any] | str, event: str | None = None) -> bytes:
    """A server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()


def told(events: Iterator[bytes]) -> Iterator[bytes]:
    """Server-sent events; what goes wrong after the first is told as one."""
    begun = False
    try:
        for event in events:
            begun = True
            yield event
    except Exception as error:
        if not begun:
            raise
        problem = problem_of(error)
        if problem.status != LEFT:
            yield sse({"error": problem.error})


class _Streamed(Response):
    """Pieces as they come; where they break off, so does the connection."""

    def __init__(
        self,
        first: bytes,
        rest: AsyncGenerator[bytes],
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(None, headers=headers, media_type=media_type)
        # Nobody knows how long it will be.
        del self.headers["content-length"]
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._rest):
            try:
                await _unless_gone(receive, self._send(send))
            except Exception as error:  # noqa: BLE001  (the log has it)
                # A file that ends early must not look complete: without its last message,
                # the server cuts the connection.
                if problem_of(error).status != LEFT:
                    logger.warning("an answer broke off: %s", error)

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        await _sent(send, self._first)
        async for piece in self._rest:
            if piece:
                await _sent(send, piece)
        await _sent(send, b"", more=False)


async def _sent(send: Send, body: bytes, *, more: bool = True) -> None:
    message = {"type": "http.response.body", "body": body, "more_body": more}
    try:
        # Not `wait_for`: before Python 3.12 it loses a cancel that comes as the message goes out.
        async with asyncio.timeout(PATIENCE):
            await send(message)
    except TimeoutError as error:
        raise ClientDisconnect from error


async def _last(items: AsyncGenerator[T]) -> T:
    found: list[T] = []
    async for item in items:
        found = [item]
    return found[0]


async def _unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """Wait for something, unless the client leaves; its body has been read."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
