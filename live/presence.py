"""Whoever is at the other end of a session: the way to them, and when they last said something."""

from collections.abc import Callable
from typing import Any

from live.protocol import Emit


class Presence:
    """The client of one session; it may be gone for a while.

    Args:
        emit: Queues an event for it.
        clock: Monotonic time, seconds.
    """

    def __init__(self, emit: Emit, clock: Callable[[], float]) -> None:
        self._emit: Emit | None = emit
        self._clock = clock
        self._last = clock()

    def tell(self, event: dict[str, Any]) -> None:
        """Queue an event; nothing is kept for who is gone."""
        if self._emit is None:
            return
        if event["type"] != "error":
            self.note()  # Either the person did something, or the reply did.
        self._emit(event)

    def leave(self) -> None:
        """The connection is gone."""
        self._emit = None

    def come_back(self, emit: Emit) -> None:
        """There is another connection."""
        self._emit = emit
        self.note()

    def note(self) -> None:
        """Something was said."""
        self._last = self._clock()

    @property
    def quiet(self) -> float:
        """For how long nothing was said, seconds."""
        return self._clock() - self._last
