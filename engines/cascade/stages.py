"""Threads that work on one request, joined by bounded queues.

Each stage runs on a thread of its own and hands its results on through a
`Channel`. A full channel holds its writer back, so a slow listener slows the
model instead of filling the memory. The first failure, a cancel, or a listener
who leaves ends all stages.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Self, TypeVar

from engines.base import Cancel
from errors import CancelledError, EngineError, ParleyError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Channel(Generic[T]):
    """A bounded queue with an end: one writer, one reader.

    Args:
        size: Items that may wait; `put` blocks while the channel is full.
        stop: Ends both sides with `CancelledError` once set.
    """

    def __init__(self, size: int, stop: Cancel) -> None:
        self._size = size
        self._stop = stop
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = threading.Condition()
        stop.on_set(self._wake)

    def put(self, item: T) -> None:
        """Hand on `item`, waiting for room."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._size or self._stop.is_set())
            self._stop.check()
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """Say that nothing more will come; what waits can still be read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed or self._stop.is_set())
                if not self._items:
                    self._stop.check()
                    return
                # What was made before a failure is still read: half a reply is worth having.
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Stages:
    """The stages of one request; leaving the context ends and joins them.

    Args:
        cancel: The request's; stops every stage.
    """

    def __init__(self, cancel: Cancel) -> None:
        self.stop = Cancel()
        self._cancel = cancel
        self._forget = cancel.on_set(self.stop.set)
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None

    def run(
        self, name: str, work: Callable[[Callable[[T], None]], None], size: int = 8
    ) -> Channel[T]:
        """Start `work(put)` on a thread; what it puts can be read from the channel.

        Args:
            name: What the stage does, for messages ("the chat model").
            work: Puts its results in order and returns when it is done.
            size: Room of the channel.
        """
        channel: Channel[T] = Channel(size, self.stop)

        def body() -> None:
            try:
                work(channel.put)
                channel.close()
            except CancelledError:
                self.stop.set()
            except ParleyError as error:
                self._fail(error)
            except Exception as error:
                logger.exception("%s failed", name)
                failure = EngineError(f"{name.capitalize()} failed: {error}")
                failure.__cause__ = error
                self._fail(failure)

        thread = threading.Thread(target=body, name=f"parley {name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return channel

    def read(self, channel: Channel[T]) -> Iterator[T]:
        """Read the last channel; raises what made a stage fail, once what was made is read."""
        try:
            for item in channel:
                self._cancel.check()
                yield item
        except CancelledError:
            if self._failure is None:
                raise
            raise self._failure from self._failure.__cause__

    def _fail(self, error: BaseException) -> None:
        # The first failure is the reason; the others are its echoes.
        if self._failure is None and not self.stop.is_set():
            self._failure = error
        self.stop.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.stop.set()
        self._forget()
        for thread in self._threads:
            thread.join()


def each(items: Callable[[], Iterable[T]]) -> Callable[[Callable[[T], None]], None]:
    """A stage that hands on what an iterable gives."""

    def work(put: Callable[[T], None]) -> None:
        for item in items():
            put(item)

    return work
