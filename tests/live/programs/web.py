"""A server by asyncio. Usage: web.py PORT."""

from __future__ import annotations

import sys

from aiohttp import web


async def plain(_: web.Request) -> web.Response:
    """Answer with a length."""
    return web.Response(text="plain")


async def stream(request: web.Request) -> web.StreamResponse:
    """Read everything, answer in chunks."""
    await request.read()
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b"a piece")
    return response


async def broken(_: web.Request) -> web.Response:
    """Fail."""
    raise web.HTTPInternalServerError


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Send back what comes on a WebSocket."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


def main() -> None:
    """Serve."""
    app = web.Application()
    app.router.add_get("/plain", plain)
    app.router.add_post("/stream", stream)
    app.router.add_get("/broken", broken)
    app.router.add_get("/socket", echo)
    web.run_app(app, port=int(sys.argv[1]), print=None)


if __name__ == "__main__":
    main()
