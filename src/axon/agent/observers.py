"""Live observers: each has a filter in the kernel, and a queue that its stream is written from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.agent.matching import Flows, Mask
from axon.api.schema import Finish, Flow
from axon.api.source import BusyError
from axon.log import get

_log = get("observe")
_LONGEST_QUEUE = 8192
_PULSE = 1.0
"""Seconds after which a stream yields nothing rather than wait on: its reader may be gone."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What an observer wants beside its filter.

    `read` makes flows of records. The kernel's filter is about the cgroups that `cgroups` returns,
    which may change, if there is one; unless it is `exact` then, `test` says which records are wanted.
    """

    read: Callable[[Flows], list[Flow]]
    cgroups: Callable[[], set[int]] | None = None
    test: Callable[[Flows], Mask] = lambda records: np.ones(len(records), np.bool_)
    exact: bool = True


class Observer:
    """One stream of flows. Its filter counts from when it was made until `finish`."""

    def __init__(
        self,
        number: int,
        bit: int,
        limit: int,
        wants: Wants,
        close: Callable[[Observer], int],
    ) -> None:
        self._number = number
        self.bit = bit
        self._limit = limit
        self.wants = wants
        self.exact = wants.exact
        """Whether the kernel's filter lets nothing by that is not wanted."""
        self.cgroups: set[int] | None = None
        """What the kernel's filter is about by now; None: nothing yet."""
        self._close = close
        self._came = self._passed = 0
        self._queue: list[Flow] = []
        self._more = asyncio.Event()
        self._shown = 0
        self._end: Finish | None = None

    @property
    def id(self) -> int:
        """Its number; never used again."""
        return self._number

    def offer(self, records: Flows) -> None:
        """Queue what is for this observer. What its reader is too slow for is not shown."""
        mine = records[records["matched"] >> self.bit & 1 != 0]
        self._came += len(mine)
        if not self.exact and len(mine):
            mine = mine[self.wants.test(mine)]
        self._passed += len(mine)
        if not len(mine) or len(self._queue) >= _LONGEST_QUEUE:
            return
        flows = self.wants.read(mine)
        if self._limit:
            flows = flows[: self._limit - self._shown]
        self._queue += flows
        self._shown += len(flows)
        self._more.set()

    async def __aiter__(self) -> AsyncIterator[list[Flow]]:
        """Yield flows as they come, an empty list once a second otherwise.

        Ends after `finish`, or when the limit is reached; what is queued comes before.
        """
        while True:
            flows, self._queue = self._queue, []
            if flows:
                yield flows
                continue
            if self._end is not None or (self._limit and self._shown >= self._limit):
                return
            self._more.clear()
            try:
                await asyncio.wait_for(self._more.wait(), _PULSE)
            except TimeoutError:
                yield []

    def finish(self) -> Finish:
        """End the stream; return what its filter has matched, and how much of that was shown."""
        if self._end is None:
            matched, unseen = self._close(self), False
            if not self.exact:
                # What the rate bound has kept back nobody could tell from others.
                matched, unseen = self._passed, matched > self._came
            self._end = Finish(matched=matched, shown=self._shown, at_least=unseen)
            self._more.set()
        return self._end


class Observers:
    """The filters of the kernel, shared out to observers.

    `filters` (AX_FILTERS,) of ax_filter and `ctl` (1,) of ax_ctl are the kernel's memory; `ask` sets
    which cgroups a filter is about, whose bit in `use` is `by_cgroup`. `drain` hands out what waits in the ring; between `start` and `stop` that is done promptly.
    """

    def __init__(
        self,
        filters: NDArray[Any],
        ctl: NDArray[Any],
        *,
        ask: Callable[[int, Collection[int]], None],
        by_cgroup: int,
        drain: Callable[[], object],
        start: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        self._filters = filters
        self._ctl = ctl
        self._ask = ask
        self._by_cgroup = np.uint32(by_cgroup)
        self._drain = drain
        self._start = start
        self._stop = stop
        self._by_id: dict[int, Observer] = {}
        self._last = 0
        # What an agent before this one was asked for, nobody waits for any more.
        filters["active"] = 0
        ctl["filters"] = 0
        ctl["wake"] = 0

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def by_cgroup(self) -> bool:
        """Whether any is about cgroups, so that `refresh` is to be called when those change."""
        return any(observer.wants.cgroups for observer in self._by_id.values())

    def open(self, record: Any, wants: Wants, *, rate: float, limit: int) -> Observer:
        """Begin to observe what an ax_filter describes, at most `rate` a second.

        `limit` is how many flows are shown at most, 0: any number. Raises BusyError when every filter
        is taken.
        """
        taken = {observer.bit for observer in self._by_id.values()}
        free = [bit for bit in range(len(self._filters)) if bit not in taken]
        if not free:
            raise BusyError(
                f"{len(taken)} observers are all that the kernel has filters for; end one of them."
            )
        bit = free[0]
        # Records from the filter's last user must not be taken for this one's.
        self._drain()
        record = record.copy()
        record["interval"] = max(1, round(1e9 / rate))
        self._filters[bit] = record
        self._last += 1
        observer = Observer(self._last, bit, limit, wants, self._close)
        self._find(observer)
        # Last: a program that sees the filter as active sees all of it.
        self._filters["active"][bit] = 1
        self._ctl["filters"] |= np.uint32(1 << bit)
        self._by_id[observer.id] = observer
        if len(self._by_id) == 1:
            self._start()
        return observer

    def refresh(self) -> None:
        """Have the filters be about the cgroups that are wanted by now."""
        for observer in self._by_id.values():
            self._find(observer)

    def dispatch(self, records: Flows) -> None:
        """Hand records to those whose filters have matched them."""
        for observer in self._by_id.values():
            observer.offer(records)

    def finish(self, number: int) -> Finish | None:
        """End a stream by its id; None if there is none."""
        observer = self._by_id.get(number)
        return observer.finish() if observer else None

    def finish_all(self) -> None:
        """End every stream."""
        for observer in list(self._by_id.values()):
            observer.finish()

    def _find(self, observer: Observer) -> None:
        if observer.wants.cgroups is None:
            return
        cgroups = observer.wants.cgroups()
        if cgroups == observer.cgroups:
            return
        observer.cgroups = cgroups
        try:
            self._ask(observer.bit, cgroups)
        except OSError as error:
            # There is no room for so many: what they are, is tested for behind the bound from now on.
            _log.warning("cgroups do not fit", cgroups=len(cgroups), problem=str(error))
            self._filters["use"][observer.bit] &= ~self._by_cgroup
            observer.exact = False

    def _close(self, observer: Observer) -> int:
        self._ctl["filters"] &= ~np.uint32(1 << observer.bit)
        self._filters["active"][observer.bit] = 0
        self._drain()
        if observer.cgroups:
            self._ask(observer.bit, ())
        del self._by_id[observer.id]
        if not self._by_id:
            self._stop()
        return int(self._filters["matched"][observer.bit])
