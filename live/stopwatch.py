"""Mouth to ear, mark by mark."""

import time
from collections.abc import Callable

#: The marks of a turn, in the order in which they are reached.
MARKS = (
    "endpoint",
    "encoded",
    "transcript",
    "first_token",
    "first_audio",
    "first_sent",
    "first_played",
    "last_sent",
)


class Marks:
    """When a turn reached which mark, in milliseconds after the last sample of speech.

    Args:
        since_speech: How long ago, in seconds, that last sample came in.
        clock: Monotonic, seconds.
    """

    def __init__(
        self, since_speech: float = 0.0, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        self._zero = clock() - since_speech
        self._marks: dict[str, float] = {}

    def mark(self, name: str, later: float = 0.0) -> None:
        """Note that a mark is reached now, or will be `later` seconds from now; once."""
        if name not in MARKS:
            raise ValueError(f"there is no mark {name!r}")
        self._marks.setdefault(name, (self._clock() - self._zero + later) * 1000)

    def at(self, name: str, other: str, later: float) -> None:
        """Note that `name` was reached `later` seconds after `other`."""
        if other in self._marks:
            self._marks[name] = self._marks[other] + later * 1000

    def report(self) -> dict[str, float]:
        """The marks so far, ms, in order."""
        return {name: round(self._marks[name], 1) for name in MARKS if name in self._marks}
