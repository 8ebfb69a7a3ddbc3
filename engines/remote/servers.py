"""One service at one or several addresses: keys, time-outs, retries, the next address."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from engines.base import Cancel
from engines.notices import tell_nobody
from engines.remote.address import Remote, shown
from engines.remote.bridge import Bridge
from engines.remote.problems import RemoteError, understood
from errors import EngineError, ParleyError, UnavailableError

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Until a connection is there, seconds: one that is up answers in a few milliseconds.
CONNECT = 5.0
#: Between two tries at all addresses, seconds.
PAUSES = (0.25, 1.0)
#: A server that asks for more patience than this is given up, seconds.
PATIENCE = 10.0
#: An address that failed is asked last for this time, seconds.
DOWN = 30.0


@dataclass(frozen=True, slots=True)
class Errand:
    """For whom a request is made.

    Attributes:
        cancel: Ends it.
        key: The session's; empty takes the service's own.
        tell: Told what the session should know, on the thread of whoever reads the results.
    """

    cancel: Cancel = field(default_factory=Cancel)
    key: str = field(default="", repr=False)
    tell: Callable[[str], None] = tell_nobody


class Servers:
    """Makes requests to a service, at the first address that answers.

    A request is tried again, here and elsewhere, until something came of it; then never.

    Args:
        remote: The service.
        clock: Monotonic time, seconds.
    """

    def __init__(self, remote: Remote, clock: Callable[[], float] = time.monotonic) -> None:
        import httpx2  # noqa: PLC0415  (half a second that nobody without remote parts waits)
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient  # noqa: PLC0415

        self.remote = remote
        self._clock = clock
        self._down: dict[str, float] = {}
        self._bridge = Bridge(remote.host)
        timeout = httpx2.Timeout(remote.timeout, connect=CONNECT)

        def client(url: str) -> AsyncOpenAI:
            # Servers that send head and body apart wait for an acknowledgement between them, and
            # Linux delays that by 40 ms, except at the beginning of a connection. A new one
            # costs a tenth of a millisecond; with TLS it would cost more.
            kept = None if url.startswith("https:") else 0
            limits = httpx2.Limits(max_keepalive_connections=kept)
            # Retries are ours: they look at all addresses, and a cancel ends them.
            return AsyncOpenAI(
                base_url=url,
                api_key=remote.key or "none",
                timeout=timeout,
                max_retries=0,
                http_client=DefaultAsyncHttpxClient(limits=limits, timeout=timeout),
            )

        self._clients = {url: client(url) for url in remote.urls}

    def stream(self, request: Callable[[Any], AsyncGenerator[T]], errand: Errand) -> Generator[T]:
        """Make a request: `request(client)` gives its results as they come.

        Raises:
            RemoteError: If nothing came of it; another request may help (see `in_words`).
            EngineError: If it broke off.
            CancelledError: As soon as the errand's `cancel` is set.
        """
        told = list[str]()
        items = self._bridge.iterate(self._tried(request, errand.key, told.append), errand.cancel)
        with closing(items):
            for item in items:
                while told:
                    errand.tell(told.pop(0))
                yield item

    def close(self) -> None:
        """Close all connections."""

        async def goodbye() -> None:
            for client in self._clients.values():
                await client.close()

        self._bridge.close(goodbye)

    async def _tried(
        self,
        request: Callable[[Any], AsyncGenerator[T]],
        key: str,
        tell: Callable[[str], None],
    ) -> AsyncGenerator[T]:
        last: RemoteError | None = None
        failed = dict[str, RemoteError]()
        told = False
        for pause in (*PAUSES, None):
            for url in self._order():
                async with aclosing(self._once(url, request, key)) as items:
                    try:
                        async for item in items:
                            if url != self.remote.urls[0] and not told:
                                told = True
                                tell(self._instead(url))
                            yield item
                    except RemoteError as error:
                        last = error
                    else:
                        self._down.pop(url, None)
                        return
                if not last.elsewhere:
                    raise last
                failed[url] = last
                self._down[url] = self._clock()
                logger.warning("%s", last)
            assert last is not None
            if pause is None or not last.again or last.after > PATIENCE:
                break
            await asyncio.sleep(max(pause, last.after))
        raise _together([failed[url] for url in self.remote.urls])

    async def _once(
        self, url: str, request: Callable[[Any], AsyncGenerator[T]], key: str
    ) -> AsyncGenerator[T]:
        """One try at one address.

        Raises:
            RemoteError: If nothing came of it.
            EngineError: If it broke off.
        """
        client = self._clients[url]
        if key:
            client = client.with_options(api_key=key)
        key = key or self.remote.key
        begun = False
        try:
            async with aclosing(request(client)) as items:
                async for item in items:
                    begun = True
                    yield item
        except (ParleyError, RemoteError):
            raise
        except Exception as error:  # noqa: BLE001  (servers send anything, clients raise anything)
            found = understood(error, shown(url), key, self.remote.timeout, begun=begun)
            if not begun:
                raise found from None
            logger.warning("%s: %s", shown(url), type(error).__name__)
            raise EngineError(f"This was cut. {found.error} What came before is kept.") from None

    def _order(self) -> list[str]:
        """The addresses, those that failed just now last."""
        now = self._clock()
        return sorted(
            self.remote.urls, key=lambda url: now - self._down.get(url, now - DOWN) < DOWN
        )

    def _instead(self, url: str) -> str:
        return f"The server at {self.remote.host} is down or busy; {shown(url)} answers instead."


def _together(failed: Sequence[RemoteError]) -> RemoteError:
    """What to tell when no address could be used: of each of them why."""
    if len(failed) == 1:
        return failed[0]
    told = " ".join(str(each.error) for each in failed)
    return RemoteError(UnavailableError(f"None of the {len(failed)} servers answers. {told}"))


@contextmanager
def in_words() -> Iterator[None]:
    """Turns a `RemoteError` that nobody could help into what people are told."""
    try:
        yield
    except RemoteError as found:
        raise found.error from found.__cause__
