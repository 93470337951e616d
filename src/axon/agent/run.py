"""Runs an agent until it is told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from axon.agent.agent import Agent
from axon.settings import Settings


def run(settings: Settings, *, started: Callable[[Agent], None] = lambda _: None) -> None:
    """Run an agent in this process until SIGTERM or SIGINT. `started` is called once it serves.

    Raises AxonError when it cannot run here.
    """
    asyncio.run(_run(settings, started))


async def _run(settings: Settings, started: Callable[[Agent], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Agent(settings) as agent:
        started(agent)
        await stop.wait()
