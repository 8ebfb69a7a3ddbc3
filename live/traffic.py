"""Who else is being answered: what makes an engine late."""

import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

#: Whoever was answered so long ago will soon ask again, seconds.
RECENT = 10.0


class Traffic:
    """Knows when each live conversation was answered last.

    Args:
        clock: Monotonic time, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answered: WeakKeyDictionary[object, float] = WeakKeyDictionary()

    def note(self, who: object) -> None:
        """Somebody is being answered now."""
        self._answered[who] = self._clock()

    def forget(self, who: object) -> None:
        """Somebody has left."""
        self._answered.pop(who, None)

    def shared(self, who: object) -> bool:
        """Whether somebody else was answered recently."""
        since = self._clock() - RECENT
        return any(at >= since for other, at in self._answered.items() if other is not who)
