"""Keeps the kernel's route tables: the user's patterns and the learned ones, and routes' texts."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from axon.arrays import among, distinct
from axon.routes.file import MOST
from axon.routes.learn import Learner
from axon.routes.pattern import LONGEST, Pattern, PatternError, parse
from axon.routes.tables import LEAVE, Tables, compile_tables, route_id
from axon.routes.words import STAR

OTHER = "other"
"""The route of requests beyond the bound on a workload's routes (AX_ROUTE_OTHER)."""

NO_PATH = "*"
"""The route of requests without a path: `OPTIONS *`, CONNECT (AX_ROUTE_NONE)."""

_FIXED = {0: OTHER, 1: NO_PATH}
_TIDY_NS = 30_000_000_000
_SETTLED_NS = 60_000_000_000
_REMEMBERED = 4096  # texts of routes that the kernel has forgotten: 0.5 MB
_WORKLOAD = ("cgroup", "comm", "port", "role")
_NOT_THERE = (400, 404, 405, 410, 414, 501)  # statuses that say a path is none of the service's


class Kernel(Protocol):
    """The part of the kernel's interface that routes need."""

    abi: Any
    ctl: NDArray[Any]

    def routes(self) -> Iterator[tuple[int, bytes, Any]]:
        """Yield id, text and `ax_route` of every route that the kernel knows."""
        ...

    def lookup_routes(self, ids: Sequence[int], /) -> Mapping[int, str]:
        """Return the texts of those ids that are known."""
        ...

    def put_route(self, route: int, text: str, /, *, pattern: bool) -> None:
        """Name a route."""
        ...

    def delete_route(self, route: int, /) -> None:
        """Forget a route's name."""
        ...

    def write_rt(
        self,
        set_index: int,
        segs: Mapping[tuple[int, int], NDArray[Any]],
        rt_set: NDArray[Any],
        /,
    ) -> None:
        """Write the set of patterns that is not in use."""
        ...

    def quiesce(self) -> None:
        """Wait for the programs that run now."""
        ...


