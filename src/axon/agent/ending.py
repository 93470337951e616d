"""Connections that nothing judges: ended, so that their clients need not wait until they give up.

The socket's own hook drops what the gate has not seen, and tells of it. A connection is ended when that has
happened at two looks: the first packet may have come in the moment before its port was marked for the gate, or
while a filter was put back, and the gate lets it by, or denies it, when it comes again.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from axon.identity.cgroups import CgroupTree
from axon.kernel import bpf, diag
from axon.kernel.gate import Gate
from axon.kernel.system import enter_network
from axon.log import get

_AT_ONCE = 1024  # packets a look: as many as the kernel keeps
_REMEMBERED = 4096  # connections of which one packet was dropped
_FORGOTTEN = 30.0  # seconds after which the next packet dropped is another matter
_PROCESSES = 64  # of a cgroup, that are asked for their network namespace
_ENDED = {errno.ENOENT, errno.ESRCH}
_ADDRESS = {socket.AF_INET: 4, socket.AF_INET6: 16}
_log = get("policy")


class Doomed(NamedTuple):
    """A connection that is to be ended, and the cgroup that its server's socket was made in."""

    sock: diag.Socket
    cgroup: int


class Ending:
    """Ends what one gate's backstop has dropped, as far as this process may."""

    def __init__(self, gate: Gate, cgroup_root: Path) -> None:
        """Begin; what was dropped before, while nobody was there to judge, is forgotten."""
        self._gate = gate
        self._root = cgroup_root
        self._once: dict[int, float] = {}
        self._work: Thread | None = None
        self._refused = 0
        self.counts = Counter({"destroyed": 0, "unreachable": 0})
        """What has become of connections."""
        gate.unjudged(_AT_ONCE)

    def look(self) -> None:
        """End what was dropped since the last look, in a thread; raise OSError.

        While that of the last look still runs nothing is done: clients come again.
        """
        if self._work and self._work.is_alive():
            return
        self._work = None
        doomed = list(self._twice(self._gate.unjudged(_AT_ONCE)))
        if doomed:
            work = Thread(target=self._end, args=(doomed,), name="ending", daemon=True)
            try:
                work.start()
            except RuntimeError as error:  # no more threads: clients come again
                raise OSError(errno.EAGAIN, str(error)) from error
            self._work = work

    def close(self) -> None:
        """Wait for what is being done."""
        if self._work:
            self._work.join()

    def _twice(self, dropped: Any) -> Iterator[Doomed]:
        """Yield the connections, (n,) of ax_unjudged, of which a packet was dropped at an earlier look."""
        now = time.monotonic()
        self._once = {n: then for n, then in self._once.items() if now - then < _FORGOTTEN}
        before = set(self._once)
        for one in dropped:
            number = int(one["cookie"])
            if number in before:
                before.remove(number)
                del self._once[number]
                yield _doomed(one)
            else:
                self._once.setdefault(number, now)
        for number in list(islice(self._once, max(len(self._once) - _REMEMBERED, 0))):
            del self._once[number]

    def _end(self, doomed: Iterable[Doomed]) -> None:
        """End connections in this network namespace, and in those of their cgroups.

        This thread stays in the last one that it has entered: nothing else may be done in it.
        """
        left = self._try(set(doomed))
        if not left:
            return
        with ExitStack() as opened:
            others, hidden = self._namespaces({one.cgroup for one in left}, opened)
            for namespace, cgroups in others.values():
                here = {one for one in left if one.cgroup in cgroups}
                try:
                    enter_network(namespace.fileno())
                except OSError as e:
                    self._refuse(e)
                    hidden |= cgroups
                    continue
                left = left - here | self._try(here)
        # What is in none of them has ended by itself.
        self.counts["unreachable"] += sum(one.cgroup in hidden for one in left)

    def _try(self, doomed: set[Doomed]) -> set[Doomed]:
        """End connections in the network namespace of this thread; return those that are not there."""
        left = set()
        for one in doomed:
            try:
                ended = diag.end(one.sock)
            except OSError as e:
                self._refuse(e)
                self.counts["unreachable"] += 1
                continue
            self.counts["destroyed"] += ended
            if not ended:
                left.add(one)
        return left

    def _namespaces(
        self, cgroups: set[int], opened: ExitStack
    ) -> tuple[dict[int, tuple[bpf.Fd, set[int]]], set[int]]:
        """Return the other network namespaces that cgroups' processes are in, by their numbers, each
        with the cgroups; and the cgroups with processes of which that may not be known.
        """
        tree = CgroupTree(self._root)
        with suppress(OSError):  # of none is anything known then
            tree.walk()
        found: dict[int, tuple[bpf.Fd, set[int]]] = {}
        hidden: set[int] = set()
        own = Path("/proc/thread-self/ns/net").stat().st_ino
        for cgroup in cgroups:
            path = tree.path(cgroup)
            if path is None:
                hidden.add(cgroup)
                continue
            for pid in _processes(self._root / path.lstrip("/")):
                try:
                    namespace = Path(f"/proc/{pid}/ns/net")
                    number = namespace.stat().st_ino
                    if number != own and number not in found:
                        fd = bpf.Fd(os.open(namespace, os.O_RDONLY | os.O_CLOEXEC))
                        found[number] = opened.enter_context(fd), set()
                except OSError as e:
                    if e.errno not in _ENDED or not pid:
                        hidden.add(cgroup)
                    continue
                if number != own:
                    found[number][1].add(cgroup)
        return found, hidden

    def _refuse(self, error: OSError) -> None:
        """Say once what is not allowed, or not possible."""
        if error.errno != self._refused:
            self._refused = error.errno or 0
            _log.warning("connections that are not judged cannot be ended", problem=error.strerror)


def _doomed(row: Any) -> Doomed:
    """Return what a row of ax_unjudged tells of."""
    family = int(row["family"])
    size = _ADDRESS[socket.AddressFamily(family)]
    sock = diag.Socket(
        family,
        row["laddr"][:size].tobytes(),
        int(row["lport"]),
        row["raddr"][:size].tobytes(),
        int(row["rport"]),
        int(row["cookie"]),
        int(row["bound"]),
    )
    return Doomed(sock, int(row["cgroup"]))


def _processes(cgroup: Path) -> list[int]:
    """Return processes of a cgroup, 0 for one that is not in our PID namespace; not all of many."""
    with suppress(OSError), (cgroup / "cgroup.procs").open(encoding="ascii") as lines:
        return [int(line) for line in islice(lines, _PROCESSES)]
    return []
