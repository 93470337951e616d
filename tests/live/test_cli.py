"""The command line against the real kernel: an agent of its own, a server in a cgroup of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from axon.kernel import bpf
from axon.kernel.system import cgroup_root
from tests.live.kit.terminal import Terminal
from tests.live.kit.waiting import until
from tests.privileges import NOBODY

AXON = (sys.executable, "-m", "axon")

_SERVER = """
import http.server, os, sys, time
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(0.3)
        self.send_response(500 if self.path == "/fail" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Site:
    """A server that only the agent of these tests sees, and the environment of that agent."""

    def __init__(self, cgroup: Path, scratch: Path) -> None:
        self.pins = Path("/sys/fs/bpf") / cgroup.name
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(cgroup)], stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout
        self._port = int(self._server.stdout.readline())
        self.environment = os.environ | {
            "AXON_PIN_DIR": str(self.pins),
            "AXON_RUN_DIR": str(scratch / "run"),
            "AXON_CGROUP": str(cgroup),
            "AXON_METRICS_LISTEN": "off",
            "AXON_LEARN_ROUTES": "false",
            "AXON_MAX_SERIES": "500",
            "TERM": "xterm-256color",
        }

    def ask(self, path: str, times: int = 1) -> None:
        """Send requests to the server, all on one connection, from outside the cgroup."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        for _ in range(times):
            connection.request("GET", path)
            connection.getresponse().read()
        connection.close()

    def axon(
        self, *arguments: str, before: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        return subprocess.run(
            [*before, *AXON, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=self.environment,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a verb."""
        return subprocess.Popen(
            [*AXON, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def close(self) -> None:
        """Stop the server and remove what an agent may have left."""
        self._server.kill()
        self._server.communicate()
        detached = self.axon("detach")
        assert detached.returncode == 0, detached.stderr


@contextmanager
def made(name: str, scratch: Path) -> Iterator[Site]:
    """Make a site, and leave nothing of it."""
    cgroup = cgroup_root() / f"axon-{name}-{os.getpid()}"
    cgroup.mkdir()
    site = Site(cgroup, scratch)
    try:
        yield site
    finally:
        site.close()
        cgroup.rmdir()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Give a site without an agent."""
    with made("cli", tmp_path) as site:
        yield site


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Give a site with an agent that several tests ask."""
    with made("cli-watched", tmp_path_factory.mktemp("watched")) as site, running(site):
        yield site


def ready(site: Site, agent: subprocess.Popen[str]) -> None:
    """Wait until an agent answers; fail with what it said if it ends instead."""
    until(
        lambda: agent.poll() is not None or site.axon("status").returncode == 0, "the agent answers"
    )
    if agent.poll() is not None:
        raise AssertionError("\n".join(agent.communicate()))


@contextmanager
def running(site: Site, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an agent until the end of the block, where it is asked to end and has to."""
    agent = site.start("run", *arguments)
    try:
        ready(site, agent)
        yield agent
    finally:
        agent.terminate()
        agent.communicate(timeout=20)


def rows(site: Site, words: str = "") -> dict[str, int]:
    """Return the requests that have been counted so far, by route."""
    said = site.axon("top", "--once", "-o", "json", "--filter", words)
    assert said.returncode == 0, said.stderr
    return {row["route"]: row["total"] for row in json.loads(said.stdout)["endpoints"]}


def test_run_for_a_while_prints_the_table(site: Site) -> None:
    """Without a terminal the agent logs, ends by itself, prints what it saw and leaves nothing."""
    agent = site.start("run", "--duration", "6")
    ready(site, agent)
    site.ask("/cart", 20)
    site.ask("/fail", 5)
    out, log = agent.communicate(timeout=30)
    assert agent.returncode == 0, log
    lines = {line.split()[2]: line.split() for line in out.splitlines() if " GET " in line}
    assert lines["/cart"][-2:] == ["20", "200"]
    assert lines["/fail"][4] == "100%"
    assert "25 incoming requests so far, 0 lost" in out
    assert "attached" in log
    assert "detached" in log
    assert not site.pins.exists()


@pytest.mark.parametrize("end", ["q", "ctrl-c", "SIGTERM"])
def test_run_on_a_terminal_shows_the_table(site: Site, end: str) -> None:
    """On a terminal the live table is shown until q, Ctrl-C or SIGTERM; nothing is left behind."""
    terminal = Terminal((*AXON, "run"), site.environment)
    until(lambda: terminal.shows(b"ROUTE"), "the table is there")
    site.ask("/cart", 7)
    until(lambda: terminal.shows(b"7 requests"), "all are counted")
    assert b"/cart" in terminal.shown
    match end:
        case "q":
            terminal.press(b"q")
        case "ctrl-c":
            terminal.press(b"\x03")
        case _:
            terminal.kill(signal.SIGTERM)
    assert terminal.status() == 0
    assert b"7 requests arrived here" in terminal.shown
    assert re.search(rb"at most [\d.]+MB of the kernel's memory and [\d,]+ bytes", terminal.shown)
    assert not site.pins.exists()


def test_top_on_a_terminal(watched: Site) -> None:
    """The live table of an agent that runs elsewhere shows its numbers, and q leaves it running."""
    watched.ask("/seen-on-a-terminal")
    terminal = Terminal((*AXON, "top"), watched.environment)
    until(lambda: terminal.shows(b"/seen-on-a-t"), "the route is shown")
    terminal.press(b"q")
    assert terminal.status() == 0
    assert watched.axon("status").returncode == 0


def test_the_counts_are_exact(watched: Site) -> None:
    """What `top --once` prints is what was asked, to the request."""
    asked = {"/exact": 100, "/exact/ly": 11, "/exact/ly/so": 3}
    for path, times in asked.items():
        watched.ask(path, times)
    until(lambda: rows(watched, "/exact") == asked, "all are counted")
    time.sleep(2)
    assert rows(watched, "/exact") == asked


def test_observe_follows(watched: Site) -> None:
    """Only what passes the filters is shown, and the counts at the end say that it was all."""
    watcher = watched.start("observe", "-f", "--status", "5xx", "-o", "jsonl", "--limit", "4")
    time.sleep(2)
    for _ in range(4):
        watched.ask("/cart", 3)
        watched.ask("/fail")
    out, err = watcher.communicate(timeout=40)
    flows = [json.loads(line) for line in out.splitlines()]
    assert [(flow["path"], flow["status"]) for flow in flows] == [("/fail", 500)] * 4
    assert err == "4 matched, 4 shown\n"


def test_observe_by_duration_and_negation(watched: Site) -> None:
    """Slow requests are found by their duration; a negated filter shows all others."""
    slow = watched.start("observe", "-f", "--min-duration", "250ms", "--limit", "1", "-o", "jsonl")
    other = watched.start(
        "observe", "-f", "--not", "--path", "/cart", "--limit", "2", "-o", "jsonl"
    )
    time.sleep(2)
    for path in ("/cart", "/slow", "/cart", "/fail"):
        watched.ask(path)
    assert json.loads(slow.communicate(timeout=40)[0])["path"] == "/slow"
    lines = other.communicate(timeout=40)[0].splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["/slow", "/fail"]


def test_observe_remembers(watched: Site) -> None:
    """Requests that were kept can be looked at afterwards."""
    watched.ask("/fail", 2)
    until(
        lambda: not watched.axon("observe", "--error").stderr.startswith("0 matched"), "one is told"
    )
    said = watched.axon("observe", "--error", "--last", "1")
    assert said.stdout.count("/fail") == 1
    assert said.stderr.endswith("matched, 1 shown\n")


def test_a_second_agent_is_refused(watched: Site) -> None:
    """A second agent, and removing what the first uses, are refused with the reason."""
    first = json.loads(watched.axon("status", "-o", "json").stdout)["pid"]
    second = watched.axon("run")
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert f"process {first}" in second.stderr
    assert "axon top" in second.stderr
    for extra in ([], ["--all"]):
        detach = watched.axon("detach", *extra)
        assert detach.returncode == 1
        assert "End it first" in detach.stderr
    assert watched.axon("status").returncode == 0


def test_what_a_killed_agent_leaves_can_be_removed(site: Site) -> None:
    """After SIGKILL the programs still count; detach removes them, and then there is nothing."""
    with running(site) as agent:
        agent.kill()
        agent.wait()
    assert site.pins.exists()
    removed = site.axon("detach")
    assert removed.returncode == 0
    assert "removed" in removed.stdout
    assert not site.pins.exists()
    assert "nothing of Axon" in site.axon("detach").stdout
    run_dir = Path(site.environment["AXON_RUN_DIR"])
    assert run_dir.exists()
    assert site.axon("detach", "--all").returncode == 0
    assert not run_dir.exists()


def test_kept_programs_go_on_counting(site: Site) -> None:
    """With `--keep` nothing is missed between two agents."""
    with running(site, "--keep"):
        site.ask("/cart", 5)
    site.ask("/cart", 7)
    with running(site, "--keep"):
        until(lambda: rows(site).get("/cart") == 12, "all are counted")


def test_doctor_and_status_agree(watched: Site) -> None:
    """Where an agent runs the doctor says that one can, and knows what it has counted."""
    doctor = watched.axon("doctor", "-o", "json")
    assert doctor.returncode == 0
    unseen = {row["name"]: row["here"] for row in json.loads(doctor.stdout)["not_seen"]}
    assert unseen["TLS"] == "absent"
    status = json.loads(watched.axon("status", "-o", "json").stdout)
    assert status["healthy"]
    assert status["pin_dir"] == str(watched.pins)


def test_a_sockmap_that_is_only_pinned(site: Site) -> None:
    """The doctor finds one that no process holds, as root; who is not does not say that there is none."""
    pin = site.pins.with_name(site.pins.name + "-sockmap")
    with bpf.map_create(bpf.MAP_SOCKMAP, "ax_test", 4, 4, 1) as made:
        bpf.obj_pin(made, pin)
    try:
        for before, here in ((), "here"), (NOBODY, "unknown"):
            said = json.loads(site.axon("doctor", "-o", "json", before=before).stdout)
            (row,) = (row for row in said["not_seen"] if row["name"] == "sockmap")
            assert row["here"] == here
            assert ("ax_test" in row["detail"]) == (here == "here")
    finally:
        pin.unlink()


@pytest.mark.parametrize("verb", ["run", "detach", "policy mode"])
def test_without_root(site: Site, verb: str) -> None:
    """Without root the verbs that need it say so in a line."""
    said = site.axon(*verb.split(), before=NOBODY)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "root" in said.stderr


@pytest.mark.parametrize("verb", ["top", "observe", "status"])
def test_asking_without_root(watched: Site, verb: str) -> None:
    """An agent's socket is root's: others are told to use sudo."""
    said = watched.axon(verb, before=NOBODY)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "sudo" in said.stderr
