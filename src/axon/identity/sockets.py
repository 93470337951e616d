"""Who listens where, in every network namespace that a process runs in; and which addresses are whose.

Read from /proc alone: no namespace is entered.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from axon.identity.printable import printable
from axon.kernel.system import cgroup_of, sockets_of

Address = bytes
"""16 bytes, an IPv4 address mapped into IPv6 (RFC 4291 section 2.5.5.2)."""

_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK_V6 = bytes(15) + b"\1"
_LISTEN = "0A"
_MOST_ROUTES = 1 << 20  # characters: a router's table is not read to its end
_LOCAL_V4 = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL")
_UNTOLD = frozenset({"MainThread", "node-MainThread"})  # what Node.js calls itself
_LONG_ENOUGH = 0.1  # seconds: workers beyond that are known by their first request
_HOLDERS = 64  # processes that share a listener: enough to know its workers by


@dataclass(frozen=True, slots=True)
class Process:
    """A process, with the path of its cgroup and its network namespace's number.

    `name` is what people call it, `comm` what the kernel does, by which policies know it.
    """

    pid: int
    name: str
    cgroup: str
    netns: int
    comm: str = ""


@dataclass(slots=True)
class Listener:
    """A listening TCP socket and the process that it is named by: the first of its holders."""

    address: Address
    port: int
    netns: int
    holders: list[Process] = field(default_factory=list)

    @property
    def owner(self) -> Process | None:
        """The process with the lowest pid, but for systemd, which holds sockets for others."""
        others = [p for p in self.holders if p.pid != 1]
        return min(others or self.holders, key=lambda p: p.pid, default=None)


@dataclass(slots=True)
class Sockets:
    """What one scan has found."""

    listeners: list[Listener] = field(default_factory=list)
    addresses: dict[Address, set[int]] = field(default_factory=dict)
    """The network namespaces that have an address, loopback addresses left out."""
    residents: dict[int, set[str]] = field(default_factory=dict)
    """The cgroup paths of the processes in a network namespace."""


def is_any(address: Address) -> bool:
    """Return whether a listener at this address is reached at every address."""
    return address in {bytes(16), _MAPPED + bytes(4)}


def scan(proc: Path = Path("/proc")) -> Sockets:
    """Look through all processes that may be read. Takes some 0.2 ms each."""
    processes = list(_processes(proc))
    spaces: dict[int, list[Process]] = {}
    for process in processes:
        spaces.setdefault(process.netns, []).append(process)
    found = Sockets()
    by_inode: dict[int, Listener] = {}
    for netns, residents in spaces.items():
        found.residents[netns] = {p.cgroup for p in residents}
        for process in residents:
            folder = proc / str(process.pid) / "net"
            if not (folder / "tcp").exists():
                continue  # it has ended meanwhile; another one of the namespace tells the same
            by_inode.update(_listeners(folder, netns))
            for address in addresses_in(folder):
                found.addresses.setdefault(address, set()).add(netns)
            break
    _find_holders(by_inode, processes, proc)
    found.listeners = list(by_inode.values())
    return found


def _find_holders(by_inode: dict[int, Listener], processes: list[Process], proc: Path) -> None:
    """Find the processes of listeners: the first of each, and others as far as time allows."""
    orphans = set(by_inode)
    enough = time.monotonic() + _LONG_ENOUGH
    for process in sorted(processes, key=lambda p: p.pid) if by_inode else ():
        if not orphans and time.monotonic() > enough:
            break
        for _, inode in sockets_of(proc / str(process.pid)):
            listener = by_inode.get(inode)
            if listener and len(listener.holders) < _HOLDERS:
                listener.holders.append(process)
                orphans.discard(inode)


def process_of(pid: int, proc: Path = Path("/proc")) -> Process | None:
    """Return a process, or None if it has ended or may not be read."""
    folder = proc / str(pid)
    try:
        name = comm = (folder / "comm").read_text(errors="replace").rstrip("\n")
        path = cgroup_of(folder)
    except OSError:
        return None
    if name in _UNTOLD:
        with suppress(OSError):
            name = printable((folder / "exe").readlink().name)
    netns = 0
    # Without CAP_SYS_PTRACE this is not told of more privileged processes: most are in our own.
    for whose in (str(pid), "self"):
        with suppress(OSError):
            netns = netns or (proc / whose / "ns/net").stat().st_ino
    return Process(pid, name, path or "/", netns, comm)


def _processes(proc: Path) -> Iterator[Process]:
    with os.scandir(proc) as entries:
        for entry in entries:
            process = process_of(int(entry.name), proc) if entry.name.isdecimal() else None
            if process:
                yield process


def _listeners(folder: Path, netns: int) -> dict[int, Listener]:
    """Return the listening sockets of a network namespace by inode."""
    found = {}
    for name in ("tcp", "tcp6"):
        with suppress(OSError), (folder / name).open(encoding="ascii", errors="replace") as lines:
            next(lines, None)
            for line in lines:
                fields = line.split()
                # The kernel lists all listeners before the first connection (tcp_seq_start), of
                # which there may be a hundred thousand.
                if len(fields) < 10 or fields[3] != _LISTEN:
                    break
                address, _, port = fields[1].partition(":")
                found[int(fields[9])] = Listener(_from_hex(address), int(port, 16), netns)
    return found


def _from_hex(text: str) -> Address:
    """Return an address as /proc/net/tcp writes it: words of four bytes in host order."""
    words = [int(text[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(text), 8)]
    return b"".join(words) if len(words) > 1 else _MAPPED + words[0]


def addresses_in(folder: Path) -> Iterable[Address]:
    """Return the addresses of a network namespace, but for loopback's."""
    found = []
    with suppress(OSError):
        with (folder / "fib_trie").open(encoding="ascii", errors="replace") as routes:
            text = routes.read(_MOST_ROUTES)
        for match in _LOCAL_V4.finditer(text):
            address = ipaddress.IPv4Address(match[1])
            if not address.is_loopback:
                found.append(_MAPPED + address.packed)
    with suppress(OSError):
        for line in (
            (folder / "if_inet6").read_text(encoding="ascii", errors="replace").splitlines()
        ):
            raw = bytes.fromhex(line.split()[0])
            if raw != _LOOPBACK_V6:
                found.append(raw)
    return found
