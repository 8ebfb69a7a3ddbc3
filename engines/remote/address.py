"""Where a service on other machines lies."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a service lies.

    Attributes:
        urls: Base addresses of OpenAI-style APIs, the preferred one first.
        key: Sent to them; empty for servers that want none.
        timeout: Longest silence of a server, seconds.
        extra: Fields to send beside the usual ones.
    """

    urls: tuple[str, ...]
    key: str = field(default="", repr=False)
    timeout: float = 60.0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The first address, as it may be shown."""
        return shown(self.urls[0])

    def is_at(self, other: "Remote") -> bool:
        """Whether all of it lies on machines of the other one, so that these may have its keys."""
        ours, theirs = ({_origin(url) for url in each.urls} for each in (self, other))
        return ours <= theirs


def shown(url: str) -> str:
    """An address without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}".rstrip("/")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
