"""The one to whom everything that happens is reported."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psutil

from devices import gpus
from engines.base import Task
from engines.messages import Event, Finished
from errors import CancelledError, ParleyError
from model_spec import ModelStatus
from monitor.counts import Counts
from monitor.state import State
from monitor.turns import Outcome, Turn, Turns, marks_of, percentile

#: Turns, and times of each stage, that are kept.
MOST_TURNS = 500
#: How often it is noted how things stand, seconds; and how many notes are kept (an hour).
PERIOD = 5.0
MOST_NOTES = 720
#: Stages by the mark that ends them.
STAGES = {
    "encoded": "encoding",
    "recognized": "recognition",
    "first_token": "first_token",
    "first_audio": "first_audio",
    "total": "total",
}

Number = Callable[[], int]
See = Callable[[Iterator[Event]], Iterator[Event]]


class Watch:
    """Counts and remembers; each server has its own.

    Any method may be called from any thread.

    Attributes:
        counts: For Prometheus.
        turns: The last ones.
        live: How many live conversations there are, and how many wait for one; each page
            that holds some adds its own.

    Args:
        active: How many requests are worked on.
        waiting: How many wait for a turn.
        models: What is loaded.
        clock: Unix time, seconds.
    """

    def __init__(
        self,
        active: Number,
        waiting: Number,
        models: Callable[[], Iterable[ModelStatus]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.live: list[tuple[Number, Number]] = []
        self._active = active
        self._waiting = waiting
        self._models = models
        self._clock = clock
        self._began = clock()
        self._process = psutil.Process()
        self._lock = threading.Lock()
        self._totals: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._underruns = 0
        self._stages: dict[str, deque[float]] = {}
        self._factors: deque[float] = deque(maxlen=MOST_TURNS)
        self._notes: deque[State] = deque(maxlen=MOST_NOTES)
        self._stop = threading.Event()
        self._noting: threading.Thread | None = None
        self.turns = Turns(MOST_TURNS)
        self.counts = Counts(self.state)

    def start(self) -> None:
        """Begin to note how things stand; once."""
        if self._noting is None:
            self._noting = threading.Thread(target=self._note, name="parley monitor", daemon=True)
            self._noting.start()

    def close(self) -> None:
        """Note nothing more."""
        self._stop.set()
        if self._noting is not None:
            self._noting.join()

    @contextmanager
    def request(self, task: Task, engine: str, *, live: bool = False) -> Iterator[See]:
        """A request, from its first check on; it is counted when the context is left.

        Gives a filter through which its events pass.

        Args:
            task: What it is.
            engine: Who works on it.
            live: It belongs to a live turn, which is told by itself.
        """
        finished: Finished | None = None
        outcome: Outcome = "cancelled"

        def see(events: Iterator[Event]) -> Iterator[Event]:
            nonlocal finished
            for event in events:
                if isinstance(event, Finished):
                    finished = event
                yield event

        try:
            yield see
            outcome = "finished"
        except CancelledError:
            raise
        except Exception as error:
            outcome = "failed"
            self.error(error)
            raise
        finally:
            # Whoever got all that there is need not ask whether there is more.
            self._over(finished, task, engine, "finished" if finished else outcome, live=live)

    def live_turn(self, engine: str, marks: dict[str, float], audio: float) -> None:
        """A turn of a live conversation was answered.

        Args:
            engine: By whom.
            marks: See `live.stopwatch.Marks.report`.
            audio: Speech that was sent, seconds.
        """
        turn = Turn(self._clock(), engine, "live", "finished", tuple(marks.items()), audio)
        self.turns.add(turn)
        if "endpoint" in marks:
            self._took("vad", max(0.0, marks["endpoint"]))
        if turn.mouth_to_ear is not None:
            self._took("mouth_to_ear", turn.mouth_to_ear)

    def underrun(self) -> None:
        """A live reply had nothing to play in its middle."""
        self.counts.underruns.inc()
        with self._lock:
            self._underruns += 1

    def error(self, error: Exception) -> None:
        """Something failed; what is no `ParleyError` is a bug."""
        kind = type(error).__name__ if isinstance(error, ParleyError) else "Bug"
        self.counts.errors.labels(kind).inc()
        with self._lock:
            self._errors[kind] += 1

    def state(self) -> State:
        """How things stand now."""
        return State(
            at=self._clock(),
            live=sum(inside() for inside, _ in self.live),
            live_waiting=sum(waiting() for _, waiting in self.live),
            active=self._active(),
            waiting=self._waiting(),
            memory=self._process.memory_info().rss,
            gpus=gpus(),
            models=tuple(self._models()),
        )

    def notes(self) -> tuple[State, ...]:
        """How things stood in the last hour, oldest first; only the last knows its models."""
        with self._lock:
            return tuple(self._notes)

    def errors(self) -> dict[str, int]:
        """Requests that failed, by kind."""
        with self._lock:
            return dict(self._errors)

    def underruns(self) -> int:
        """Times that a live reply had nothing to play in its middle."""
        with self._lock:
            return self._underruns

    def stages(self) -> dict[str, list[float]]:
        """How long each stage took lately, ms; see `Counts` for what is counted."""
        with self._lock:
            return {stage: list(taken) for stage, taken in self._stages.items()}

    def factors(self) -> list[float]:
        """Real-time factors of late."""
        with self._lock:
            return list(self._factors)

    def stats(self) -> dict[str, Any]:
        """All of it, for programs; percentiles are those of late."""
        with self._lock:
            totals = dict(self._totals)
        return {
            "uptime_s": round(self._clock() - self._began, 1),
            "requests": totals,
            "errors": self.errors(),
            "underruns": self.underruns(),
            "stages_ms": {stage: _spread(values) for stage, values in self.stages().items()},
            "real_time_factor": _spread(self.factors(), digits=4),
            **self.state().described(),
            "turns": [turn.row() for turn in self.turns.all()],
        }

    def _over(
        self, finished: Finished | None, task: Task, engine: str, outcome: Outcome, *, live: bool
    ) -> None:
        self.counts.requests.labels(task, engine, outcome).inc()
        with self._lock:
            self._totals[outcome] += 1
        turn = Turn(self._clock(), engine, task, outcome)
        if finished is not None:
            timings = finished.timings
            factor = timings.real_time_factor
            turn = replace(turn, marks=marks_of(timings), audio=timings.audio, factor=factor)
            for mark, ms in turn.marks:
                if mark in STAGES:
                    self._took(STAGES[mark], ms)
            if factor is not None:
                self.counts.factors.labels(task).observe(factor)
                with self._lock:
                    self._factors.append(factor)
        if not live:
            self.turns.add(turn)

    def _took(self, stage: str, ms: float) -> None:
        self.counts.stages.labels(stage).observe(ms / 1000)
        with self._lock:
            self._stages.setdefault(stage, deque(maxlen=MOST_TURNS)).append(ms)

    def _note(self) -> None:
        while True:
            state = self.state()
            with self._lock:
                if self._notes:
                    self._notes[-1] = replace(self._notes[-1], models=())
                self._notes.append(state)
            if self._stop.wait(PERIOD):
                return


def _spread(values: list[float], digits: int = 1) -> dict[str, float | int | None]:
    p50, p95 = percentile(values, 0.5), percentile(values, 0.95)
    return {
        "count": len(values),
        "p50": None if p50 is None else round(p50, digits),
        "p95": None if p95 is None else round(p95, digits),
    }
