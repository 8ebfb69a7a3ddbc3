"""How fast a client sends."""

from collections.abc import Callable

#: What a client may send within a second: a microphone sends 50 events and 64 kB.
MOST_EVENTS, MOST_SIZE = 500, 5_000_000
#: Who sends more in so many seconds in a row floods.
PATIENCE = 5
#: Who has sent nothing for so long since then has stopped, seconds.
REST = 2.0


class Meter:
    """Counts what comes in, second by second.

    Attributes:
        strikes: Seconds in a row in which more came than may.

    Args:
        clock: Monotonic time, seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.strikes = 0
        self._clock = clock
        self._since = clock()
        self._events = 0
        self._size = 0
        self._over = False

    def add(self, size: int) -> float:
        """Count an event; returns how long to wait before the next one is read, seconds.

        Args:
            size: Of the event, bytes.
        """
        now = self._clock()
        if now - self._since >= 1:
            if not self._over or now - self._since >= REST:
                self.strikes = 0
            self._since, self._events, self._size, self._over = now, 0, 0, False
        self._events += 1
        self._size += size
        if not self._over and (self._events > MOST_EVENTS or self._size > MOST_SIZE):
            self._over = True
            self.strikes += 1
        return self._since + 1 - now if self._over else 0.0
