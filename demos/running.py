"""Which request each browser session has running, so that it can be stopped."""

import threading
from dataclasses import dataclass, field

from engines.base import Cancel


@dataclass(slots=True)
class Run:
    """A request that runs for a session.

    Attributes:
        cancel: Stops it.
        begun: It was reserved and is now under way.
        shown: Its dialogue is the one on the screen.
        kept: What it has said so far goes into the dialogue.
    """

    cancel: Cancel = field(default_factory=Cancel)
    begun: bool = False
    shown: bool = True
    kept: bool = True


class Running:
    """The runs by session; a session has one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}

    def reserve(self, session: str | None) -> bool:
        """Make room for a request that is about to begin; False while another one runs."""
        with self._lock:
            run = self._runs.get(session or "")
            if run is not None and not run.cancel.is_set():
                return False
            self._runs[session or ""] = Run()
            return True

    def begin(self, session: str | None) -> Run:
        """The run of a request that begins now; another one that runs is stopped unseen."""
        with self._lock:
            reserved = self._runs.get(session or "")
            if reserved is not None and not reserved.begun:
                reserved.begun = True
                return reserved
        self.end(session, shown=False)
        run = Run(begun=True)
        with self._lock:
            self._runs[session or ""] = run
        return run

    def active(self, session: str | None) -> bool:
        """Whether a request runs for the session."""
        with self._lock:
            run = self._runs.get(session or "")
        return run is not None and not run.cancel.is_set()

    def end(self, session: str | None, *, shown: bool = True, kept: bool = True) -> None:
        """Stop the session's request, if there is one.

        Args:
            session: Whose.
            shown: Its end is drawn; False when another dialogue is on the screen.
            kept: What it said stays in the dialogue; False when that was cleared.
        """
        with self._lock:
            run = self._runs.pop(session or "", None)
        if run is not None:
            run.shown, run.kept = shown, kept
            run.cancel.set()
