"""Proxies as some offices have them: they carry HTTP, and no WebSocket."""

import asyncio
import threading
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

#: What belongs to one connection is not passed on; so an upgrade never arrives.
HOPS = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}
METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE"]


@contextmanager
def proxied(url, *, silent=False):
    """The address of a proxy in front of `url`.

    Args:
        url: Where it passes requests on to.
        silent: A request for a WebSocket is never answered, rather than taken for another one.
    """
    # A connection for each request: one that was kept may be closed by the server just as the
    # next request goes out on it, and nobody could tell whether that was served.
    once = httpx.Limits(max_keepalive_connections=0)
    client = httpx.AsyncClient(base_url=url, timeout=None, limits=once)

    async def forward(request: Request):
        if silent and "upgrade" in request.headers:
            await asyncio.Event().wait()
        headers = [(key, value) for key, value in request.headers.items() if key not in HOPS]
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        given = client.build_request(
            request.method, path, headers=headers, content=await request.body()
        )
        answer = await client.send(given, stream=True)

        async def passed_on():
            try:
                async for piece in answer.aiter_raw():
                    yield piece
            finally:
                await answer.aclose()

        kept = {key: value for key, value in answer.headers.items() if key not in HOPS}
        return StreamingResponse(passed_on(), answer.status_code, kept)

    app = Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)])
    # Without "ws", a request for a WebSocket is one like any other.
    config = uvicorn.Config(app, port=0, ws="none", log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
