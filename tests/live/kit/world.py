"""A small network of the tests' own: a cgroup, and two places in it joined by a cable.

Nothing in it reaches another network. Names carry the process's id, so that several test runs on one
machine do not meet, and what a killed run has left is removed by the next.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from axon import kernel
from axon.errors import AxonError
from axon.kernel.system import cgroup_root

PREFIX = "axon-live-"
BPFFS = Path("/sys/fs/bpf")
_BROKER = Path(__file__).with_name("broker.py")
_PATIENCE = 20.0  # seconds after which a test that waits for bytes fails

_PACKAGES = {
    "ab": "apache2-utils",
    "curl": "curl",
    "h2load": "nghttp2-client",
    "ip": "iproute2",
    "nft": "nftables",
    "nginx": "nginx-light",
    "node": "nodejs",
    "openssl": "openssl",
    "wrk": "wrk",
}


def need(program: str) -> str:
    """Return the path of a program; fail with what to install when there is none."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        pytest.fail(
            f"{program} is missing: apt install {_PACKAGES.get(program, program)}, or make setup"
        )
    return found


def ip(*arguments: str) -> None:
    """Configure the network."""
    subprocess.run([need("ip"), *arguments], check=True, timeout=30)


class Place:
    """A network namespace whose processes and sockets are in the world's cgroup."""

    ip4: str
    ip6: str

    def __init__(self, name: str, cgroup: Path) -> None:
        self.name = name
        self._cgroup = cgroup
        self._started: list[subprocess.Popen[str]] = []
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-ISs", str(_BROKER), str(theirs.fileno())]
            self._broker = self._popen(command, pass_fds=(theirs.fileno(),))
        self._control.settimeout(_PATIENCE)
        self._counters = os.fdopen(self._ask("read", "/proc/self/net/snmp"), encoding="ascii")

    def tcp_counter(self, name: str) -> int:
        """Return a counter of TCP in this namespace, by its name in /proc/net/snmp."""
        self._counters.seek(0)
        names, values = (line.split() for line in self._counters if line.startswith("Tcp:"))
        return int(values[names.index(name)])

    def extended_counter(self, name: str) -> int:
        """Return a counter of this namespace, by its name in /proc/net/netstat."""
        with os.fdopen(self._ask("read", "/proc/self/net/netstat"), encoding="ascii") as file:
            lines = [line.split() for line in file]
        return next(
            int(values[names.index(name)])
            for names, values in zip(lines[::2], lines[1::2], strict=True)
            if name in names
        )

    def socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0
    ) -> socket.socket:
        """Make a socket here. It gives up waiting after a while."""
        made = socket.socket(fileno=self._ask("socket", family, kind, proto))
        made.settimeout(_PATIENCE)
        return made

    def tun(self, name: str) -> int:
        """Make a TUN device here; return the descriptor of its other end."""
        return self._ask("tun", name)

    @contextmanager
    def within(self, cgroup: Path) -> Iterator[None]:
        """Have the sockets that are made here meanwhile belong to another cgroup."""
        self._move(cgroup)
        try:
            yield
        finally:
            self._move(self._cgroup)

    @contextmanager
    def starting_in(self, cgroup: Path) -> Iterator[None]:
        """Have the programs that are started here meanwhile be in another cgroup."""
        before, self._cgroup = self._cgroup, cgroup
        try:
            yield
        finally:
            self._cgroup = before

    def _move(self, cgroup: Path) -> None:
        os.close(self._ask("write", str(cgroup / "cgroup.procs"), "0"))

    def sysctl(self, name: str, value: str) -> None:
        """Set a parameter of this namespace."""
        os.close(self._ask("write", "/proc/sys/" + name.replace(".", "/"), value))

    def start(self, *command: str, stdin: int | None = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start a program here, with standard output and error in one pipe."""
        process = self._popen(
            [need(command[0]), *command[1:]],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._started.append(process)
        return process

    def run(self, *command: str, timeout: float = 120.0, check: bool = True) -> str:
        """Run a program here to its end; return what it printed."""
        process = self.start(*command)
        output, _ = process.communicate(timeout=timeout)
        self.end(process)
        if check and process.returncode:
            pytest.fail(f"{command} ended with {process.returncode}:\n{output}")
        return output

    def end(self, process: subprocess.Popen[str]) -> None:
        """End a program that was started here and wait for it."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        if process.stdout is not None:
            process.stdout.close()
        if process in self._started:
            self._started.remove(process)

    def close(self) -> None:
        """End everything here and remove the namespace."""
        for process in list(self._started):
            self.end(process)
        self._counters.close()
        self._control.close()
        self._broker.wait(5)
        ip("netns", "del", self.name)

    def _ask(self, *request: str | int) -> int:
        self._control.send(json.dumps(request).encode())
        answer, fds, _, _ = socket.recv_fds(self._control, 4096, 1)
        if not fds:
            raise OSError(f"{request} in {self.name}: {answer.decode()}")
        return fds[0]

    def _popen(
        self,
        command: list[str],
        *,
        pass_fds: tuple[int, ...] = (),
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> subprocess.Popen[str]:
        enter = 'echo $$ >"$1/cgroup.procs" && n=$2 && shift 2 && exec setpriv --pdeathsig KILL nsenter --net="$n" "$@"'
        return subprocess.Popen(
            ["sh", "-c", enter, "sh", str(self._cgroup), f"/run/netns/{self.name}", *command],
            pass_fds=pass_fds,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )


class World:
    """The cgroup, and a place for servers and one for clients in it."""

    def __init__(self, suffix: str = "") -> None:
        if os.geteuid():
            pytest.fail("the live tests load programs into the kernel: run them as root")
        sweep()
        self.name = f"{PREFIX}{os.getpid()}{suffix}"
        self.cgroup = cgroup_root() / self.name
        self._places: list[Place] = []
        self._port = 20_000
        self._cables = 0
        self.cgroup.mkdir()
        try:
            self.server = self.place("s")
            self.client = self.place("c")
            self.join(self.server, self.client)
        except BaseException:
            self.close()
            raise

    def place(self, suffix: str) -> Place:
        """Make a place more."""
        made = Place(f"{self.name}-{suffix}", self.cgroup)
        # what the host happens to prefer should not decide how the tests' packets are paced
        made.sysctl("net.ipv4.tcp_congestion_control", "reno")
        self._places.append(made)
        return made

    def remove(self, place: Place) -> None:
        """Remove a place before the end."""
        self._places.remove(place)
        place.close()

    def join(self, *places: Place) -> str:
        """Join two places by a cable with addresses of its own; return its name in both."""
        self._cables += 1
        cable = f"cable{self._cables}"
        a, b = places
        ip("-n", a.name, "link", "add", cable, "type", "veth", "peer", cable, "netns", b.name)
        for number, place in enumerate(places, 1):
            place.ip4 = f"10.77.{self._cables}.{number}"
            place.ip6 = f"fd77:{self._cables}::{number}"
            inside = ("-n", place.name)
            ip(*inside, "addr", "add", place.ip4 + "/24", "dev", cable)
            ip(*inside, "addr", "add", place.ip6 + "/64", "dev", cable, "nodad")
            ip(*inside, "link", "set", cable, "up")
        return cable

    def port(self) -> int:
        """Return a port that no test has used: requests are told apart by it."""
        self._port += 1
        return self._port

    def close(self) -> None:
        """Remove everything."""
        for place in self._places:
            place.close()
        _remove_cgroup(self.cgroup)


def sweep() -> None:
    """Remove what test runs have left that were killed."""
    for path in [*BPFFS.glob(PREFIX + "*"), *cgroup_root().glob(PREFIX + "*")]:
        if _is_left(path.name):
            with suppress(AxonError, OSError):
                kernel.detach_all(path)
            _remove_cgroup(cgroup_root() / path.name)
    for path in Path("/run/netns").glob(PREFIX + "*"):
        if _is_left(path.name):
            ip("netns", "del", path.name)


def _is_left(name: str) -> bool:
    owner = name.removeprefix(PREFIX).split("-")[0]
    return owner.isdecimal() and not Path("/proc", owner).exists()


def _remove_cgroup(path: Path) -> None:
    """Remove a cgroup; what still runs in it was started by the tests and is killed."""
    deadline = time.monotonic() + 5
    while path.is_dir():
        for pid in (path / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with suppress(OSError):
            path.rmdir()
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} is still in use")
        time.sleep(0.02)
