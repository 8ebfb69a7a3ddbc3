"""Spoken replies by their id, so that a client need not send their words back."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


class Said:
    """The words of spoken replies, for as long as dialogues are kept.

    Args:
        capacity: Replies that are kept; the oldest go.
        seconds: How long.
        clock: Unix time, seconds.
    """

    def __init__(
        self, capacity: int, seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._capacity = capacity
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def keep(self, name: str, text: str) -> int:
        """Keep what was said under an id; returns when it is forgotten, Unix time."""
        end = self._clock() + self._seconds
        with self._lock:
            self._kept[name] = (end, text)
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return int(end)

    def get(self, name: str) -> str | None:
        """What was said; None if nobody knows any more."""
        with self._lock:
            end, text = self._kept.get(name, (0.0, ""))
        return text if end > self._clock() else None
