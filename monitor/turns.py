"""The last turns, as values: what the tab draws and what is exported."""

import csv
import io
import math
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from engines.messages import Timings

Outcome = Literal["finished", "cancelled", "failed"]

#: The marks of a request, in the order in which they are reached.
REQUEST_MARKS = ("encoded", "recognized", "first_token", "first_clause", "first_audio", "total")
#: The marks of a live turn, likewise (`live.stopwatch`).
LIVE_MARKS = (
    "endpoint",
    "encoded",
    "transcript",
    "first_token",
    "first_audio",
    "first_sent",
    "first_played",
    "last_sent",
)


@dataclass(frozen=True, slots=True)
class Turn:
    """A request, or a turn of a live conversation, that is over.

    Attributes:
        at: When it was over, Unix time, seconds.
        engine: Name of the engine.
        task: Of the engine's, or "live".
        outcome: How it ended.
        marks: Name and milliseconds: after the request began, or after the last sample of
            speech of a live turn.
        audio: Speech that was made or heard, seconds.
        factor: Seconds of work per second of speech; None where there is none.
    """

    at: float
    engine: str
    task: str
    outcome: Outcome
    marks: tuple[tuple[str, float], ...] = ()
    audio: float = 0.0
    factor: float | None = None

    @property
    def mouth_to_ear(self) -> float | None:
        """Of a live turn: from the last sample of speech to the first of the reply, ms.

        A client that does not say when it plays is taken to play what it is sent at once.
        """
        marks = dict(self.marks)
        return marks.get("first_played", marks.get("first_sent")) if self.task == "live" else None

    def row(self) -> dict[str, Any]:
        """As one flat record."""
        return {
            "at": round(self.at, 3),
            "engine": self.engine,
            "task": self.task,
            "outcome": self.outcome,
            "audio_s": round(self.audio, 3),
            "real_time_factor": None if self.factor is None else round(self.factor, 4),
            "mouth_to_ear_ms": self.mouth_to_ear,
            **{f"{name}_ms": round(ms, 1) for name, ms in self.marks},
        }


class Turns:
    """The last turns, oldest first.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Turn] = deque(maxlen=most)

    def add(self, turn: Turn) -> None:
        """Keep one more."""
        with self._lock:
            self._kept.append(turn)

    def all(self) -> tuple[Turn, ...]:
        """What is kept now."""
        with self._lock:
            return tuple(self._kept)


def marks_of(timings: Timings) -> tuple[tuple[str, float], ...]:
    """The marks of a request, ms."""
    marks = ((name, getattr(timings, name)) for name in REQUEST_MARKS)
    return tuple((name, seconds * 1000) for name, seconds in marks if seconds is not None)


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that so large a share of them does not exceed; None of none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None


def as_csv(turns: Sequence[Turn]) -> str:
    """The turns as a table, one a line."""
    marks = [f"{name}_ms" for name in dict.fromkeys((*REQUEST_MARKS, *LIVE_MARKS))]
    columns = list(Turn(0.0, "", "", "finished").row())
    table = io.StringIO()
    writer = csv.DictWriter(table, [*columns, *marks])
    writer.writeheader()
    writer.writerows(turn.row() for turn in turns)
    return table.getvalue()
