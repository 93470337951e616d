"""Whose the sockets are that were made before the programs: they have not seen them bound or connected."""

from __future__ import annotations

import ctypes
import os
import socket
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import numpy as np

from axon.kernel.maps import Map
from axon.kernel.system import cgroup_of, sockets_of

_PIDFD_GETFD = 438  # on every architecture; Linux 5.6, commit 8649c322f75c
_LISTEN = 10  # include/net/tcp_states.h
_LONGEST = 1024  # characters of a cgroup's path: of those that are deeper, one that they are within
_INIT = 1  # systemd holds sockets for others: who else has one counts
_ANY4, _ANY6 = IPv4Address(0), IPv6Address(0)
_libc = ctypes.CDLL(None, use_errno=True)


_Address = IPv4Address | IPv6Address
_Place = tuple[int, _Address, int]
"""A network namespace, an address in it, and a port."""


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    comm: bytes
    cgroup: int
    netns: int


@dataclass(frozen=True, slots=True)
class _Held:
    """A socket as one of its holders has it."""

    holder: _Process
    descriptor: int
    inode: int


def note(owners: Map, cgroups: Path, proc: Path = Path("/proc")) -> int:
    """Say of each TCP socket that the programs know nothing of whose it is; return of how many.

    `owners` is the map ax_owner, `cgroups` where the cgroup v2 tree is mounted. A listener is the
    process's that has the lowest pid of those that hold it, and so is what it has accepted, unless
    that is held in another cgroup; any other socket has connected. Processes that may not be
    looked into (CAP_SYS_PTRACE) are left out. Takes some 0.2 ms a process and 20 us a socket.
    """
    noted = 0
    servers: defaultdict[_Place, list[_Process]] = defaultdict(list)
    others: list[_Held] = []
    for held in _sockets(cgroups, proc):
        sock = _fetched(held)
        if sock is None:
            continue
        with closing(sock):
            if _state(sock) != _LISTEN:
                others.append(held)
            else:
                for address in _reached_by(sock):
                    servers[held.holder.netns, address, _local(sock)[1]].append(held.holder)
                noted += _tell(owners, sock, held.holder, connected=False)
    for held in others:
        sock = _fetched(held)
        if sock is None:
            continue
        with closing(sock):
            address, port = _local(sock)
            any_address = _ANY6 if isinstance(address, IPv6Address) else _ANY4
            near = [
                server
                for where in (address, any_address)
                for server in servers.get((held.holder.netns, where, port), ())
            ]
            noted += _tell(owners, sock, _server(held.holder, near), connected=not near)
    return noted


def _server(holder: _Process, near: Sequence[_Process]) -> _Process:
    """Return whose a socket is, of its holder and those that listen where it is.

    A socket may stand there that was not accepted: nobody becomes another cgroup's by that.
    """
    alike = [server for server in near if server.cgroup == holder.cgroup]
    return next((one for one in alike if one.comm == holder.comm), [*alike, holder][0])


def _tell(owners: Map, sock: socket.socket, process: _Process, *, connected: bool) -> bool:
    """Note whose a socket is, unless that is known; return whether it was not."""
    known = owners.lookup(sock.fileno())
    if known is not None and known["cgroup"]:
        return False
    value = np.zeros((), owners.value) if known is None else known.copy()
    value["pid"] = value["tid"] = process.pid
    value["cgroup"] = process.cgroup
    value["comm"] = np.frombuffer(process.comm, np.uint8)
    value["guard"]["client"] = connected
    value["guard"]["now"] = 0  # what selects it is to be asked again
    try:
        owners.update(sock.fileno(), value)
    except OSError:
        return False  # it has been closed, or there is no memory
    return True


def _sockets(cgroups: Path, proc: Path) -> Iterator[_Held]:
    """Yield each socket once, by the first process that holds it: in the order of their pids."""
    seen: set[int] = set()
    pids = sorted(int(name) for name in os.listdir(proc) if name.isdecimal())  # noqa: PTH208
    for pid in sorted(pids, key=lambda pid: (pid == _INIT, pid)):
        process = _process(pid, cgroups, proc)
        if process is None:
            continue
        for descriptor, inode in sockets_of(proc / str(pid)):
            if inode not in seen:
                seen.add(inode)
                yield _Held(process, descriptor, inode)


def _process(pid: int, cgroups: Path, proc: Path) -> _Process | None:
    folder = proc / str(pid)
    try:
        comm = (folder / "comm").read_bytes().rstrip(b"\n")[:15]
        path = cgroup_of(folder)
        if path is None:
            return None
        if len(path) > _LONGEST:
            path = path[:_LONGEST].rpartition("/")[0]
        cgroup = (cgroups / path.lstrip("/")).stat().st_ino
        netns = (folder / "ns/net").stat().st_ino
    except OSError:
        return None
    return _Process(pid, comm.ljust(16, b"\0"), cgroup, netns)


def _fetched(held: _Held) -> socket.socket | None:
    """Return a descriptor of our own for a TCP socket; None: it is another kind, or gone."""
    try:
        process = os.pidfd_open(held.holder.pid)
    except OSError:
        return None
    try:
        fd = _libc.syscall(_PIDFD_GETFD, process, held.descriptor, 0)
    finally:
        os.close(process)
    if fd < 0:
        return None
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return None
    inet = sock.family in {socket.AF_INET, socket.AF_INET6}
    # the descriptor may be another socket's by now
    if inet and sock.proto == socket.IPPROTO_TCP and os.fstat(fd).st_ino == held.inode:
        return sock
    sock.close()
    return None


def _state(sock: socket.socket) -> int:
    with suppress(OSError):
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return 0


def _local(sock: socket.socket) -> tuple[_Address, int]:
    """Return where a socket is; an address of IPv4 as such, whatever the socket's family."""
    with suppress(OSError):
        name = sock.getsockname()
        address = ip_address(name[0])
        return getattr(address, "ipv4_mapped", None) or address, int(name[1])
    return _ANY4, 0


def _reached_by(listener: socket.socket) -> list[_Address]:
    """Return at which addresses it listens."""
    address = _local(listener)[0]
    both = address == _ANY6 and not listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return [address, _ANY4] if both else [address]
