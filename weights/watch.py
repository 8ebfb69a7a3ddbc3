"""What a long task tells its owner, and how the owner stops it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from errors import CancelledError

State = Literal["checking", "downloading", "unpacking", "verifying"]

#: Reports closer together than this are dropped, seconds: five a second look
#: smooth on a page and cost nothing.
_REPORT_INTERVAL = 0.2

#: No time left is given before this many seconds: the first bytes say little.
_RATE_AFTER = 1.0


class Cancel(Protocol):
    """What stops a task: `engines.base.Cancel`, `threading.Event` or the like."""

    def is_set(self) -> bool:
        """Whether the task is to stop."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is.

    Attributes:
        name: The weights it is about.
        done_bytes: Bytes done, of `total_bytes`. While downloading and unpacking they count
            the whole set of weights; while checking and verifying, the file at hand.
        total_bytes: Bytes to do.
        source: Where the bytes come from, for people.
        seconds_left: At the rate so far; None while that is not known.
        state: `checking` reads what is on disk already, `verifying` what has just come.
    """

    name: str
    done_bytes: int
    total_bytes: int
    source: str
    seconds_left: float | None
    state: State


Report = Callable[[Progress], None]


@dataclass(slots=True)
class _Phase:
    state: State
    source: str
    total: int
    done: int
    began: float
    done_at_start: int

    def seconds_left(self, now: float) -> float | None:
        elapsed, gained = now - self.began, self.done - self.done_at_start
        if elapsed < _RATE_AFTER or gained <= 0:
            return None
        return (self.total - self.done) * elapsed / gained


class Watch:
    """Reports the progress of one task and stops it when it is cancelled.

    Loops call `at` with every block they finish; that is also where a cancelled
    task ends, with `CancelledError`.
    """

    def __init__(
        self,
        name: str,
        report: Report | None = None,
        cancel: Cancel | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._report = report
        self._cancel = cancel
        self._clock = clock
        self._phase: _Phase | None = None
        self._reported = 0.0

    @contextmanager
    def phase(self, state: State, source: str, total: int, done: int = 0) -> Iterator[None]:
        """Count a stretch of work; an outer phase goes on when it ends.

        Args:
            state: What is being done.
            source: Where the bytes come from.
            total: Bytes to do.
            done: Bytes that were done before.
        """
        outer, self._phase = self._phase, _Phase(state, source, total, done, self._clock(), done)
        self._tell()
        try:
            yield
        finally:
            self._phase = outer

    def turn(self, state: State) -> None:
        """Change the state of the present phase; its count and its clock go on."""
        if self._phase is not None:
            self._phase.state = state
            self._tell()

    def at(self, done: int) -> None:
        """Note that `done` bytes of the phase are done.

        Raises:
            CancelledError: If the task was cancelled.
        """
        self.check()
        if self._phase is None:
            return
        self._phase.done = done
        if self._clock() - self._reported >= _REPORT_INTERVAL:
            self._tell()

    def check(self) -> None:
        """Raise `CancelledError` if the task was cancelled."""
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError(f"Fetching {self._name} was cancelled.")

    def sleep(self, seconds: float) -> None:
        """Wait, but not beyond a cancel."""
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:
            self.check()
            time.sleep(min(left, 0.1))

    def _tell(self) -> None:
        if self._report is None or self._phase is None:
            return
        phase, now = self._phase, self._clock()
        self._reported = now
        self._report(
            Progress(
                name=self._name,
                done_bytes=phase.done,
                total_bytes=phase.total,
                source=phase.source,
                seconds_left=phase.seconds_left(now),
                state=phase.state,
            )
        )
