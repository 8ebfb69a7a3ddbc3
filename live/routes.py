"""The WebSocket of live conversations and the scripts of its page, for the page's server."""

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import uvicorn
from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from starlette.websockets import WebSocket

from access import Access
from errors import ParleyError
from live.keeper import Held, Keeper
from live.line import FULL, IDLE, POLICY, RESTART, HangUpError, Line
from live.protocol import Emit, event
from live.room import Early, FullError, Room, queue_event
from live.server import WebServer
from live.session import Session
from live.smart_turn import WEIGHTS, SmartTurn
from live.traffic import Traffic
from services import Services

logger = logging.getLogger(__name__)

PATH = "/v1/realtime"
#: Where the page finds its scripts.
PAGE_PATH = "/live-page"

ELSEWHERE = "This conversation goes on over another connection."
RESTARTING = "The server is being restarted."


class Routes:
    """Live conversations of one server.

    Args:
        services: Engines and limits.
        access: Who may connect.
    """

    def __init__(self, services: Services, access: Access) -> None:
        settings = services.settings
        self._services = services
        self._access = access
        self._traffic = Traffic()
        self._room = Room(settings.max_live, settings.max_live_waiting)
        services.watch.live.append((lambda: self._room.taken, lambda: self._room.waiting))
        self._keeper = Keeper(settings.live_resume, settings.max_live)
        self._lines: set[Line] = set()
        self._stopping = False
        self._server: WebServer | None = None
        # Small, and of use to every session: kept as long as the server runs.
        self._judge: SmartTurn | None = None
        self._loading = threading.Thread(target=self._load_judge, name="parley judge", daemon=True)

    def routes(self) -> list[BaseRoute]:
        """For `launch(app_kwargs={"routes": ...})`; what sessions need is loaded meanwhile."""
        self._loading.start()
        scripts = _Scripts(directory=Path(__file__).parent / "page")
        return [WebSocketRoute(PATH, self._serve), Mount(PAGE_PATH, scripts)]

    def serve_in(self, server: uvicorn.Server) -> None:
        """Tell of the server in which the routes are, so that they can do more for it."""
        self._server = WebServer(server, self._stop)

    async def _stop(self) -> None:
        self._stopping = True
        for line in self._lines:
            line.hang_up(RESTART, RESTARTING)
        await self._keeper.close()

    async def _serve(self, socket: WebSocket) -> None:
        line = Line(socket, self._cut)
        refusal = self._access.refusal(socket.headers, socket.query_params)
        if refusal is not None:
            await line.refuse(POLICY, refusal)
        elif self._stopping:
            await line.refuse(RESTART, RESTARTING)
        else:
            self._lines.add(line)
            try:
                await line.hold(partial(self._converse, line, socket.query_params))
            finally:
                self._lines.discard(line)

    @asynccontextmanager
    async def guest(self, emit: Emit) -> AsyncIterator[Session]:
        """A seat and a session for a client within this process.

        Args:
            emit: Given the events of the session, and of the line before a full room.

        Raises:
            UnavailableError: If the room is full and so is the line.
        """
        async with self._room.seat(lambda ahead: emit(queue_event(ahead))):
            session = Session(self._services, lambda: self._judge, emit, traffic=self._traffic)
            session.begin()
            try:
                yield session
            finally:
                await session.close()

    def _cut(self, socket: WebSocket) -> None:
        if self._server is not None:
            self._server.cut(socket)

    async def _converse(self, line: Line, query: QueryParams) -> None:
        """Seat a caller and hold the conversation, a new one or that of the key it gives."""
        early = Early(line.put)
        line.take = early.take
        key = query.get("resume")
        held = self._keeper.claim(key) if key else None
        idle = self._services.settings.live_idle
        try:
            async with self._room.seat(
                lambda ahead: line.put(queue_event(ahead)), returning=held is not None
            ):
                held = self._resume(line, held) if held else self._begin(line, query.get("model"))
                line.take = held.session.take
                for text in early.kept:
                    held.session.take(text)
                await held.session.until_quiet(idle)
                raise HangUpError(IDLE, f"Nothing was said for {_spell(idle)}.")
        except FullError as error:
            raise HangUpError(FULL, str(error)) from error
        finally:
            if held is not None:
                await self._keeper.part(held, dropped=line.dropped)

    def _begin(self, line: Line, model: str | None) -> Held:
        # Clients name the model they know; only one of our own engines means something.
        engine = model if model in self._services.entries else None
        session = Session(
            self._services, lambda: self._judge, line.put, engine=engine, traffic=self._traffic
        )
        held = Held(session)
        session.begin()
        self._hold(line, held)
        return held

    def _resume(self, line: Line, held: Held) -> Held:
        line.put(event("parley.resumed", session_id=held.session.id))
        self._hold(line, held)
        held.session.resume(line.put)
        return held

    def _hold(self, line: Line, held: Held) -> None:
        let_go = partial(line.hang_up, POLICY, ELSEWHERE)
        for told in self._keeper.hold(held, let_go):
            line.put(told)

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


def _spell(seconds: float) -> str:
    """A duration in words."""
    whole = max(1, round(seconds))
    number, unit = (whole, "second") if whole % 60 else (whole // 60, "minute")
    return f"{number} {unit}{'' if number == 1 else 's'}"
