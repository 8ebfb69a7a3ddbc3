"""What conversations need of the web server beyond what every server offers."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from socket import socket as Socket  # noqa: N812
from typing import Any

import uvicorn
from starlette.websockets import WebSocket

#: How long clients may take to hear that the server stops, seconds.
FAREWELL = 2.0


class WebServer:
    """uvicorn, where the interface for applications (ASGI) is not enough.

    Args:
        server: It may be serving already.
        stop: Hangs up on everybody, saying why; called before the server stops.
    """

    def __init__(self, server: uvicorn.Server, stop: Callable[[], Awaitable[None]]) -> None:
        self._server = server
        self._stop = stop
        self._shutdown = server.shutdown
        server.shutdown = self._say_farewell  # type: ignore[method-assign]
        # Speech hardly shrinks, and what arrives small must not become large here.
        server.config.ws_per_message_deflate = False

    def cut(self, socket: WebSocket) -> None:
        """Break a connection at once.

        Its client reads nothing, not even that it ended; an orderly end would wait
        for that for ever, and keep what was to be sent.
        """
        for connection in self._sockets():
            # The one thing of a connection that no middleware replaces by a copy.
            if connection.scope["state"] is socket.scope["state"]:
                connection.transport.abort()

    async def _say_farewell(self, sockets: list[Socket] | None = None) -> None:
        # uvicorn itself closes without a reason, and waits for all that do not answer.
        await self._stop()
        deadline = time.monotonic() + FAREWELL
        while self._sockets() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for connection in self._sockets():
            connection.transport.abort()
        await self._shutdown(sockets)

    def _sockets(self) -> list[Any]:
        """The WebSockets that are open, as uvicorn's protocols."""
        connections: list[Any] = list(self._server.server_state.connections)
        scopes = [getattr(connection, "scope", None) or {} for connection in connections]
        return [
            connection
            for connection, scope in zip(connections, scopes, strict=True)
            if scope.get("type") == "websocket"
        ]
