"""A proxy as some offices have one: it carries HTTP, and no WebSocket."""

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


@contextmanager
def proxied(url):
    """The address of a proxy in front of `url`."""
    client = httpx.AsyncClient(base_url=url, timeout=None, limits=httpx.Limits())

    async def forward(request: Request):
        headers = [(k, v) for k, v in request.headers.items() if k not in HOPS]
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        body = await request.body()
        given = client.build_request(request.method, path, headers=headers, content=body)
        answer = await client.send(given, stream=True)

        async def passed_on():
            try:
                async for piece in answer.aiter_raw():
                    yield piece
            finally:
                await answer.aclose()

        kept = {k: v for k, v in answer.headers.items() if k not in HOPS}
        return StreamingResponse(passed_on(), answer.status_code, kept)

    methods = ["GET", "POST", "HEAD", "PUT", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", forward, methods=methods)])
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
