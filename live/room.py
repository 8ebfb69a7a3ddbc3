"""The seats of the live conversations, and the line before them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from errors import UnavailableError
from live.protocol import error_event, event

#: What is kept of those who wait, events and characters: settings, and a dialogue to go on with.
MOST_EARLY, MOST_EARLY_SIZE = 64, 256_000
#: What of them is not kept: nobody hears or sees it yet, and later it would be out of date.
LIVE = ("input_audio_buffer.append", "parley.camera", "parley.playhead")

OnAhead = Callable[[int], None]
"""Told how many wait ahead, at first and whenever that changes."""


class FullError(UnavailableError):
    """There is neither a seat nor a place to wait for one."""


@dataclass(eq=False, slots=True)
class _Waiter:
    """Somebody in the line."""

    tell: OnAhead
    returning: bool
    seated: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    ahead: int | None = None


class Room:
    """A limited number of seats, given in order of arrival; all on one event loop.

    Args:
        seats: Conversations at once.
        places: How many may wait for a seat; further ones are refused.
    """

    def __init__(self, seats: int, places: int) -> None:
        self._seats = seats
        self._places = places
        self._taken = 0
        self._line: list[_Waiter] = []

    @property
    def taken(self) -> int:
        """How many seats are taken."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._line)

    @asynccontextmanager
    async def seat(self, tell: OnAhead, *, returning: bool = False) -> AsyncIterator[None]:
        """Wait for a seat; it is free again when the context is left.

        Args:
            tell: Not called if there is a seat at once.
            returning: They had a seat before and lost it through no fault of theirs: they
                wait before all others, and there is always a place for them.

        Raises:
            FullError: If too many wait already.
        """
        await self._sit_down(tell, returning)
        try:
            yield
        finally:
            self._stand_up()

    async def _sit_down(self, tell: OnAhead, returning: bool) -> None:
        # Nobody waits while there is a seat: it is passed on as it gets free.
        if self._taken < self._seats:
            self._taken += 1
            return
        if len(self._line) >= self._places and not returning:
            raise FullError(
                "The room is full and so is the line before it. Try again in a few minutes."
            )
        waiter = _Waiter(tell, returning)
        returned = sum(other.returning for other in self._line)
        self._line.insert(returned if returning else len(self._line), waiter)
        self._tell()
        try:
            await waiter.seated
        except asyncio.CancelledError:
            if waiter in self._line:
                self._line.remove(waiter)
                self._tell()
            elif not waiter.seated.cancelled():
                self._stand_up()  # The seat came at the very moment they left.
            raise

    def _stand_up(self) -> None:
        self._taken -= 1
        while self._line and self._taken < self._seats:
            waiter = self._line.pop(0)
            if not waiter.seated.cancelled():
                self._taken += 1
                waiter.seated.set_result(None)
        self._tell()

    def _tell(self) -> None:
        for ahead, waiter in enumerate(self._line):
            if waiter.ahead != ahead:
                waiter.ahead = ahead
                waiter.tell(ahead)


def queue_event(ahead: int) -> dict[str, Any]:
    """What somebody in the line is told."""
    before = {0: "You are next", 1: "One other is before you"}.get(
        ahead, f"{ahead} others are before you"
    )
    return event("parley.queue", ahead=ahead, message=f"The room is full. {before}.")


class Early:
    """Keeps what comes in before there is a session, within limits.

    Attributes:
        kept: For the session.

    Args:
        put: Queues an event for the client.
    """

    def __init__(self, put: Callable[[dict[str, Any]], None]) -> None:
        self.kept: list[str | bytes] = []
        self._size = 0
        self._put = put

    def take(self, text: str | bytes) -> None:
        """Keep an event, or say that it is not kept."""
        if _kind(text) in LIVE:
            return
        if len(self.kept) >= MOST_EARLY or self._size + len(text) > MOST_EARLY_SIZE:
            message = "Too much came before the conversation began; this event was dropped."
            self._put(error_event(message, "too_early"))
            return
        self.kept.append(text)
        self._size += len(text)


def _kind(text: str | bytes) -> Any:
    try:
        return json.loads(text)["type"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None  # The session will say what is wrong with it.