class RouteManager:
    """Names requests by the user's `patterns`, then by learned ones.

    `max_routes` is how many routes the kernel tells apart in a workload; `clock` is CLOCK_MONOTONIC
    in ns. Call `update` after each look, always from the same thread.
    """

    def __init__(
        self,
        kernel: Kernel,
        patterns: Sequence[Pattern] = (),
        *,
        learn: bool = True,
        max_routes: int = 200,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.problem: str | None = None
        """What keeps patterns from being used, and what to do about it; or None."""
        self._kernel = kernel
        self._clock = clock
        self._given = sorted(patterns, key=lambda p: p.rank)
        self._learn = learn
        self._learner = Learner(max_routes=max_routes)
        self._texts: OrderedDict[int, str] = OrderedDict()
        self._tables: Tables | None = None
        self._written: int | None = None
        self._stale: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._announce = False
        self._next_tidy = clock() + _TIDY_NS
        if learn:
            self._adopt()
        self._switch()

    def text(self, route: int) -> str:
        """Return the text of a route: its path with the variable parts as `{name}`."""
        if route in _FIXED:
            return _FIXED[route]
        if route not in self._texts:
            self._texts.update(self._kernel.lookup_routes([route]))
        else:
            self._texts.move_to_end(route)
        return self._texts.get(route, OTHER)

    def update(self, keys: NDArray[Any], new: NDArray[Any]) -> None:
        """Learn from the series that are new, `ax_key` (n,); keep the kernel's tables.

        `keys` are those of all series.
        """
        if self._announce:
            # A head that was half read at the switch may be remembered by the former set's route:
            # with another serial number it is read again.
            self._kernel.ctl["route_serial"] += 1
            self._announce = False
        self._see(new)
        tidied = self._clock() >= self._next_tidy
        if tidied:
            self._next_tidy = self._clock() + _TIDY_NS
            self._tidy(keys)
        # What had no room may have some now.
        if self._learner.version != self._written or (tidied and self.problem):
            self._switch()

    def superseded(self, keys: NDArray[Any]) -> NDArray[np.bool_]:
        """Return for each series whether its route is one that requests are no longer named by."""
        return among(keys["route"], self._stale)

    def _see(self, new: NDArray[Any]) -> None:
        if not self._learn:
            return
        patterns = self._tables.routes if self._tables else ()
        seen = new[~among(new["status"], _NOT_THERE) & ~among(new["route"], [*_FIXED, *patterns])]
        for name in _distinct(seen, *_WORKLOAD, "route"):
            text = self.text(int(name["route"]))
            if text.startswith("/") and len(text) < LONGEST:
                self._learner.see(_workload(name), text)

    def _adopt(self) -> None:
        """Take over what an earlier agent has learned."""
        for _, text, row in self._kernel.routes():
            if row["pattern"] and STAR.encode() in text:
                try:
                    self._learner.adopt(parse(text.decode()).text)
                except (PatternError, UnicodeDecodeError):
                    continue

    def _wanted(self) -> list[tuple[Pattern, int]]:
        """Return the patterns to use, first those that win, each with its route."""
        given = [(p, route_id(p.text)) for p in self._given]
        if not self._learn:
            return given
        taken = {p.shape for p in self._given}
        learned = [p for p in self._learner.patterns() if p.shape not in taken]
        shields = [p for p in self._learner.shields() if p.shape not in taken]
        room = MOST - len(given) - len(shields)
        rest = [(p, route_id(p.text)) for p in learned[: max(room, 0)]]
        rest += [(p, LEAVE) for p in shields[: MOST - len(given) - len(rest)]]
        return given + sorted(rest, key=lambda pair: pair[0].rank)

    def _switch(self) -> None:
        """Write the patterns as the other set, and use it."""
        kernel, ctl = self._kernel, self._kernel.ctl
        self._written = self._learner.version
        dtype = kernel.abi.rt_set
        depths, words = np.zeros((), dtype)["wild"].shape
        wanted = self._wanted()
        tables = compile_tables(wanted, int(ctl["secret"][0]), depths)
        if self._tables is not None and tables == self._tables:
            return
        other = 1 - int(ctl["route_set"][0])
        try:
            known = self._tables.routes if self._tables else ()
            for pattern, route in wanted:
                if route != LEAVE and route not in known:
                    kernel.put_route(route, pattern.text, pattern=True)
                    self._texts[route] = pattern.text
            # A program may still match by the set that was in use before the last switch.
            kernel.quiesce()
            kernel.write_rt(other, tables.segments(words), tables.rt_set(dtype))
        except OSError as e:
            self.problem = (
                f"The kernel took no more route patterns ({e.strerror}), so the former ones stay "
                "in use: give fewer patterns, or merge some with {name} or /**."
            )
            return
        ctl["route_set"] = other
        ctl["route_serial"] += 1
        self._announce = True
        self._tables, self.problem = tables, None
        self._find_stale(tables)

    def _find_stale(self, tables: Tables) -> None:
        """Find the routes whose requests are named otherwise from now on."""
        stale = []
        for route, text, row in self._kernel.routes():
            bit = tables.match(text)
            name = LEAVE if bit is None else tables.routes[bit]
            if name not in {LEAVE, route} or (row["pattern"] and route not in tables.routes):
                stale.append(route)
        self._stale = np.array(stale, np.uint64)

    def _tidy(self, keys: NDArray[Any]) -> None:
        """Have the kernel forget the routes that no series has, and workloads that are gone."""
        used = {int(route) for route in distinct(keys["route"])}
        used.update(self._tables.routes if self._tables else ())
        now = self._clock()
        forgotten = 0
        for route, text, row in self._kernel.routes():
            if route not in used and now - int(row["created"]) > _SETTLED_NS:
                self._texts.setdefault(route, text.decode(errors="backslashreplace"))
                self._kernel.delete_route(route)
                forgotten += 1
        if forgotten:
            # Connections remember the route of their last head; they are to read it again.
            self._kernel.ctl["route_serial"] += 1
        self._trim(used)
        alive = {_workload(name) for name in _distinct(keys, *_WORKLOAD)}
        for workload in self._learner.workloads:
            if workload not in alive:
                self._learner.forget(workload)

    def _trim(self, used: set[int]) -> None:
        """Bound the texts of routes that are no longer in use: they are kept for stragglers."""
        spare = [route for route in self._texts if route not in used]
        for route in spare[: max(len(spare) - _REMEMBERED, 0)]:
            del self._texts[route]


def _distinct(keys: NDArray[Any], *fields: str) -> NDArray[Any]:
    """Return the distinct combinations of some fields."""
    packed = np.zeros(len(keys), [(name, keys.dtype[name]) for name in fields])
    for name in fields:
        packed[name] = keys[name]
    return distinct(packed.view(f"V{packed.dtype.itemsize}")).view(packed.dtype)


def _workload(name: np.void) -> tuple[int, bytes, int, int]:
    return int(name["cgroup"]), name["comm"].tobytes(), int(name["port"]), int(name["role"])
