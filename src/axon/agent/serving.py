"""Where the agent serves: the API's Unix socket, and its ports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Final

from axon.api.server import Server
from axon.errors import ApiError
from axon.log import get
from axon.settings import Listen, Settings

_AGAIN: Final = 5.0
_log = get("agent")


class Serving:
    """What is served. `patient`: a port that another program has is waited for."""

    def __init__(self, server: Server, settings: Settings, *, patient: bool) -> None:
        self._server = server
        self._settings = settings
        self._patient = patient
        self._closing = AsyncExitStack()
        self._unserved: dict[str, str] = {}
        self.ports: dict[str, int] = {}
        """Ports by what is served there by TCP, `metrics` or `api`."""

    async def start(self) -> None:
        """Begin to serve; raise ApiError where that is not possible."""
        settings, server = self._settings, self._server
        self._closing.push_async_callback(server.close)
        await self._serve("metrics", server.serve_metrics, settings.metrics_listen)
        await self._serve("api", server.serve_tcp, settings.api_listen)
        await server.serve_socket(settings.socket)
        _log.info("serving", socket=settings.socket, **self.ports)

    async def close(self) -> None:
        """Serve no more."""
        await self._closing.aclose()

    @property
    def problem(self) -> str:
        """Why something is not served; empty if all is."""
        return "\n".join(self._unserved.values())

    async def _serve(
        self, what: str, serve: Callable[[Listen], Awaitable[int]], listen: Listen | None
    ) -> None:
        if listen is None:
            return
        try:
            self.ports[what] = await serve(listen)
        except ApiError as error:
            if not self._patient:
                raise
            self._unserved[what] = str(error)
            _log.error("unhealthy", problem=str(error))
            trying = asyncio.create_task(self._serve_later(what, serve, listen))
            self._closing.push_async_callback(cancelled, trying)

    async def _serve_later(
        self, what: str, serve: Callable[[Listen], Awaitable[int]], listen: Listen
    ) -> None:
        while what in self._unserved:
            await asyncio.sleep(_AGAIN)
            with suppress(ApiError):
                self.ports[what] = await serve(listen)
                del self._unserved[what]
        _log.info("serving", **{what: self.ports[what]})


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
