"""Which moments of a video are shown: one a second, and no more than are wanted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from errors import InputError

#: Between two moments, seconds: as VITA-1.5 was trained and is evaluated.
EVERY = 1.0
#: Moments at most; the model that looks at most of them here was trained with so many.
MOST = 64
#: Moments unless more are wanted: each costs a model that sees some hundred tokens.
USUAL = 8
#: Differences of time stamps below this are rounding, seconds.
ROUNDING = 1e-4


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a video: from `begin` to `end`, seconds after its first picture; None: its end."""

    begin: float = 0.0
    end: float | None = None

    def within(self, seconds: float) -> tuple[float, float]:
        """Begin and end in a video of so many seconds.

        Raises:
            InputError: If nothing of it is in the video.
        """
        end = seconds if self.end is None else min(self.end, seconds)
        if not self.begin >= 0 or (self.end is not None and not self.end > self.begin):
            raise InputError(
                "This is no part of a video: it has to begin at 0 or later, and end after that."
            )
        if self.begin >= end:
            raise InputError(
                f"The video is over after {clock(seconds)}; there is nothing from "
                f"{clock(self.begin)} on."
            )
        return self.begin, end


def pick(begin: float, end: float, most: int) -> tuple[float, ...]:
    """Moments between `begin` and `end`: one a second, evenly thinned out to `most`.

    At least one, the first at `begin`. Thinning takes indices by `linspace`, cut to whole
    numbers, as VITA-1.5 does.

    Args:
        begin: Seconds.
        end: Seconds, later.
        most: At least 1.

    Raises:
        InputError: If `most` is below 1 or above `MOST`.
    """
    if not 1 <= most <= MOST:
        raise InputError(f"From 1 to {MOST} frames of a video can be shown, not {most}.")
    count = max(1, math.ceil((end - begin - ROUNDING) / EVERY))
    chosen = np.linspace(0, count - 1, min(count, most)).astype(int)
    return tuple(begin + EVERY * int(index) for index in chosen)


def shown_at(times: NDArray[np.float64], moments: Sequence[float]) -> tuple[int, ...]:
    """Which pictures are on the screen at these moments; each once, in order.

    Args:
        times: When each picture appears, seconds `[n]`, ascending, n at least 1.
        moments: Seconds, ascending.
    """
    found = np.searchsorted(times, np.asarray(moments) + ROUNDING, side="right") - 1
    return tuple(dict.fromkeys(int(index) for index in np.maximum(found, 0)))


def clock(seconds: float) -> str:
    """A moment as players show it: 0:07, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def read_clock(text: str) -> float | None:
    """A moment as people type it: 7, 7.5, 0:07, 1:02:03; None for nothing.

    Raises:
        InputError: If it is none.
    """
    if not text.strip():
        return None
    try:
        parts = [float(part) for part in text.strip().replace(",", ".").split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= len(("hours", "minutes", "seconds")) or not all(
        0 <= part < math.inf for part in parts
    ):
        raise InputError(f"{text.strip()[:20]!r} is no time. Write it as 7, 0:07 or 1:02:03.")
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds
