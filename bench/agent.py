"""The agent's own CPU and memory, at rates that differ by four."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.report import Table
from bench.world import CLIENT_CPU, BenchError, cgroup, nginx, require, start

RATES = (0, 10_000, 40_000)
_TICK = os.sysconf("SC_CLK_TCK")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def measure(*, seconds: float = 20.0) -> Table:
    """Measure `axon run` while h2load offers a paced load to nginx."""
    require("nginx", "h2load")
    table = Table(
        "The agent",
        "make bench BENCH=agent",
        ["offered", "requests a second", "CPU of one core", "resident"],
    )
    with ExitStack() as all_:
        ours, outside = (all_.enter_context(cgroup(n)) for n in ("axon", "agent"))
        folder = all_.enter_context(tempfile.TemporaryDirectory())
        all_.enter_context(nginx(ours, 18731))
        log = all_.enter_context((Path(folder) / "log").open("w+", encoding="utf-8"))
        agent = start(
            [sys.executable, "-m", "axon", "run", "--cgroup", str(ours), "--run-dir", f"{folder}/run",
             "--pin-dir", f"/sys/fs/bpf/axon-bench-{os.getpid()}", "--metrics-listen", "127.0.0.1:19731"],
            cpu=None, group=outside, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            time.sleep(6)
            if agent.poll() is not None:
                log.seek(0)
                raise BenchError(f"axon run ended at once: {log.read()[-800:]}")
            for rate in RATES:
                _one(table, ours, agent.pid, rate, seconds)
        finally:
            agent.terminate()
            agent.wait()
    table.notes.append(
        "The kernel counts; the agent reads its maps once a second. The load is paced by h2load."
    )
    return table


def _one(table: Table, group: Path, pid: int, rate: int, seconds: float) -> None:
    client: subprocess.Popen[str] | None = None
    connections = 20
    if rate:
        client = start(
            ["h2load", "--h1", "-t1", f"-c{connections}", f"--rps={rate / connections:g}", f"-D{seconds + 3:g}",
             "http://127.0.0.1:18731/"],
            cpu=CLIENT_CPU, group=group, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(2)
    before, clock = _cpu(pid), time.monotonic()
    time.sleep(seconds)
    share = (_cpu(pid) - before) / (time.monotonic() - clock)
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
    memory = _resident(pid)
    table.rows.append([f"{rate:,} a second", got, f"{share * 100:.2f} %", f"{memory:.0f} MB"])
    if rate:
        table.brief.append(
            (
                f"The agent at {rate:,} requests a second",
                f"{share * 100:.1f} % of a core, {memory:.0f} MB",
            )
        )
