"""How many requests are worked on at once, and who is next."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from engines.base import Cancel
from errors import BusyError


@dataclass(eq=False, slots=True)
class _Ticket:
    """Somebody's place in the queue."""

    admitted: bool = False


class Turnstile:
    """Admits a limited number of requests at once, strictly in order of arrival.

    Args:
        capacity: Requests that may be inside at once, at least 1.
        max_waiting: Requests that may wait; further ones are refused.

    Raises:
        ValueError: If a number makes no sense.
    """

    def __init__(self, capacity: int, max_waiting: int) -> None:
        if capacity < 1 or max_waiting < 0:
            raise ValueError(f"no turnstile for {capacity} inside and {max_waiting} waiting")
        self._capacity = capacity
        self._max_waiting = max_waiting
        self._active = 0
        self._waiting: deque[_Ticket] = deque()
        # Reentrant: the garbage collector may close a forgotten generator, and so leave
        # the turnstile, on a thread that is just in here.
        self._changed = threading.Condition(threading.RLock())

    @property
    def active(self) -> int:
        """How many requests are inside."""
        with self._changed:
            return self._active

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        with self._changed:
            return len(self._waiting)

    @property
    def limit(self) -> int:
        """How many requests are taken at once, inside and waiting."""
        return self._capacity + self._max_waiting

    @property
    def remaining(self) -> int:
        """How many more would be taken now."""
        with self._changed:
            return self.limit - self._active - len(self._waiting)

    @contextmanager
    def enter(
        self, cancel: Cancel, on_position: Callable[[int], None] | None = None
    ) -> Iterator[None]:
        """Wait for one's turn; the place is free again when the context is left.

        Args:
            cancel: Ends the wait.
            on_position: Told how many wait ahead (0: next), at first and whenever
                that changes, on the thread that waits. Not called without a wait.

        Raises:
            BusyError: If too many wait already.
            CancelledError: If `cancel` was set before it was one's turn.
        """
        ticket = _Ticket()
        try:
            self._wait_for_turn(ticket, cancel, on_position)
            yield
        finally:
            self._leave(ticket)

    def _wait_for_turn(
        self, ticket: _Ticket, cancel: Cancel, on_position: Callable[[int], None] | None
    ) -> None:
        self._queue_up(ticket)
        forget = cancel.on_set(self._wake)
        try:
            position = self._next_position(ticket, cancel, known=None)
            while position is not None:
                if on_position:
                    on_position(position)
                position = self._next_position(ticket, cancel, known=position)
        finally:
            forget()

    def _queue_up(self, ticket: _Ticket) -> None:
        with self._changed:
            # While anybody waits, everything is taken: places are passed on as they get free.
            if self._active == self._capacity and len(self._waiting) >= self._max_waiting:
                raise BusyError(
                    f"The queue is full ({len(self._waiting)} waiting). Try again in a minute."
                )
            self._waiting.append(ticket)
            self._admit()

    def _next_position(self, ticket: _Ticket, cancel: Cancel, known: int | None) -> int | None:
        """Wait until the position is another than `known`; None once admitted."""
        with self._changed:
            self._changed.wait_for(
                lambda: cancel.is_set() or ticket.admitted or self._waiting.index(ticket) != known
            )
            cancel.check()
            return None if ticket.admitted else self._waiting.index(ticket)

    def _leave(self, ticket: _Ticket) -> None:
        with self._changed:
            if ticket.admitted:
                self._active -= 1
            elif ticket in self._waiting:
                self._waiting.remove(ticket)
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self._active < self._capacity:
            self._active += 1
            self._waiting.popleft().admitted = True
        self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
