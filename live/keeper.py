"""Sessions that can be taken up again after their connection dropped."""

import asyncio
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from live.protocol import event
from live.session import Session


@dataclass(eq=False, slots=True)
class Held:
    """A session and the secret that takes it up again.

    Attributes:
        session: The one.
        key: Good for one time.
        let_go: Ends the connection that the session is on; None while it is on none.
        expiry: When it is forgotten, while it is on none.
        moved: Another connection has taken it up.
    """

    session: Session
    key: str = ""
    let_go: Callable[[], None] | None = None
    expiry: asyncio.TimerHandle | None = None
    moved: bool = False


class Keeper:
    """Holds the sessions of a server, and those whose connection dropped a while longer.

    Args:
        seconds: How long these; 0: not at all.
        most: How many of these; the oldest go first.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._held: list[Held] = []
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def kept(self) -> int:
        """How many sessions are on no connection."""
        return sum(held.let_go is None for held in self._held)

    def hold(self, held: Held, let_go: Callable[[], None]) -> list[dict[str, Any]]:
        """Hold a session that is on a connection now.

        Args:
            held: The session; it gets a fresh key.
            let_go: Ends the connection.

        Returns:
            What the client is to know of it: the key, if there is a use for one.
        """
        held.key = secrets.token_urlsafe(24)
        held.let_go = let_go
        self._held.append(held)
        if not self._seconds:
            return []
        return [event("parley.session", resume=held.key, seconds=self._seconds)]

    def claim(self, key: str) -> Held | None:
        """Take out the session of a key, from its connection if it is on one; None: there is none.

        A client may know that a connection dropped long before the server does.
        """
        given = key.encode(errors="replace")
        if not self._seconds:
            return None
        for held in self._held:
            if hmac.compare_digest(held.key.encode(), given):
                self._take_out(held)
                if held.let_go is not None:
                    held.session.suspend()
                    held.let_go()
                return Held(held.session, held.key)
        return None

    async def part(self, held: Held, *, dropped: bool) -> None:
        """A connection ended, or ended before its session could be taken up.

        Args:
            held: What it was for.
            dropped: Neither side wanted that: the session is kept for a while.
        """
        if held.moved:
            return
        if held in self._held:
            self._take_out(held)
        if not (dropped and self._seconds):
            await held.session.close()
            return
        held.session.suspend()
        loop = asyncio.get_running_loop()
        kept = Held(held.session, held.key)
        kept.expiry = loop.call_later(self._seconds, self._forget, kept)
        self._held.append(kept)
        while self.kept > self._most:
            self._forget(next(held for held in self._held if held.let_go is None))

    async def close(self) -> None:
        """Forget the sessions that are on no connection."""
        for held in [held for held in self._held if held.let_go is None]:
            self._forget(held)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _forget(self, held: Held) -> None:
        self._take_out(held)
        task = asyncio.ensure_future(held.session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _take_out(self, held: Held) -> None:
        self._held.remove(held)
        held.moved = True
        if held.expiry is not None:
            held.expiry.cancel()
