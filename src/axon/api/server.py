"""The API's server: the JSON API on a Unix socket and on TCP if asked, /metrics on its own address."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Self

from aiohttp import web

from axon.api import schema
from axon.api.answers import SECURITY, Handler, answer, by_address, encode, guard, health, problem
from axon.api.endpoints import ENDPOINTS, FASTEST, LINES, MOST_RECENT
from axon.api.filters import FlowFilter, QueryError, parse
from axon.api.openapi import document
from axon.api.source import Source, Stream
from axon.errors import ApiError
from axon.export.negotiate import negotiate
from axon.settings import Listen

_SOCKET_MODE = 0o660
CONNECTIONS = 64
"""At one TCP address. A descriptor each is what they could take from the rest of the agent."""


class Server:
    """Serves one source. Use as an asynchronous context manager, or `close` it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._handlers: Mapping[str, Handler] = {
            "snapshot": self._snapshot,
            "flows": self._flows,
            "finish": self._finish,
            "recent": self._recent,
            "status": self._status,
            "config": self._config,
            "policies": self._policies,
            "look": self._look,
            "traffic": self._traffic,
            "openapi": self._openapi,
            "healthz": self._healthz,
            "readyz": self._readyz,
        }
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop serving; requests in progress are cut short."""
        await self._closing.aclose()

    async def serve_socket(self, path: Path) -> None:
        """Serve the API on a Unix socket that only its owner and group can use.

        Raises ApiError when it cannot be made.
        """
        runner = await _runner(self._api(), self._closing)
        # Made under a name of its own and moved: nobody can connect before the mode is set, and
        # what an agent that was killed left there is replaced.
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            draft.unlink(missing_ok=True)
            await web.UnixSite(runner, draft).start()
            draft.chmod(_SOCKET_MODE)
            draft.rename(path)
        except (OSError, ValueError) as error:
            raise ApiError(
                f"Cannot serve the API on {path}: {error}. Set run_dir to a directory that this "
                "user can write to."
            ) from error

        def remove() -> None:
            with suppress(OSError):
                path.unlink()

        self._closing.callback(remove)

    async def serve_tcp(self, listen: Listen) -> int:
        """Serve the API on a TCP address; return the port. Raises ApiError."""
        return await self._tcp(self._api(tcp=True), listen, "api_listen")

    async def serve_metrics(self, listen: Listen) -> int:
        """Serve /metrics and the health checks on a TCP address; return the port. Raises ApiError."""
        application = web.Application(middlewares=[guard])
        application.router.add_get("/", _index)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        return await self._tcp(application, listen, "metrics_listen")

    def _api(self, *, tcp: bool = False) -> web.Application:
        middlewares = [guard, by_address] if tcp else [guard]
        application = web.Application(middlewares=middlewares)
        for endpoint in ENDPOINTS:
            refused = tcp and endpoint.only_on_socket
            handler = _only_on_socket if refused else self._handlers[endpoint.name]
            application.router.add_route(endpoint.method, endpoint.path, handler)
        return application

    async def _tcp(self, application: web.Application, listen: Listen, setting: str) -> int:
        async with AsyncExitStack() as undo:
            runner = await _runner(application, undo)
            server = runner.server
            assert server is not None, "it is set up"  # noqa: S101 - for the type checker

            def connection() -> asyncio.Protocol:
                # The oldest give way: whoever leaves connections open is to shut nobody out.
                there = [one.transport for one in server.connections if one.transport]
                for transport in there[: max(0, len(there) + 1 - CONNECTIONS)]:
                    transport.abort()
                return server()

            try:
                listening = await asyncio.get_running_loop().create_server(
                    connection, listen.host, listen.port, reuse_address=True
                )
            except OSError as error:
                raise ApiError(
                    f"Cannot listen on {listen}: {os.strerror(error.errno or 0)}. "
                    f"Set {setting} to a free address of this host, or to off."
                ) from error
            undo.callback(listening.close)
            self._closing.push_async_exit(undo.pop_all())
        port: int = listening.sockets[0].getsockname()[1]
        return port

    # --- handlers ------------------------------------------------------------------------------------

    async def _snapshot(self, _: web.Request) -> web.Response:
        body = self._source.snapshot()
        if not body:
            return problem(503, "The agent has not looked yet; ask again in a second.")
        return answer(body)

    async def _status(self, _: web.Request) -> web.Response:
        return answer(encode(self._source.status()))

    async def _config(self, _: web.Request) -> web.Response:
        return answer(encode(self._source.config()))

    async def _policies(self, _: web.Request) -> web.Response:
        return answer(encode(self._source.policies()))

    async def _look(self, _: web.Request) -> web.Response:
        return answer(encode(self._source.look()))

    async def _traffic(self, _: web.Request) -> web.Response:
        return answer(encode(self._source.traffic()))

    async def _openapi(self, _: web.Request) -> web.Response:
        return answer(document())

    async def _healthz(self, _: web.Request) -> web.Response:
        return health(self._source.health())

    async def _readyz(self, _: web.Request) -> web.Response:
        return health(self._source.ready())

    async def _recent(self, request: web.Request) -> web.Response:
        options = _Options(request)
        last = int(options.number("last", 20, 0, MOST_RECENT, whole=True))
        flows = self._source.recent(options.filter(), last)
        return answer(encode(schema.Recent(flows=flows)))

    async def _finish(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        finish = None
        if number.isascii() and number.isdigit() and len(number) < 19:
            finish = self._source.finish(int(number))
        if finish is None:
            return problem(404, f"There is no stream {number[:32]}; it may have ended.")
        return answer(encode(finish))

    async def _flows(self, request: web.Request) -> web.StreamResponse:
        options = _Options(request)
        last = int(options.number("last", 0, 0, MOST_RECENT, whole=True))
        limit = int(options.number("limit", 0, 0, 2**53, whole=True))
        rate = options.number("rate", 1000, 0.1, FASTEST)
        wanted = options.filter()
        stream = self._source.follow(wanted, rate=rate, limit=limit)
        try:
            response = web.StreamResponse(headers={"Content-Type": LINES, **SECURITY})
            await response.prepare(request)
            await _send(request, response, stream, self._source.recent(wanted, last))
            with suppress(ConnectionError):
                await response.write(encode(stream.finish()) + b"\n")
                await response.write_eof()
        finally:
            stream.finish()
        return response

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        content_type, writer = negotiate(request.headers.get("Accept", ""))
        response = web.StreamResponse(headers={"Content-Type": content_type, **SECURITY})
        await response.prepare(request)
        for piece in writer(self._source.families()):
            await response.write(piece)
        await response.write_eof()
        return response


async def _runner(application: web.Application, closing: AsyncExitStack) -> web.AppRunner:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    closing.push_async_callback(runner.cleanup)
    return runner


async def _send(
    request: web.Request,
    response: web.StreamResponse,
    stream: Stream,
    first: list[schema.Flow],
) -> None:
    """Write the lines of a stream up to its last; return when it ends or nobody reads any more."""
    with suppress(ConnectionError):
        await response.write(_lines([schema.Begin(id=stream.id), *first]))
        async for flows in stream:
            if request.transport is None or request.transport.is_closing():
                return
            if flows:
                await response.write(_lines(flows))


def _lines(rows: Sequence[object]) -> bytes:
    return b"".join(encode(row) + b"\n" for row in rows)


class _Options:
    """A request's query: its own options first, then the filter from what is left."""

    def __init__(self, request: web.Request) -> None:
        self._query = list(request.query.items())

    def number(
        self, name: str, default: float, low: float, high: float, *, whole: bool = False
    ) -> float:
        """Take an option that is a number."""
        texts = [text for key, text in self._query if key == name]
        self._query = [(key, text) for key, text in self._query if key != name]
        try:
            value = default if not texts else int(texts[-1]) if whole else float(texts[-1])
        except ValueError:
            value = -1
        if not low <= value <= high:
            raise QueryError(f"{name} must be a number from {low:g} to {high:g}")
        return value

    def filter(self) -> FlowFilter:
        """Return what is left as a filter."""
        return parse(self._query)


async def _only_on_socket(request: web.Request) -> web.Response:
    return problem(403, f"{request.method} {request.path} is for the agent's socket, not for TCP.")


async def _index(_: web.Request) -> web.Response:
    return web.Response(
        text="Axon. Metrics are at /metrics, health at /healthz and /readyz.\n", headers=SECURITY
    )
