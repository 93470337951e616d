"""Reads the ring buffer: with the tick while nobody watches, promptly while somebody does.

A host without observers costs one read a second. With observers, the programs wake the reader only
when the ring was found empty; as long as records come, it is read at short intervals instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from axon.agent.matching import Flows
from axon.kernel import FlowRing
from axon.log import get

_log = get("agent")
_BUSY = 0.025
_QUIET = 1.0
_MANY = 100  # less than half of what the smallest ring holds


class Pump:
    """Takes records out of the ring and hands them to `take`. `ctl` (1,) is the kernel's ax_ctl."""

    def __init__(self, ring: FlowRing, ctl: NDArray[Any], take: Callable[[Flows], None]) -> None:
        self._ring = ring
        self._ctl = ctl
        self._take = take
        self._watching: asyncio.Task[None] | None = None
        self.pressed = False
        """Whether so many records came that the ring may overflow before the next tick."""

    def read(self) -> int:
        """Take what is there; return how many records."""
        records = self._ring.read()
        self.pressed = len(records) >= _MANY
        if len(records):
            self._take(records)
        return len(records)

    def start(self) -> None:
        """Begin to read promptly."""
        self.stop()
        self._watching = asyncio.create_task(self._watch())

    def stop(self) -> None:
        """Leave reading to the tick again."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self) -> None:
        said = ""
        while True:
            try:
                await self._turn()
            except Exception as error:  # noqa: BLE001 - one record's fault must not end all streams
                # The tick goes on reading too, and tells by the agent's health what lasts.
                if repr(error) != said:
                    _log.exception("the flow records could not be taken")
                said = repr(error)
                await asyncio.sleep(_QUIET)

    async def _turn(self) -> None:
        """Read, and wait for as long as nothing more is to be expected."""
        if self.read():
            await asyncio.sleep(_BUSY)
            return
        self._ctl["wake"] = 1
        try:
            # A record may have come before the programs knew that they should wake us.
            if not self.read():
                await self._readable()
        finally:
            self._ctl["wake"] = 0

    async def _readable(self) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._ring.fd, woken.set)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), _QUIET)
        finally:
            loop.remove_reader(self._ring.fd)
