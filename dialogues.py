"""Conversations of API clients, kept by name between their calls."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from engines.messages import Conversation

Owner = tuple[str, str]
"""Who is logged in ("" for nobody) and the name the client gave its session."""


class Dialogues:
    """Conversations by owner; the longest unused leave when there are too many.

    Args:
        capacity: Conversations that are kept.
        seconds: How long an unused one is kept.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self, capacity: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = capacity
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Owner, tuple[float, Conversation]] = OrderedDict()

    def get(self, owner: Owner) -> Conversation:
        """The conversation so far; an empty one for who is new or was forgotten."""
        with self._lock:
            self._forget_old()
            return self._kept[owner][1] if owner in self._kept else Conversation()

    def add(self, owner: Owner, question: str, answer: str) -> None:
        """Add an exchange to what is there by now, so that parallel calls lose nothing."""
        with self._lock:
            self._forget_old()
            before = self._kept.pop(owner, (0.0, Conversation()))[1]
            after = before.after(question, answer)
            # Messages beyond the limit would never be sent to a model again.
            trimmed = after.trimmed(2 * after.limit)
            self._kept[owner] = (self._clock(), trimmed)
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)

    def _forget_old(self) -> None:
        oldest = self._clock() - self._seconds
        while self._kept and next(iter(self._kept.values()))[0] < oldest:
            self._kept.popitem(last=False)
