"""Names the ends of requests from what the host says of its cgroups, processes and addresses."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from axon.identity.cgroups import CgroupTree
from axon.identity.containers import Containers
from axon.identity.sockets import Address, Listener, Sockets, is_any, process_of, scan
from axon.identity.workload import UNKNOWN, Places, Workload

_NS = 1_000_000_000
_WALK_EVERY = _NS
_SCAN_EVERY = 5 * _NS
_REST = 200  # times what the last scan took until the next: half a per cent of a core
_TRIES = 3
_RETRY = 60 * _NS
_MOST = 20_000


class _End(NamedTuple):
    """What is known of an end of a connection. `pid` is 0 for servers: any of its processes."""

    cgroup: int
    comm: str
    port: int
    server: bool
    pid: int


class Identity:
    """Answers who has an end of a connection, from what was found so far.

    `cgroups` is where the cgroup v2 tree is mounted, `proc` and `root` where the host's processes
    and files are; `clock` is in ns. `refresh` looks for what was asked for in vain.
    """

    def __init__(
        self,
        cgroups: Path,
        *,
        proc: Path = Path("/proc"),
        root: Path = Path("/"),
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._proc = proc
        self._clock = clock
        self._tree = CgroupTree(cgroups)
        self._places = Places(Containers(root))
        self._sockets = Sockets()
        self._listeners: dict[int, list[Listener]] = {}
        self._servers: dict[int, tuple[str, int]] = {}
        """The name and the lowest port of processes that listen."""
        self._known: dict[_End, Workload] = {}
        self._open: dict[_End, int] = {}
        """Ends whose name may become a better one, with a process of theirs."""
        self._missing: dict[Hashable, tuple[int, int]] = {}
        """What was looked for in vain: how often, and when last."""
        self._wanted: set[Hashable] = set()
        self._next_walk = self._next_scan = 0
        self._watched = False
        self._walk()
        self._scan()

    def workload(
        self, cgroup: int, comm: str, port: int, *, server: bool, pid: int = 0
    ) -> Workload:
        """Return who has an end of a connection, by the fields of its series.

        `port` is the server's, whichever end is asked for; `comm` may be empty and `pid` 0.
        """
        end = _End(cgroup, comm, port, server, 0 if server else pid)
        found = self._known.get(end)
        if found is None:
            if len(self._known) >= _MOST:
                self._known.clear()
                self._open.clear()
            found = self._known[end] = self._resolve(end, pid)
        return found

    def server_at(self, address: Address, port: int, caller: int = 0) -> str | None:
        """Return the name of what listens at an address, or None if it is not on this host.

        `address` has 16 bytes, IPv4 mapped; `caller` is the cgroup of who asked it, which tells
        whose loopback is meant.
        """
        there = [
            one for one in self._listeners.get(port, ()) if self._reaches(one, address, caller)
        ]
        if not there:
            # Perhaps it has begun to listen since; who asks again later will know.
            self._wanted.add((address, port))
        names = {self._name(one) for one in there}
        return names.pop() if len(names) == 1 else None

    def resident_at(self, address: Address) -> str | None:
        """Return the name of the one unit or container whose network has an address, or None."""
        spaces = self._sockets.addresses.get(address, ())
        paths = {path for space in spaces for path in self._sockets.residents[space]}
        names = {self._places.workload(path, "", 0).name for path in paths}
        name = names.pop() if len(names) == 1 else None
        return None if name == UNKNOWN else name

    def servers(self) -> list[tuple[int, str, int, str]]:
        """Return cgroup, command as the kernel has it, port and name of who listened when that was last looked at."""
        found = []
        for listener in chain.from_iterable(self._listeners.values()):
            owner = listener.owner
            cgroup = self._tree.id(owner.cgroup) if owner else None
            if owner and cgroup is not None:
                found.append((cgroup, owner.comm, listener.port, self._name(listener)))
        return found

    def named(self) -> dict[int, str]:
        """Return what the unit or container of each cgroup is called that has one, as of the last walk."""
        names = ((cgroup, self._places.named(path)) for cgroup, path in self._tree.there())
        return {cgroup: name for cgroup, name in names if name}

    def watch(self, *, on: bool) -> None:
        """Have every refresh walk the cgroups, because somebody waits for new ones; begin now."""
        if on:
            self._walk()
        self._watched = on

    def refresh(self) -> set[str]:
        """Look for what was asked for in vain; return the names that are outdated now.

        Does little most of the time. Walking the cgroups takes milliseconds, looking through all
        processes tens of them; both are rare, and rarer the longer they take.
        """
        now = self._clock()
        wanted = {w for w in self._wanted if self._worth(w, now)}
        walk = now >= self._next_walk and any(isinstance(w, int) for w in wanted)
        walk = walk or self._watched
        look = now >= self._next_scan and any(not isinstance(w, int) for w in wanted)
        if walk:
            self._walk()
        if look:
            self._scan()
        renamed = self._places.again()
        if renamed:
            self._open |= {end: 0 for end, one in self._known.items() if one.cgroup in renamed}
        if not (walk or look or renamed):
            return set()
        for what in wanted:
            if walk if isinstance(what, int) else look:
                self._missing[what] = (self._missing.get(what, (0, 0))[0] + 1, now)
        if len(self._missing) > _MOST:
            self._missing.clear()
        self._wanted.clear()
        return self._again()

    def _again(self) -> set[str]:
        """Ask again for what was answered provisionally; return the names that have changed."""
        outdated = set()
        provisional, self._open = self._open, {}
        for end, pid in provisional.items():
            better = self._resolve(end, pid)
            if better != self._known[end]:
                outdated.add(self._known[end].name)
                self._known[end] = better
        return outdated

    def _resolve(self, end: _End, pid: int) -> Workload:
        path = self._tree.path(end.cgroup)
        if path is None:
            self._miss(end, pid, end.cgroup)
            path = ""
        place = self._places.workload(path, "", 0)
        if place.unit or place.container:
            return self._places.workload(path, end.comm, 0)
        process = self._process(end, pid, path)
        if end.server:
            if process and pid:
                self._serves(pid, process, end.port)
            if not process:
                self._miss(end, pid, (path, end.port))
            return self._places.workload(path, process, end.port)
        name, port = self._servers.get(end.pid, ("", 0))
        return self._places.workload(path, process, port if process == name else 0)

    def _process(self, end: _End, pid: int, path: str) -> str:
        """Return what the process of an end is called, or nothing where it is unknown."""
        process = process_of(pid, self._proc) if pid else None
        if process and path in {"", process.cgroup}:
            # `comm` is the name of the thread that made the socket; this is the process's.
            return process.name
        if end.comm or not end.server:
            return end.comm
        owners = [one.owner for one in self._listeners.get(end.port, ())]
        here = {p.name for p in owners if p and path in {"", p.cgroup}}
        return here.pop() if len(here) == 1 else ""

    def _serves(self, pid: int, name: str, port: int) -> None:
        if len(self._servers) < _MOST:
            before = self._servers.get(pid, (name, port))
            self._servers[pid] = (name, min(port, before[1]) if before[0] == name else port)

    def _name(self, listener: Listener) -> str:
        owner = listener.owner
        path = owner.cgroup if owner else ""
        return self._places.workload(path, owner.name if owner else "", listener.port).name

    def _reaches(self, listener: Listener, address: Address, caller: int) -> bool:
        """Return whether a listener is what somebody reaches at an address and its port."""
        if not is_any(listener.address) and listener.address != address:
            return False
        if ipaddress.IPv6Address(address).is_loopback or _v4(address).is_loopback:
            path = self._tree.path(caller)
            theirs = [s for s, paths in self._sockets.residents.items() if path in paths]
            return listener.netns in theirs if len(theirs) == 1 else True
        return listener.netns in self._sockets.addresses.get(address, ())

    def _miss(self, end: _End, pid: int, what: Hashable) -> None:
        self._open[end] = pid
        self._wanted.add(what)

    def _worth(self, what: Hashable, now: int) -> bool:
        """Return whether something is still worth looking for."""
        tries, last = self._missing.get(what, (0, 0))
        return tries < _TRIES or now - last >= _RETRY

    def _walk(self) -> None:
        with suppress(OSError):  # names wait
            self._tree.walk()
        self._tree.keep({end.cgroup for end in self._known})
        self._places.keep(self._tree.paths)
        self._next_walk = self._clock() + _WALK_EVERY

    def _scan(self) -> None:
        began = time.perf_counter_ns()
        self._sockets = scan(self._proc)
        took = time.perf_counter_ns() - began
        self._next_scan = self._clock() + max(_SCAN_EVERY, _REST * took)
        self._listeners = {}
        self._servers = {}
        for listener in self._sockets.listeners:
            self._listeners.setdefault(listener.port, []).append(listener)
            for process in listener.holders:
                self._serves(process.pid, process.name, listener.port)


def _v4(address: Address) -> ipaddress.IPv4Address:
    """Return the IPv4 address that is mapped into an IPv6 one, or 0.0.0.0."""
    return ipaddress.IPv6Address(address).ipv4_mapped or ipaddress.IPv4Address(0)
