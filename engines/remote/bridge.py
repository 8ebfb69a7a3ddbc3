"""Asynchronous clients for the threads that engines work on."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from queue import SimpleQueue
from typing import Any, TypeVar

from engines.base import Cancel
from errors import UnavailableError

T = TypeVar("T")

#: Items that are taken from a connection before anybody asks for them. What waits beyond
#: that waits at the sender, so a slow listener slows the model on the other machine.
AHEAD = 4

_CLOSED = "The connection was closed. Try again."


class Bridge:
    """An event loop on a thread of its own; any thread may wait for what runs on it.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._closed = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"bridge {name}", daemon=True)
        self._thread.start()

    def iterate(self, items: AsyncGenerator[T], cancel: Cancel) -> Generator[T]:
        """Take the items one by one; an early end or a cancel closes where they come from.

        Raises:
            CancelledError: As soon as `cancel` is set, whatever is being waited for.
            UnavailableError: If this object was closed.
        """
        cancel.check()
        given: SimpleQueue[tuple[T] | asyncio.Task[None]] = SimpleQueue()
        room = asyncio.Semaphore(AHEAD)

        async def pump() -> None:
            try:
                async for item in items:
                    await room.acquire()
                    given.put((item,))
            finally:
                await items.aclose()

        stop = self._start(pump(), given.put)
        forget = cancel.on_set(stop)
        ended = False
        try:
            while True:
                got = given.get()
                ended = isinstance(got, asyncio.Task)
                cancel.check()
                if isinstance(got, asyncio.Task):
                    if got.cancelled():
                        raise UnavailableError(_CLOSED)
                    got.result()
                    return
                self._tell(room.release)
                yield got[0]
        finally:
            forget()
            stop()
            while not ended:
                ended = isinstance(given.get(), asyncio.Task)

    def close(self, goodbye: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Stop what runs, and end the thread once `goodbye` has run on the loop."""

        async def end() -> None:
            try:
                # A loop that stops under a task would leave its reader waiting for ever.
                running = asyncio.all_tasks() - {asyncio.current_task()}
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
                if goodbye is not None:
                    await goodbye()
            finally:
                self._loop.stop()

        with self._closing:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(lambda: self._loop.create_task(end()))
        self._thread.join()

    def _start(
        self, work: Coroutine[Any, Any, None], ended: Callable[[asyncio.Task[None]], None]
    ) -> Callable[[], None]:
        """Run a task on the loop; gives what stops it. `ended` is called whatever happens."""
        task: asyncio.Task[None] | None = None

        def begin() -> None:
            nonlocal task
            task = self._loop.create_task(work)
            task.add_done_callback(ended)

        def stop() -> None:
            self._tell(lambda: task and task.cancel())

        if not self._tell(begin):
            work.close()
            raise UnavailableError(_CLOSED)
        return stop

    def _tell(self, work: Callable[[], object]) -> bool:
        """Run something on the loop, unless that is ending: then all on it was stopped anyway."""
        with self._closing:
            if not self._closed:
                self._loop.call_soon_threadsafe(work)
            return not self._closed

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
