"""Sockets that are older than the programs are said to be those of whoever has them, and of nobody beside."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from axon import kernel
from axon.kernel import owners
from axon.kernel.maps import Map
from axon.kernel.system import cgroup_root
from axon.settings import Settings

Owner = tuple[str, str, int]
"""The last part of a cgroup's path, a command, and whether its socket has connected."""

# Does one thing with sockets, says the port, and holds what it has made.
_HOLDER = """
import ctypes, os, socket, sys
cgroup, comm, does, here, port, there = sys.argv[1:]

def name(comm):
    ctypes.CDLL(None).prctl(15, comm.encode(), 0, 0, 0)

open(cgroup + "/cgroup.procs", "w").write(str(os.getpid()))
name(comm)
sock = socket.socket(socket.AF_INET6 if ":" in here else socket.AF_INET)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if does == "serve":
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
if ":" in here:
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, there == "six")
sock.bind((here, int(port)))
if does == "ask":
    sock.connect(("127.0.0.1", int(there)))
else:
    sock.listen()
print(sock.getsockname()[1], flush=True)
if does == "serve" and os.fork():
    os.wait()
    sys.exit()
if does == "serve":
    name("worker")
    sock.settimeout(10)
    accepted = sock.accept()[0]
    sock.close()
    print(os.getpid(), flush=True)
sys.stdin.read()
"""


class Host:
    """Programs in cgroups of their own, which have sockets."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._started: list[subprocess.Popen[str]] = []
        self._cgroups: list[Path] = []

    def start(
        self, name: str, does: str, here: str, port: int = 0, there: str = ""
    ) -> tuple[int, subprocess.Popen[str]]:
        """Start one in a cgroup of its name; return its port, and the process."""
        cgroup = self._base.with_name(f"{self._base.name}-{name}")
        if cgroup not in self._cgroups:
            cgroup.mkdir()
            self._cgroups.append(cgroup)
        command = [
            sys.executable,
            "-ISsc",
            _HOLDER,
            str(cgroup),
            name,
            does,
            here,
            str(port),
            there,
        ]
        made = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._started.append(made)
        return int(_line(made)), made

    def owners(self, table: Map, pid: int) -> list[Owner]:
        """Return what is noted of the TCP sockets that a process has."""
        found = []
        for held in owners._sockets(cgroup_root(), Path("/proc")):
            if held.holder.pid != pid or (sock := owners._fetched(held)) is None:
                continue
            with sock:
                row = table.lookup(sock.fileno())
            assert row is not None
            names = {c.stat().st_ino: c.name.rpartition("-")[2] for c in self._cgroups}
            comm = row["comm"].tobytes().rstrip(b"\0").decode()
            found.append((names[int(row["cgroup"])], comm, int(row["guard"]["client"])))
        return found

    def close(self) -> None:
        """End them and remove their cgroups."""
        for one in self._started:
            one.communicate(timeout=10)
        for cgroup in self._cgroups:
            cgroup.rmdir()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


@pytest.fixture
def host(settings: Settings) -> Iterator[Host]:
    """Give programs that hold sockets."""
    assert settings.cgroup
    made = Host(settings.cgroup)
    yield made
    made.close()


@pytest.fixture
def table(attach: Callable[..., kernel.Kernel]) -> Map:
    """Give the map of whose sockets are, of programs that these sockets do not pass."""
    return attach()._maps["ax_owner"]


def test_a_neighbour_at_the_server_s_port(host: Host, table: Map) -> None:
    """Who connects from another address with the port of a server is not that server."""
    backend, _ = host.start("backend", "listen", "127.0.0.1")
    port, trusted = host.start("trusted", "listen", "127.0.0.1")
    _, other = host.start("other", "ask", "127.0.0.2", port, str(backend))
    owners.note(table, cgroup_root())
    assert host.owners(table, other.pid) == [("other", "other", 1)]
    assert host.owners(table, trusted.pid) == [("trusted", "trusted", 0)]


def test_a_neighbour_below_a_server_everywhere(host: Host, table: Map) -> None:
    """Nor is one that was there before a server which listens at every address."""
    backend, _ = host.start("backend", "listen", "127.0.0.1")
    port, other = host.start("other", "ask", "127.0.0.2", 0, str(backend))
    host.start("trusted", "listen", "0.0.0.0", port)
    owners.note(table, cgroup_root())
    assert [owner[:2] for owner in host.owners(table, other.pid)] == [("other", "other")]


def test_two_servers_with_one_port(host: Host, table: Map) -> None:
    """What each of two servers has accepted is its own, at one address each or at all of them."""
    for here in ({"one": "127.0.0.1", "two": "127.0.0.2"}, {"three": "0.0.0.0", "four": "0.0.0.0"}):
        port, workers = 0, {}
        for name, address in here.items():
            port, workers[name] = host.start(name, "serve", address, port)
        with ExitStack() as asking:
            for address in [
                *here.values()
            ] * 20:  # the kernel chooses between those at all addresses
                asking.enter_context(socket.create_connection((address, port)))
            pids = {name: int(_line(worker)) for name, worker in workers.items()}
            owners.note(table, cgroup_root())
            for name, pid in pids.items():
                assert host.owners(table, pid) == [(name, name, 0)]


@pytest.mark.parametrize(
    ("listens", "asked", "six"),
    [
        ("127.0.0.1", "127.0.0.1", ""),
        ("0.0.0.0", "127.0.0.3", ""),
        ("::1", "::1", ""),
        ("::", "::1", ""),
        ("::", "127.0.0.3", ""),
        ("::", "::1", "six"),
        ("::ffff:127.0.0.1", "127.0.0.1", ""),
        ("::ffff:0.0.0.0", "127.0.0.3", ""),
    ],
)
def test_what_a_server_has_accepted(
    host: Host, table: Map, *, listens: str, asked: str, six: str
) -> None:
    """What a server's process of another name has accepted is the server's, by whatever addresses."""
    port, server = host.start("server", "serve", listens, 0, six)
    with socket.create_connection((asked, port)):
        worker = int(_line(server))
        owners.note(table, cgroup_root())
        assert host.owners(table, worker) == [("server", "server", 0)]
