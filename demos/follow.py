"""Watching a request from the page: its events in batches, and its silences."""

import queue
import threading
from collections.abc import Iterator

from engines.base import Cancel
from engines.messages import Event

#: How often a silent request is looked at, seconds: often enough that a wait looks alive.
PAUSE = 0.3


def follow(events: Iterator[Event], cancel: Cancel, pause: float = PAUSE) -> Iterator[list[Event]]:
    """Hand on events as they come, all that wait at once; an empty list per silence.

    A page cannot draw 35 tokens a second one by one, and has to show a wait
    while the request is blocked: so the request runs on a thread of its own.
    Closing this generator cancels the request.

    Raises:
        Whatever the request raises, after what it gave before.
    """
    given: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()

    def drain() -> None:
        try:
            for event in events:
                given.put(event)
            given.put(None)
        except BaseException as error:  # noqa: BLE001  (raised again on the other thread)
            given.put(error)

    threading.Thread(target=drain, name="parley request", daemon=True).start()
    try:
        while True:
            batch, end = _batch(given, pause)
            yield batch
            if isinstance(end, BaseException):
                raise end
            if end:
                return
    finally:
        cancel.set()


def _batch(
    given: "queue.SimpleQueue[Event | BaseException | None]", pause: float
) -> tuple[list[Event], BaseException | bool]:
    """What waits now, and how the request ended if it did."""
    batch: list[Event] = []
    try:
        item = given.get(timeout=pause)
        while item is not None and not isinstance(item, BaseException):
            batch.append(item)
            item = given.get_nowait()
        return batch, item if item is not None else True
    except queue.Empty:
        return batch, False
