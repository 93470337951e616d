"""An agent that enforces policies in a place of the tests, and a server and clients who watch it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from axon import kernel
from axon.api.client import Client
from axon.errors import ApiError
from tests.live.kit.gate import inside
from tests.live.kit.waiting import until
from tests.live.kit.wire import OK, Listener, get
from tests.live.kit.world import Place, World, need

DENIED = "/secret"
_ROOT = Path(__file__).parents[3]
_LAYOUT = re.compile(r"(?<=#define AX_LAYOUT )\d+")
_SHORT = 0.3  # seconds that a client waits for an answer that may never come

_LAUNCHER = """
import sys
from pathlib import Path
import axon.kernel.loader
axon.kernel.loader.packaged = lambda: Path(%r)
from axon.cli import main
sys.exit(main())
"""


class Enforcing:
    """An agent in a place, started and ended as a test likes, with directories of its own."""

    def __init__(self, world: World, place: Place, scratch: Path) -> None:
        self.place = place
        self.pins = Path("/sys/fs/bpf") / f"{world.name}-enforcing-{world.port()}"
        self.policies = scratch / "policies"
        self.policies.mkdir()
        self.log = scratch / "agent.log"
        self.log.touch()
        self._run_dir = scratch / "run"
        self.port = world.port()
        self._environment = {
            "AXON_PIN_DIR": str(self.pins),
            "AXON_RUN_DIR": str(self._run_dir),
            "AXON_CGROUP": str(world.cgroup),
            "AXON_METRICS_LISTEN": f"127.0.0.1:{self.port}",
            "AXON_POLICY": str(self.policies),
            "AXON_KEEP": "true",
            "AXON_LEARN_ROUTES": "false",
            "AXON_MAX_SERIES": "500",
            "PYTHONWARNINGS": "error",
        }
        self.client = Client(self._run_dir / "axon.sock", timeout=10)
        self.process: subprocess.Popen[str] | None = None
        self.launcher = ("-m", "axon")
        """How Python is told to be Axon."""

    def write(self, text: str, name: str = "web.yaml") -> None:
        """Set the policies of a file, in one step."""
        other = self.policies / f".{name}"
        other.write_text(text)
        other.rename(self.policies / name)

    def launch(self, *flags: str, **environment: str) -> None:
        """Start it, with some variables changed, and do not wait."""
        variables = self._environment | environment
        command = [sys.executable, *self.launcher, "run", "--no-table", *flags]
        self.process = self.place.start(
            "env",
            *(f"{name}={value}" for name, value in variables.items() if value),
            *("sh", "-c", 'exec "$@" >>"$0" 2>&1', str(self.log)),
            *command,
        )

    def start(self, *flags: str, **environment: str) -> None:
        """Start it and wait until it serves."""
        self.launch(*flags, **environment)
        until(lambda: self.ready() or self.ended(), "the agent serves")
        assert not self.ended(), self.said()

    def refused(self, *flags: str, **environment: str) -> str:
        """Start it and expect that it refuses; return what it has said."""
        before = len(self.said())
        self.launch(*flags, **environment)
        until(self.ended, "the agent ends")
        assert self.process
        assert self.process.returncode == 1, self.said()
        self.place.end(self.process)
        return self.said()[before:]

    def ready(self) -> bool:
        """Return whether it answers."""
        try:
            self.client.health()
        except ApiError:
            return False
        return True

    def healthy(self) -> bool:
        """Return whether it says that all is well."""
        return self.client.health().ok

    def ended(self) -> bool:
        """Return whether it is gone."""
        return self.process is None or self.process.poll() is not None

    def said(self) -> str:
        """Return its log."""
        return self.log.read_text()

    def kill(self) -> None:
        """End it without a warning."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self._end(signal.SIGTERM)

    def metric(self, line: str) -> float:
        """Return the number behind the beginning of a line of /metrics."""
        text = inside(self.place, self._scrape)
        found = [row for row in text.splitlines() if row.startswith(line)]
        assert len(found) == 1, (line, found, text)
        return float(found[0].rpartition(" ")[2])

    def close(self) -> None:
        """End it and remove what it has left."""
        if not self.ended():
            self.kill()
        if self.pins.exists():
            inside(self.place, lambda: kernel.detach_all(self.pins))

    def _end(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)
        self.process.wait(20)
        self.place.end(self.process)

    def _scrape(self) -> str:
        data = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(b"GET /metrics HTTP/1.0\r\nHost: a\r\n\r\n")
            while piece := sock.recv(1 << 16):
                data += piece
        return data.decode()


