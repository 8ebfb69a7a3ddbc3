"""The WebSocket of live conversations and the scripts of its page, for the page's server."""

import asyncio
import json
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketDisconnect

from errors import ParleyError, UnavailableError
from live.access import Access
from live.session import Session
from live.smart_turn import WEIGHTS, SmartTurn
from live.speaker import Emit
from services import Services

logger = logging.getLogger(__name__)

PATH = "/v1/realtime"
#: Where the page finds its scripts.
PAGE_PATH = "/live-page"
#: Close codes of WebSockets.
POLICY, TOO_BIG, FULL = 1008, 1009, 1013
#: Largest frame, bytes: 30 s of speech in base64, far more than a client needs to send at once.
MOST_BYTES = 2_000_000
#: Events that may wait for a slow reader; a reply of a minute has fewer.
MOST_WAITING = 2_000
#: How long a client may take to hear that it is hung up on, seconds.
CLOSING = 2.0


class Routes:
    """Live conversations of one server.

    Args:
        services: Engines and limits.
        access: Who may connect.
    """

    def __init__(self, services: Services, access: Access) -> None:
        self._services = services
        self._access = access
        self._sessions = 0
        # Small, and of use to every session: kept as long as the server runs.
        self._judge: SmartTurn | None = None
        self._loading = threading.Thread(target=self._load_judge, name="parley judge", daemon=True)

    def routes(self) -> list[BaseRoute]:
        """For `launch(app_kwargs={"routes": ...})`; what sessions need is loaded meanwhile."""
        self._loading.start()
        scripts = _Scripts(directory=Path(__file__).parent / "page")
        return [WebSocketRoute(PATH, self._serve), Mount(PAGE_PATH, scripts)]

    async def _serve(self, socket: WebSocket) -> None:
        refusal = self._access.refusal(socket.headers, socket.query_params)
        if refusal is not None:
            await _hang_up(socket, POLICY, refusal)
            return
        try:
            with self._seat():
                await self._converse(socket)
        except UnavailableError as error:
            await _hang_up(socket, FULL, str(error))

    @asynccontextmanager
    async def guest(self, emit: Emit) -> AsyncIterator[Session]:
        """A seat and a session for a client within this process.

        Args:
            emit: Given the events of the session.

        Raises:
            UnavailableError: If the room is full.
        """
        with self._seat():
            session = Session(self._services, lambda: self._judge, emit)
            session.begin()
            try:
                yield session
            finally:
                await session.close()

    @contextmanager
    def _seat(self) -> Iterator[None]:
        if self._sessions >= self._services.settings.max_live:
            raise UnavailableError("The room is full. Try again in a minute.")
        self._sessions += 1
        try:
            yield
        finally:
            self._sessions -= 1

    async def _converse(self, socket: WebSocket) -> None:
        await socket.accept()
        writer = _Writer(socket)
        session = Session(self._services, lambda: self._judge, writer.put)
        session.begin()
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(writer.run())
                tasks.create_task(_read(socket, session, sending))
        except* WebSocketDisconnect:
            pass
        except* _SlowReaderError:
            await _hang_up(socket, POLICY, "You read too slowly.")
        except* _FrameTooBigError:
            await _hang_up(socket, TOO_BIG, f"A frame has at most {MOST_BYTES:,} bytes.")
        finally:
            await session.close()

    def _load_judge(self) -> None:
        try:
            self._judge = SmartTurn(self._services.store.ensure(WEIGHTS))
        except ParleyError as error:
            logger.warning("turns end by silence alone: %s", error)


class _Scripts(StaticFiles):
    """Files that browsers ask about each time: after an update, old ones must not meet new ones."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


class _SlowReaderError(Exception):
    """A client does not take what is sent to it."""


class _FrameTooBigError(Exception):
    """A client sends more at once than anyone needs to."""


class _Writer:
    """Sends the events of a session in order, without ever keeping it waiting."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._waiting: deque[dict[str, Any]] = deque()
        self._more = asyncio.Event()
        self._overrun = asyncio.Event()

    def put(self, event: dict[str, Any]) -> None:
        """Queue an event; beyond the limit, the connection is given up."""
        if len(self._waiting) >= MOST_WAITING:
            self._overrun.set()
            return
        self._waiting.append(event)
        self._more.set()

    async def run(self) -> None:
        """Send until cancelled.

        Raises:
            _SlowReaderError: If the client does not take what is sent.
        """
        tasks = {asyncio.ensure_future(self._send()), asyncio.ensure_future(self._overrun.wait())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise _SlowReaderError
        finally:
            for task in tasks:
                task.cancel()

    async def _send(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                await self._socket.send_text(json.dumps(self._waiting[0]))
                self._waiting.popleft()


async def _read(socket: WebSocket, session: Session, sending: "asyncio.Task[None]") -> None:
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text") or message.get("bytes") or ""
            if len(text) > MOST_BYTES:
                raise _FrameTooBigError
            session.take(text)
    finally:
        sending.cancel()


async def _hang_up(socket: WebSocket, code: int, reason: str) -> None:
    """Say why, then close: a client that was never accepted sees only a refused handshake."""
    try:
        if socket.application_state.name == "CONNECTING":
            await socket.accept()
        await asyncio.wait_for(socket.close(code, reason), CLOSING)
    except (RuntimeError, WebSocketDisconnect, TimeoutError):
        return  # It is gone already, or does not even take this.
