"""Who may use the API: Gradio's login covers neither its WebSocket nor its routes; this does."""

import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from settings import Settings

#: How long a page has to use its token, seconds.
TOKEN_SECONDS = 60.0
#: Unused tokens that are remembered at most; the oldest go first.
MOST_TOKENS = 10_000
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Access:
    """Lets in the pages of this server, by token, and programs, by key.

    Args:
        settings: Whether others than this machine can reach the server, and the key.
        clock: Monotonic time, seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = settings.api_key
        reachable = settings.share or settings.auth or settings.host not in LOOPBACK
        self._closed = bool(settings.api_key or (reachable and not settings.live_open))
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[str, float] = {}

    def issue(self) -> str:
        """A token for one connection, for a page that has passed the login."""
        token = secrets.token_urlsafe(24)
        now = self._clock()
        with self._lock:
            self._tokens = {t: end for t, end in self._tokens.items() if end > now}
            while len(self._tokens) >= MOST_TOKENS:
                self._tokens.pop(next(iter(self._tokens)))
            self._tokens[token] = now + TOKEN_SECONDS
        return token

    def foreign(self, headers: Mapping[str, str]) -> bool:
        """Whether a page of another place asks; see `refusal`."""
        # Browsers always say where a page is from, and nobody else has to.
        origin = headers.get("origin", "")
        return bool(origin) and not _is_of(origin, headers.get("host", ""))

    def refusal(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """Why a connection is refused; None lets it in.

        Args:
            headers: Of the request, names in lower case.
            query: Its parameters.
        """
        origin = headers.get("origin")
        if self.foreign(headers):
            return "This page is not from here."
        token = query.get("token")
        if token is not None:
            return None if self._spend(token) else "The token was used, or is too old. Reload."
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if not self._closed and not origin:
            return None
        given, wanted = key.encode(errors="replace"), self._key.encode()
        if wanted and scheme.lower() == "bearer" and hmac.compare_digest(given, wanted):
            return None
        if not self._key:
            return "This server lets in its own pages only. Set PARLEY_API_KEY to let in programs."
        return "Wrong or missing API key."

    def _spend(self, token: str) -> bool:
        with self._lock:
            end = self._tokens.pop(token, 0.0)
        return end > self._clock()


def _is_of(origin: str, host: str) -> bool:
    try:
        place = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(place) and place == host
