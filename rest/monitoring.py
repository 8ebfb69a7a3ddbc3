"""`/metrics`, `/v1/stats` and `/health`: for those who watch the server."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rest.problems import LATER, UNAVAILABLE
from services import Services


class Monitoring:
    """The endpoints."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def metrics(self, request: Request) -> Response:
        """What was counted, as Prometheus reads it."""
        # Aside, as the driver of a GPU takes its time.
        content = await run_in_threadpool(self._services.watch.counts.exposition)
        return Response(content, media_type=CONTENT_TYPE_LATEST)

    async def stats(self, request: Request) -> Response:
        """What was counted, how things stand, and the last turns."""
        return JSONResponse(await run_in_threadpool(self._services.watch.stats))

    async def health(self, request: Request) -> Response:
        """Whether the engine that the server was started with can answer.

        A server whose models are loaded on demand, or still come, is well; with `?ready=1`
        only one whose models are there is.
        """
        states = {status.name: status.state for status in self._services.models.status()}
        engine = self._services.settings.engine
        own = {states[spec.name] for spec in self._services.desk.specs(engine)}
        if "failed" in own:
            told = "failed"
        elif own <= {"ready"}:
            told = "ready"
        else:
            told = "loading" if "loading" in own else "idle"
        well = told == "ready" or (told != "failed" and request.query_params.get("ready") != "1")
        headers = {} if well else {"Retry-After": str(LATER)}
        return JSONResponse({"status": told}, 200 if well else UNAVAILABLE, headers)