class Traffic:
    """A server that notes what reaches it, one client whose requests are denied, each on a connection
    of its own, and one whose requests are allowed, on one connection for as long as that lives.
    """

    def __init__(self, listener: Listener, allowed: str = "/pub/a") -> None:
        self.listener = listener
        self.allowed = allowed
        self.reached = 0
        """Denied requests that the server has read."""
        self.answered = 0
        """Allowed requests that were answered."""
        self.tried = 0
        self.broken: list[str] = []
        """How connections of allowed requests have ended before their time."""
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, seconds: float = 20) -> None:
        """Begin; fail if nothing is answered, or tried, for so long."""
        self.listener.socket.settimeout(0.2)
        self._thread(self._accept)
        self._thread(self._be_denied)
        self._thread(self._be_allowed)
        until(lambda: self.answered > 3 and self.tried > 3, "there is traffic", seconds)

    def flows(self) -> None:
        """Wait until allowed requests are answered, and denied ones tried, once more."""
        answered, tried = self.answered, self.tried
        until(lambda: self.answered > answered + 3 and self.tried > tried + 3, "traffic goes on")

    def stop(self) -> None:
        """End, and wait for the end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _thread(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                self._thread(self._serve, self.listener.socket.accept()[0])

    def _serve(self, sock: socket.socket) -> None:
        data = b""
        sock.settimeout(30)
        with sock, suppress(OSError):
            while piece := sock.recv(1 << 16):
                data += piece
                self.reached += data.count(DENIED.encode())
                while b"\r\n\r\n" in data:
                    _, _, data = data.partition(b"\r\n\r\n")
                    sock.sendall(OK)

    def _dial(self, seconds: float) -> socket.socket:
        sock = self.listener.client.socket(self.listener.family)
        sock.settimeout(seconds)
        try:
            sock.connect((self.listener.address, self.listener.port))
        except OSError:
            sock.close()
            raise
        return sock

    def _spoilt(self) -> int:
        raise OSError("another answer")

    def _be_denied(self) -> None:
        while not self._stop.is_set():
            with suppress(OSError), self._dial(_SHORT) as sock:
                sock.sendall(get(DENIED))
                self.tried += 1
                sock.recv(1000)

    def _be_allowed(self) -> None:
        sock = None
        while not self._stop.is_set():
            try:
                sock = sock or self._dial(10)
                sock.sendall(get(self.allowed))
                self.answered += sock.recv(1000) == OK or self._spoilt()
                time.sleep(0.002)
            except OSError as e:
                self.broken.append(repr(e))
                if sock:
                    sock.close()
                sock = None
                time.sleep(0.05)
        if sock:
            sock.close()


def object_of_another_layout(directory: Path) -> Path:
    """Compile the kernel programs with another version of their layouts; return the object."""
    source, target = directory / "bpf", directory / "axon.bpf.o"
    source.mkdir()
    for path in (_ROOT / "bpf").iterdir():
        text, changed = _LAYOUT.subn("99", path.read_text())
        assert changed == (path.name == "axon.h")
        (source / path.name).write_text(text)
    clang = need(os.environ.get("CLANG") or shutil.which("clang-19") or "clang")
    machine = os.uname().machine
    arch = {"aarch64": "arm64"}.get(machine, "x86")
    flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v2", f"-D__TARGET_ARCH_{arch}"]
    flags += ["-idirafter", f"/usr/include/{machine}-linux-gnu"]
    subprocess.run([clang, *flags, "-c", source / "axon.bpf.c", "-o", target], check=True)
    return target


@contextmanager
def under(agent: Enforcing, listener: Listener, policies: str) -> Iterator[Traffic]:
    """Start an agent with policies and traffic to a server; fail if anything denied reaches it."""
    agent.write(policies)
    made = Traffic(listener)
    agent.start()
    made.start()
    yield made
    made.stop()
    listener.close()
    assert made.reached == 0


def take_all(place: Place, interface: str, *, protocol: str) -> None:
    """Put somebody else's filter first where packets arrive: it ends the chain, and lets all by."""
    place.run(
        *("tc", "filter", "add", "dev", interface, "ingress", "prio", "1", "protocol", protocol),
        *("bpf", "bytecode", "1,6 0 0 1", "flowid", "1:1"),
    )


def launcher_of(programs: Path) -> tuple[str, str]:
    """Return how Python is told to be Axon with other kernel programs; see Enforcing.launcher."""
    return "-c", _LAUNCHER % str(programs)
