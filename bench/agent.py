"""The agent's own CPU and memory, at rates that differ by four."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.cable import LOOPBACK
from bench.load import Asker, Way
from bench.report import Table
from bench.world import CLIENT_CPU, BenchError, cgroup, nginx, pins, require, start

RATES = (0, 10_000, 40_000)
_EACH = 10_000  # requests a second with a connection each
_PORT = 18731
_TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """Return the seconds of CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def resident(pid: int) -> float:
    """Return what a process has in memory, in MiB: Rss, shared pages of libraries included."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def running(observed: Path, port: int) -> Iterator[int]:
    """Run an agent that observes a cgroup, and takes over what `axon` has attached; yields its process."""
    with ExitStack() as all_:
        outside = all_.enter_context(cgroup("agent"))
        folder = all_.enter_context(tempfile.TemporaryDirectory())
        log = all_.enter_context((Path(folder) / "log").open("w+", encoding="utf-8"))
        agent = start(
            [sys.executable, "-m", "axon", "run", "--cgroup", str(observed), "--run-dir", f"{folder}/run",
             "--pin-dir", str(pins()), "--metrics-listen", f"127.0.0.1:{port}", "--no-table"],
            cpu=None, group=outside, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            time.sleep(6)
            if agent.poll() is not None:
                log.seek(0)
                raise BenchError(f"axon run ended at once: {log.read()[-800:]}")
            yield agent.pid
        finally:
            agent.terminate()
            agent.wait()


def measure(*, seconds: float = 20.0) -> Table:
    """Measure `axon run` while h2load offers a paced load to nginx, and another client a connection for each request."""
    require("nginx", "h2load", "gcc")
    table = Table(
        "The agent",
        "make bench BENCH=agent",
        ["offered", "requests a second", "CPU of one core", "resident"],
    )
    with ExitStack() as all_:
        ours = all_.enter_context(cgroup("axon"))
        folder = Path(all_.enter_context(tempfile.TemporaryDirectory()))
        all_.enter_context(nginx(ours, _PORT))
        pid = all_.enter_context(running(ours, 19731))
        for rate in RATES:
            _one(table, ours, pid, rate, seconds)
        _each(table, Asker(folder, ours), pid, seconds)
    table.notes.append(
        "The kernel counts; the agent reads its maps once a second. The load is paced by h2load; with a connection "
        "each by a client of our own. Resident is Rss, with what libraries share."
    )
    return table


def _each(table: Table, ask: Asker, pid: int, seconds: float) -> None:
    """Measure the agent while each request has a connection of its own."""
    before, clock = cpu(pid), time.monotonic()
    way = Way(connections=64, close=True, rate=_EACH, turn_ms=100, warm_ms=20)
    got = ask(LOOPBACK, {"": f":{_PORT}/"}, way, seconds=seconds)[""]
    took = time.monotonic() - clock
    _add(
        table,
        f"{_EACH:,} a second, a connection each",
        f"{got.ok / took:.2f}",
        (cpu(pid) - before) / took,
        pid,
    )


def _add(table: Table, offered: str, got: str, share: float, pid: int) -> None:
    memory = resident(pid)
    table.rows.append([offered, got, f"{share * 100:.2f} %", f"{memory:.0f} MB"])


def _one(table: Table, group: Path, pid: int, rate: int, seconds: float) -> None:
    client: subprocess.Popen[str] | None = None
    connections = 20
    if rate:
        client = start(
            ["h2load", "--h1", "-t1", f"-c{connections}", f"--rps={rate / connections:g}", f"-D{seconds + 3:g}",
             f"http://127.0.0.1:{_PORT}/"],
            cpu=CLIENT_CPU, group=group, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(2)
    before, clock = cpu(pid), time.monotonic()
    time.sleep(seconds)
    share = (cpu(pid) - before) / (time.monotonic() - clock)
    got = "0"
    if client:
        out, _ = client.communicate()
        got = next(
            (
                w[2]
                for w in (line.split() for line in out.splitlines())
                if w[:1] == ["finished"] and len(w) > 3
            ),
            "?",
        )
        got = next(
            (
                line.split(",")[1].split()[0]
                for line in out.splitlines()
                if line.startswith("finished")
            ),
            got,
        )
    memory = resident(pid)
    _add(table, f"{rate:,} a second", got, share, pid)
    if rate:
        table.brief.append(
            (
                f"The agent at {rate:,} requests a second",
                f"{share * 100:.1f} % of a core, {memory:.0f} MB",
            )
        )
