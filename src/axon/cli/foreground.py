"""An agent in the foreground: with the live table in front of it, or with its log."""

from __future__ import annotations

import asyncio
import io
import shutil
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from axon import log
from axon.agent import Agent
from axon.api.schema import Snapshot
from axon.settings import Settings

_BACKLOG: Final = 1000


async def with_log(settings: Settings, seconds: float | None) -> int:
    """Run an agent until a signal or for `seconds`, after which the table is printed."""
    log.configure(level=settings.log_level, form=settings.log_format)
    stop = asyncio.Event()
    _on_signals(stop.set)
    async with Agent(settings) as agent:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
        last = agent.shown()
    if seconds is not None:
        print_table(last)
    return 0


async def with_table(settings: Settings, seconds: float | None) -> int:
    """Run an agent behind the live table until somebody leaves it, or for `seconds`."""
    from axon.view import format as fmt
    from axon.view.top import TopApp

    backlog = Backlog()
    quiet = "log_level" not in settings.origins
    log.configure(
        level="warning" if quiet else settings.log_level, form=settings.log_format, stream=backlog
    )
    try:
        async with Agent(settings) as agent:
            print(_memory(agent))

            async def source() -> Snapshot:
                return agent.shown()

            app = TopApp(source)
            _on_signals(app.exit)
            if seconds is not None:
                asyncio.get_running_loop().call_later(seconds, app.exit)
            await app.run_async()
            last = agent.shown()
    finally:
        sys.stderr.write(backlog.text())
    if seconds is None:
        arrived = fmt.plural(last.server.total, "request")
        print(f"axon: {arrived} arrived here, {fmt.grouped(last.client.total)} left from here")
    else:
        print_table(last)
    return app.return_code or 0


def _memory(agent: Agent) -> str:
    """Return what the programs may take of the kernel's memory, as the log says it where there is no table."""
    from axon.view import format as fmt

    now = agent.status()
    return (
        f"axon: attached, with at most {fmt.size(now.kernel_bytes)} of the kernel's memory "
        f"and {fmt.grouped(now.bytes_per_socket)} bytes a socket"
    )


def print_table(snapshot: Snapshot) -> None:
    """Print the table of what arrived here, as `axon top --once` does."""
    from axon.view import plain
    from axon.view.columns import sort_rows
    from axon.view.rows import select

    rows = sort_rows(select(snapshot.endpoints, role="server"), "rate", descending=True)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(plain.table(snapshot, rows, "server", width), end="", flush=True)


def _on_signals(end: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, end)


class Backlog(io.StringIO):
    """Holds the last log lines while the table has the screen."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=_BACKLOG)

    def write(self, text: str) -> int:
        """Keep a line."""
        self._lines.append(text)
        return len(text)

    def text(self) -> str:
        """Return what was kept."""
        return "".join(self._lines)
