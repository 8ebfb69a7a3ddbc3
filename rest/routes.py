"""The routes of the API, and what holds for all of them."""

import secrets
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from access import Access
from errors import BusyError
from rest.chat import Chat
from rest.engines import DEFAULT, Engines
from rest.monitoring import Monitoring
from rest.problems import FORBIDDEN, NOT_FOUND, WRONG_KEY, WRONG_METHOD, Problem, problem_of
from rest.speech import Speech
from rest.transcriptions import Transcriptions
from services import Services

Endpoint = Callable[[Request], Awaitable[Response]]

#: Requests beyond those that may wait for a model: for those that wait for their weights.
MARGIN = 64


class Rest:
    """OpenAI's HTTP API.

    Args:
        services: Engines and limits.
        access: Who may use it.
    """

    def __init__(self, services: Services, access: Access) -> None:
        self._access = access
        self._engines = Engines(services)
        self._speech = Speech(services, self._engines)
        self._transcriptions = Transcriptions(services, self._engines)
        self._monitoring = Monitoring(services)
        self._chat = Chat(services, self._engines)
        self._most = services.turnstile.limit + MARGIN
        self._busy = 0

    def routes(self) -> list[BaseRoute]:
        """For `launch(app_kwargs={"routes": ...})`."""
        return [
            self._route("/v1/audio/speech", self._speech, "POST"),
            self._route("/v1/audio/transcriptions", self._transcriptions, "POST"),
            self._route("/v1/chat/completions", self._chat, "POST"),
            self._route("/v1/models", self._models, "GET"),
            self._route("/v1/models/{name:path}", self._model, "GET"),
            self._route("/v1/audio/voices", self._voices, "GET"),
            self._route("/v1/stats", self._monitoring.stats, "GET"),
            self._route("/metrics", self._monitoring.metrics, "GET"),
            # Load balancers have no key, and learn nothing but whether they may send somebody.
            self._route("/health", self._monitoring.health, "GET", free=True),
            self._route("/v1/{rest:path}", _nowhere),
        ]

    def _route(
        self, path: str, endpoint: Endpoint, method: str | None = None, *, free: bool = False
    ) -> BaseRoute:
        async def serve(request: Request) -> Response:
            try:
                if not free:
                    self._admit(request)
                # Whoever asks for the head alone asks for what GET would give.
                asked = "GET" if request.method == "HEAD" else request.method
                if method not in {None, asked}:
                    raise _wrong_method(request, method)
                self._busy += 1
                try:
                    response = await endpoint(request)
                finally:
                    self._busy -= 1
            except Exception as error:  # noqa: BLE001  (every error is told in OpenAI's words)
                response = problem_of(error).response()
            response.headers["x-request-id"] = f"req_{secrets.token_hex(12)}"
            return response

        return Route(path, serve, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])

    def _admit(self, request: Request) -> None:
        if self._access.foreign(request.headers):
            raise Problem("This page is not from here.", FORBIDDEN, code="forbidden_origin")
        refusal = self._access.refusal(request.headers, request.query_params)
        if refusal is not None:
            raise Problem(refusal, WRONG_KEY, code="invalid_api_key")
        if self._busy >= self._most:
            raise BusyError("Too many requests are under way. Try again in a minute.")

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": self._engines.listing()})

    async def _model(self, request: Request) -> Response:
        return JSONResponse(self._engines.model(request.path_params["name"]))

    async def _voices(self, request: Request) -> Response:
        model = request.query_params.get("model", DEFAULT)
        return JSONResponse({"object": "list", "data": self._engines.voices(model)})


async def _nowhere(request: Request) -> Response:
    raise Problem(f"{request.url.path[:200]} is not served here.", NOT_FOUND, code="unknown_url")


def _wrong_method(request: Request, method: str | None) -> Problem:
    return Problem(
        f"{request.url.path[:200]} takes {method}, not {request.method}.",
        WRONG_METHOD,
        code="method_not_allowed",
    )
