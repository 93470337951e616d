"""An agent as a process of its own, which observes the tests' network, and a server in that."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics import parser

from axon import kernel
from axon.api.client import Client
from axon.errors import ApiError
from tests.live.kit.waiting import until
from tests.live.kit.world import Place, World

_SERVER = """
import http.server, socket, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def handle_any(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = self.path.partition("?")[0].split("/")
        if parts[1] == "slow":
            time.sleep(0.15)
        if parts[1] == "abort":
            self.close_connection = True
            return
        status = int(parts[2]) if parts[1] == "status" else 200
        body = b"x" * (int(parts[2]) if parts[1] == "bytes" else 2)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST = do_PUT = do_DELETE = do_BREW = handle_any
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer.request_queue_size = 128
if ":" in sys.argv[1]:
    http.server.ThreadingHTTPServer.address_family = socket.AF_INET6
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


class Server:
    """A web server in the tests' network: /status/404, /bytes/1000, /slow, /abort."""

    def __init__(self, world: World, address: str = "", port: int = 0) -> None:
        """`address` is one within the servers' place, where nobody else may reach it."""
        self._world = world
        self._reached_from = world.server if address else world.client
        self.address = address or world.server.ip4
        self.port = port or world.port()
        script = ("python3", "-c", _SERVER, self.address, str(self.port))
        self._process = world.server.start(*script)
        until(self._answers, "the server answers")

    def request(self, path: str, method: str = "GET", body: bytes = b"") -> int | None:
        """Ask on a connection of its own, from the clients' place; None if there is no answer."""
        connection = self.connect()
        try:
            connection.request(method, path, body=body or None)
            response = connection.getresponse()
            response.read()
        except (http.client.HTTPException, OSError):
            return None
        else:
            return response.status
        finally:
            connection.close()

    def connect(self, place: Place | None = None) -> http.client.HTTPConnection:
        """Open a connection."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=20)
        connection.sock = (place or self._world.client).socket()
        connection.sock.connect((self.address, self.port))
        return connection

    def close(self) -> None:
        """End it."""
        self._world.server.end(self._process)

    def _answers(self) -> bool:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        with self._reached_from.socket(family) as probe:
            return probe.connect_ex((self.address, self.port)) == 0


class Running:
    """An agent in a process, with directories that no other agent has."""

    def __init__(self, world: World, scratch: Path, number: int) -> None:
        self.pins = Path("/sys/fs/bpf") / f"{world.name}-agent-{number}"
        self.run_dir = scratch / "run"
        self.port = world.port()
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONWARNINGS": "error",
            "AXON_PIN_DIR": str(self.pins),
            "AXON_RUN_DIR": str(self.run_dir),
            "AXON_CGROUP": str(world.cgroup),
            "AXON_METRICS_LISTEN": f"127.0.0.1:{self.port}",
            "AXON_LEARN_ROUTES": "false",
            "AXON_MAX_SERIES": "2000",
            "AXON_LOG_FORMAT": "json",
            "AXON_SLOW_MS": "100",
        }
        self.command: tuple[str, ...] = (sys.executable, "-m", "axon", "run", "--no-table")
        self.log = scratch / "agent.log"
        self.client = Client(self.run_dir / "axon.sock", timeout=10)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str, **environment: str) -> None:
        """Start it, with some variables changed; return when it serves."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment | environment,
            )
        until(lambda: self.process is None or self.ready() or self.ended(), "the agent serves")
        assert not self.ended(), self.log.read_text()

    def ready(self) -> bool:
        """Return whether it answers."""
        try:
            return self.client.health().ok
        except ApiError:
            return False

    def ended(self) -> bool:
        """Return whether it is gone."""
        return self.process is None or self.process.poll() is not None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self.process
        return self.process.pid

    def terminate(self) -> int:
        """Ask it to end; return its exit status."""
        assert self.process
        self.process.terminate()
        return self.process.wait(20)

    def kill(self) -> None:
        """End it without a warning."""
        assert self.process
        self.process.kill()
        self.process.wait(20)

    def scrape(self, accept: str = "application/openmetrics-text; version=1.0.0") -> bytes:
        """Return /metrics."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/metrics", headers={"Accept": accept}
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            body: bytes = response.read()
            return body

    def samples(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """Return the samples of a name that have some labels, by the OpenMetrics parser."""
        read: Any = parser.text_string_to_metric_families
        return [
            (sample.labels, sample.value)
            for family in read(self.scrape().decode())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a name that have some labels."""
        return sum(value for _, value in self.samples(name, **labels))

    def tick(self) -> None:
        """Wait until the agent has looked at everything that has happened by now."""
        now = time.time()
        until(lambda: self.client.snapshot().time > now, "the agent has looked")

    def close(self) -> None:
        """End it and remove what it has left."""
        if not self.ended():
            self.terminate()
        if self.pins.exists():
            kernel.detach_all(self.pins)


@pytest.fixture
def agent(world: World, tmp_path: Path) -> Iterator[Running]:
    """Give an agent that is not started yet."""
    made = Running(world, tmp_path, world.port())
    yield made
    made.close()


@pytest.fixture(scope="module")
def resident(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Give an agent that runs for all tests of a module."""
    made = Running(world, tmp_path_factory.mktemp("resident"), world.port())
    made.start()
    yield made
    made.close()


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    """Give a server."""
    made = Server(world)
    yield made
    made.close()
