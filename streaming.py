"""A request that blocks, for those who live on an event loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

from engines.base import Cancel

T = TypeVar("T")


async def stream(items: Iterator[T], cancel: Cancel) -> AsyncGenerator[T]:
    """Run a request on a thread; hand what it gives to the event loop, one at a time.

    The thread waits until an item is taken, so what is held back here is held
    back in the model. Closing this generator cancels the request.

    Raises:
        Whatever the request raises.
    """
    loop = asyncio.get_running_loop()
    given: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue(1)

    def put(item: tuple[T] | BaseException | None) -> None:
        asyncio.run_coroutine_threadsafe(given.put(item), loop).result()

    def drain() -> None:
        try:
            for item in items:
                put((item,))
            put(None)
        except BaseException as error:  # noqa: BLE001  (raised again on the other side)
            put(error)

    threading.Thread(target=drain, name="parley request", daemon=True).start()
    ended = False
    try:
        while True:
            item = await given.get()
            if not isinstance(item, tuple):
                ended = True
                if item is not None:
                    raise item
                return
            yield item[0]
    finally:
        cancel.set()
        while not ended:
            # The thread may wait for room; it ends once it sees the cancel.
            item = await given.get()
            ended = not isinstance(item, tuple)
