"""The systemd unit, started by systemd as it stands: it observes, is restarted, and may do no more than it says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from axon.api.client import Client
from axon.errors import ApiError
from tests.live.kit.machine import Machine
from tests.live.kit.waiting import until
from tests.live.kit.world import need

UNIT = Path(__file__).parents[3] / "deploy/systemd/axon.service"
REQUESTS = 60_000
EXPOSED = 3.1
"""What `systemd-analyze security` may say at the most, of 10; from 4.0 on it calls a unit exposed."""

_WEB = """#!/usr/bin/python3
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"""
# Only where it writes its log, which a machine without a journal would lose.
_LOG = "[Service]\nStandardError=append:/run/agent.log\n"


class Host(Machine):
    """One with the unit, and a web server that is one as well."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(
            scratch,
            {
                "axon.service": UNIT.read_text(),
                "axon.service.d/log.conf": _LOG,
                "web.service": "[Service]\nExecStart=/usr/local/bin/web\n",
            },
            {"web": _WEB},
        )
        self.client = Client(self.root / "run/axon/axon.sock")

    def start(self) -> None:
        """Start both."""
        self.systemctl("start", "web.service")
        try:
            self.systemctl("start", "axon.service")
        except AssertionError as e:
            pytest.fail(f"{e}\n{self.log()}")
        until(self._answers, "the server answers")

    def log(self) -> str:
        """Return what the agent has logged."""
        path = self.root / "run/agent.log"
        return path.read_text() if path.exists() else ""

    def ask(self, requests: int) -> None:
        """Send requests to the server and have them answered."""
        self.answered(self.asking(requests), requests)

    def asking(self, requests: int) -> subprocess.Popen[str]:
        """Begin to send requests to the server."""
        command = (need("h2load"), "--h1", "-n", str(requests), "-c", "4", "http://127.0.0.1:8000/")
        return subprocess.Popen(
            [*self.entering(), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @staticmethod
    def answered(load: subprocess.Popen[str], requests: int) -> None:
        """Wait until all are answered."""
        output, _ = load.communicate(timeout=120)
        assert f" {requests} succeeded, 0 failed" in output, output

    def expect(self, requests: int) -> None:
        """Fail unless the server was asked for so many by now."""
        found = [0]

        def all_there() -> bool:
            try:
                found[0] = self.client.snapshot().server.total
            except ApiError:
                return False
            return found[0] >= requests

        until(all_there, "all are counted", 10)
        assert found[0] == requests

    def _answers(self) -> bool:
        done = subprocess.run(
            [*self.entering(), "bash", "-c", ": >/dev/tcp/127.0.0.1/8000"],
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode == 0


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Give a machine with the unit, not started."""
    made = Host(tmp_path / "machine")
    yield made
    made.close()


def kept(status: str) -> int:
    """Return the capabilities that the unit leaves of those that a process has, as bits."""
    names = re.search(r"^CapabilityBoundingSet=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert names
    header = Path("/usr/include/linux/capability.h").read_text()
    numbers = dict(re.findall(r"^#define (CAP_\w+)\s+(\d+)$", header, re.MULTILINE))
    wanted = sum(1 << int(numbers[name]) for name in names[1].split())
    return wanted & int(field(status, "CapBnd"), 16)


def field(status: str, name: str) -> str:
    """Return a field of /proc/PID/status."""
    found = re.search(rf"^{name}:\s*(\S+)", status, re.MULTILINE)
    assert found
    return found[1]


def test_systemd_takes_it_as_it_is(host: Host) -> None:
    """It has no line that systemd does not know, or warns of; and systemd finds it well confined."""
    path = "/etc/systemd/system/axon.service"
    assert host.run("systemd-analyze", "verify", "--man=no", path) == ""
    said = host.run("systemd-analyze", "security", "--no-pager", "--offline=yes", path)
    found = re.search(r"Overall exposure level for axon\.service: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= EXPOSED, said


def test_it_observes_and_is_confined(host: Host) -> None:
    """What the unit starts is ready when systemd says so, sees every request, and has the unit's capabilities only."""
    host.start()
    assert host.shown("axon.service", "ActiveState") == "active"
    assert host.client.health().ok
    host.ask(1000)
    host.expect(1000)
    (endpoint,) = host.client.snapshot().endpoints
    assert (endpoint.service, endpoint.total) == ("web.service", 1000)
    assert "axon_requests_total" in host.run("curl", "-sS", "http://127.0.0.1:9464/metrics")

    own = (host.root / "proc" / host.shown("axon.service", "MainPID") / "status").read_text()
    first = (host.root / "proc/1/status").read_text()
    assert int(field(own, "CapEff"), 16) == int(field(own, "CapBnd"), 16) == kept(first)
    assert field(own, "NoNewPrivs") == "1"
    assert field(own, "Seccomp") == "2"
    assert host.log().count('"unhealthy"') == host.log().count("unhealthy") == 0


def test_no_request_is_missed_over_a_restart(host: Host) -> None:
    """Restarted while requests come, stopped and started: all are counted; what is detached counts no more."""
    host.start()
    load = host.asking(REQUESTS)
    restarts = 0
    while load.poll() is None and restarts < 3:
        host.systemctl("restart", "axon.service")
        restarts += 1
    Host.answered(load, REQUESTS)
    assert restarts >= 2
    host.expect(REQUESTS)
    host.systemctl("stop", "axon.service")
    host.ask(500)
    host.systemctl("start", "axon.service")
    host.expect(REQUESTS + 500)
    host.systemctl("stop", "axon.service")
    assert "programs/ax_ingress" in host.run("axon", "detach")
    assert not (host.root / "sys/fs/bpf/axon").exists()


def test_one_that_hangs_is_ended_and_followed(host: Host) -> None:
    """An agent that does not look any more is ended by the watchdog; the next goes on where it was."""
    quick = "[Service]\nWatchdogSec=3\nTimeoutAbortSec=1\n"
    path = host.root / "run/systemd/system/axon.service.d/quick.conf"
    path.parent.mkdir(parents=True)
    path.write_text(quick)
    host.systemctl("daemon-reload")
    host.start()
    host.ask(700)
    host.expect(700)
    before = host.shown("axon.service", "MainPID")
    host.run("kill", "-STOP", before)
    host.ask(300)
    until(lambda: host.shown("axon.service", "NRestarts") == "1", "it is started again")
    until(lambda: host.shown("axon.service", "ActiveState") == "active", "it is ready")
    assert host.shown("axon.service", "MainPID") not in {"0", before}
    host.expect(1000)
