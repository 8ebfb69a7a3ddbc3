"""Which request each browser session has running, so that it can be stopped."""

import threading

from engines.base import Cancel


class Running:
    """Cancel flags by session; a session runs one request at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flags: dict[str, Cancel] = {}

    def begin(self, session: str | None) -> Cancel:
        """A flag for a new request; the one before, if any, is stopped."""
        flag = Cancel()
        with self._lock:
            before = self._flags.get(session or "")
            self._flags[session or ""] = flag
        if before is not None:
            before.set()
        return flag

    def stop(self, session: str | None) -> None:
        """Stop the session's request, if there is one."""
        with self._lock:
            flag = self._flags.pop(session or "", None)
        if flag is not None:
            flag.set()
