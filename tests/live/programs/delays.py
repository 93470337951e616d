"""A server that answers each request after a delay that it draws. Usage: delays.py PORT SEED."""

from __future__ import annotations

import asyncio
import random
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Delayed(asyncio.Protocol):
    """One connection. Requests have no body and are not pipelined."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer later: after 60 ms in the median, a quarter of a second now and then."""
        assert data.endswith(b"\r\n\r\n")
        delay = self._draw.lognormvariate(0, 0.6) * 0.06
        asyncio.get_running_loop().call_later(delay, self._answer)

    def _answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(ANSWER)


async def main() -> None:
    """Serve."""
    draw = random.Random(int(sys.argv[2]))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Delayed(draw), port=int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
