"""A client of web.py by asyncio. Usage: asker.py HOST PORT."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import aiohttp


async def pieces() -> AsyncIterator[bytes]:
    """Give a body in chunks: 50 times 100 bytes."""
    for _ in range(50):
        yield b"x" * 100


async def ask(session: aiohttp.ClientSession, method: str, path: str, **options: object) -> None:
    """Ask once, read everything."""
    async with session.request(method, path, **options) as response:  # type: ignore[arg-type]
        await response.read()


async def main(host: str, port: str) -> None:
    """Ask for everything that web.py has."""
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
        await asyncio.gather(*(ask(session, "GET", "/plain") for _ in range(200)))
        await asyncio.gather(*(ask(session, "POST", "/stream", data=pieces()) for _ in range(20)))
        await asyncio.gather(*(ask(session, "GET", "/broken") for _ in range(5)))
        async with session.ws_connect("/socket") as socket:
            await socket.send_str("GET /not-seen HTTP/1.1\r\nHost: h\r\n\r\n")
            await socket.receive_str()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
