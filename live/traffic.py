"""Who else is being answered: what makes an engine late."""

import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

#: Whoever spoke or was answered so long ago is likely to ask again while a reply is heard,
#: seconds: a question, its answer and the pause before the next take some twenty.
RECENT = 30.0


class Traffic:
    """Knows when each live conversation was last worked on.

    Args:
        clock: Monotonic time, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: WeakKeyDictionary[object, float] = WeakKeyDictionary()

    def note(self, who: object) -> None:
        """Somebody speaks now, or is being answered."""
        self._seen[who] = self._clock()

    def forget(self, who: object) -> None:
        """Somebody has left."""
        self._seen.pop(who, None)

    def others(self, who: object) -> int:
        """How many others spoke or were answered recently."""
        since = self._clock() - RECENT
        return sum(at >= since for other, at in self._seen.items() if other is not who)
