"""Who has asked whom for what in the last hours: bounded, for what policies would make of it.

Made of what the agent has anyway. Counts are those of the series, looked at every few seconds; real paths
and hosts, and what was denied, are from flow records, of which there is a bounded number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.agent.counts import MOST, Asked, Caller, Counts, Local, Workload
from axon.agent.flows import address, command, text
from axon.agent.matching import Flows, method_names
from axon.kernel import Abi
from axon.snapshot import Snapshot

_LOOK_EVERY = 5.0
_ADDRESSES_EVERY = 30.0
_DENIED = MOST // 4
_SAMPLES = 4
_SAMPLED = 1024  # methods and routes with samples
_ENDS = 4096
_NOBODY = bytes(16)
_LOOPBACK_V4 = bytes(10) + b"\xff\xff\x7f"  # 127.0.0.0/8, mapped
_LOOPBACK_V6 = bytes(15) + b"\1"


class Traffic:
    """The memory. `route(id)` is a route's text, `own()` the addresses of this network namespace,
    `clients` whether the client's side is observed too.
    """

    def __init__(
        self,
        abi: Abi,
        route: Callable[[int], str],
        own: Callable[[], set[bytes]],
        *,
        hours: float,
        clients: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._route = route
        self._find_own = own
        self._clients = clients
        self._clock = clock
        self._methods = method_names(abi)
        self._server = abi.enum("ax_role")["AX_ROLE_SERVER"]
        self._dropped = abi.enum("ax_verdict")["AX_VERDICT_DROPPED"]
        flags = abi.enum("ax_flow_flag")
        self._partial = flags["AX_FLOW_PATH_CUT"] | flags["AX_FLOW_NO_TEXT"]
        self._counts = Counts(hours, clock)
        self._denied = Counts(hours, clock)
        self._samples: dict[tuple[Workload, str, str], dict[tuple[str, str], None]] = {}
        self._served: dict[tuple[bytes, int], Workload] = {}
        self._by_port: dict[int, set[Workload]] = {}
        self._callers: set[tuple[int, str]] = set()
        self._cache: dict[int, tuple[int, Asked]] = {}
        self._own: set[bytes] = set()
        self._began = clock()
        self._next_look = self._next_own = 0.0
        self._before: tuple[NDArray[np.uint64], NDArray[np.int64]] = (
            np.zeros(0, np.uint64),
            np.zeros(0, np.int64),
        )
        self.hours = hours

    @property
    def lost(self) -> int:
        """Requests that there was no room for."""
        return self._counts.lost + self._denied.lost

    @property
    def seconds(self) -> float:
        """How long traffic has been remembered."""
        return self._clock() - self._began

    def total(self) -> Iterator[tuple[Asked, int, bool, list[tuple[str, str]]]]:
        """Yield what was asked, how often, whether it was denied, and some paths and hosts of it."""
        for asked, count in self._counts.total().items():
            samples = self._samples.get((asked.workload, asked.method, asked.route), {})
            yield asked, count, False, list(samples)
        for asked, count in self._denied.total().items():
            yield asked, count, True, [(asked.route, "")]

    def take(self, flows: Flows) -> None:
        """Take in flow records (n,) of ax_flow."""
        self._look_at_addresses()
        for record in flows:
            if record["role"] == self._server:
                self._take_server(record)
            else:
                self._take_client(record)

    def look(self, snapshot: Snapshot, *, now: bool = False) -> None:
        """Take in a snapshot, if it is time to or has to be done `now`."""
        if self._clock() < self._next_look and not now:
            return
        self._next_look = self._clock() + _LOOK_EVERY
        self._look_at_addresses()
        if self._counts.turn():
            self._denied.turn()
            kept = {(a.workload, a.method, a.route) for a in self._counts.total()}
            self._samples = {key: one for key, one in self._samples.items() if key in kept}
        more = self._more(snapshot)
        rows = np.flatnonzero(more)
        self._note_servers(snapshot, rows)
        for row in rows.tolist():
            asked = self._asked(snapshot, row)
            if asked is not None:
                self._counts.add(asked, int(more[row]))

    def _more(self, snapshot: Snapshot) -> NDArray[np.uint64]:
        """Return (n,) how many requests each row has counted since the last time."""
        counts, gens = self._before
        missing = int(snapshot.slots.max(initial=-1)) + 1 - len(counts)
        if missing > 0:
            counts = np.append(counts, np.zeros(missing, np.uint64))
            gens = np.append(gens, np.full(missing, -1))
        # What was counted before the memory began was asked at a time that nobody knows.
        ours = snapshot.created >= np.uint64(max(0, int(self._began * 1e9)))
        first = np.where(ours, np.uint64(0), snapshot.count)
        before = np.where(gens[snapshot.slots] == snapshot.gens, counts[snapshot.slots], first)
        counts[snapshot.slots], gens[snapshot.slots] = snapshot.count, snapshot.gens
        self._before = counts, gens
        return snapshot.count - before

    def _note_servers(self, snapshot: Snapshot, rows: NDArray[np.intp]) -> None:
        """Learn which workloads serve at a port."""
        if len(self._by_port) > _ENDS:
            self._by_port.clear()
        for row in rows.tolist():
            key = snapshot.keys[row]
            if (
                key["role"] == self._server
                and key["cgroup"]
                and snapshot.slots[row] not in self._cache
            ):
                workload = _workload(key, int(key["port"]))
                self._by_port.setdefault(workload.port, set()).add(workload)

    def _asked(self, snapshot: Snapshot, row: int) -> Asked | None:
        """Return what a row counts; None for what is counted elsewhere, or asked of another host."""
        slot, gen = int(snapshot.slots[row]), int(snapshot.gens[row])
        known = self._cache.get(slot)
        if known and known[0] == gen:
            return known[1]
        key = snapshot.keys[row]
        if not key["cgroup"]:
            return None
        found = self._ends(key)
        if found is None:
            return None
        method = self._methods.get(int(key["method"]), "_OTHER")
        asked = Asked(*found, method, self._route(int(key["route"])))
        self._cache[slot] = gen, asked
        return asked

    def _ends(self, key: Any) -> tuple[Workload, Caller] | None:
        peer, port = key["peer"].tobytes(), int(key["port"])
        if key["role"] == self._server:
            workload = _workload(key, port)
            if peer == _NOBODY:
                return workload, None
            if not self._is_own(peer):
                return workload, address(peer)
            # A caller on this host has a series of its own, which says who it is.
            return None if self._clients else (workload, None)
        caller = Local(int(key["cgroup"]), command(key["comm"].tobytes()), address(peer))
        if not self._is_own(peer):
            return None
        if not _is_loopback(peer) and caller[:2] not in self._callers:
            return None  # from another network namespace: known by its address
        there = self._by_port.get(port, set())
        served = self._served.get((peer, port)) or (next(iter(there)) if len(there) == 1 else None)
        return (served, caller) if served else None

    def _take_server(self, record: Any) -> None:
        workload = _workload(record, int(record["lport"]))
        if len(self._served) < _ENDS:
            self._served[record["laddr"].tobytes(), workload.port] = workload
        self._sample(workload, record)
        peer = record["raddr"].tobytes()
        texts = not record["flags"] & self._partial
        if record["verdict"] == self._dropped and texts and not self._is_own(peer):
            method = self._methods.get(int(record["method"]), "_OTHER")
            path = text(record["path"].tobytes()[: int(record["path_len"])])
            self._denied.add(Asked(workload, address(peer), method, path), 1, _DENIED)

    def _take_client(self, record: Any) -> None:
        here = record["laddr"].tobytes()
        if self._is_own(here) and len(self._callers) < _ENDS:
            self._callers.add((int(record["cgroup"]), command(record["comm"].tobytes())))
        served = self._served.get((record["raddr"].tobytes(), int(record["rport"])))
        if served:
            self._sample(served, record)

    def _sample(self, workload: Workload, record: Any) -> None:
        """Remember a path and its host."""
        if record["flags"] & self._partial or record["verdict"] == self._dropped:
            return
        method = self._methods.get(int(record["method"]), "_OTHER")
        key = workload, method, self._route(int(record["route"]))
        path = text(record["path"].tobytes()[: int(record["path_len"])])
        host = text(record["host"].tobytes()[: int(record["host_len"])])
        if key in self._samples or len(self._samples) < _SAMPLED:
            found = self._samples.setdefault(key, {})
            if len(found) < _SAMPLES:
                found[path, host] = None

    def _look_at_addresses(self) -> None:
        if self._clock() >= self._next_own:
            self._next_own = self._clock() + _ADDRESSES_EVERY
            self._own = self._find_own()

    def _is_own(self, raw: bytes) -> bool:
        return raw in self._own or _is_loopback(raw)


def _workload(record: Any, port: int) -> Workload:
    return Workload(int(record["cgroup"]), command(record["comm"].tobytes()), port)


def _is_loopback(raw: bytes) -> bool:
    return raw == _LOOPBACK_V6 or raw.startswith(_LOOPBACK_V4)
