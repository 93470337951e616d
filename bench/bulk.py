"""Traffic that is not HTTP: what Axon takes from a bulk transfer."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench.report import Table
from bench.world import CLIENT_CPU, SERVER_CPU, BenchError, axon, cgroup, require, start


def _iperf(group: Path, port: int, seconds: float) -> float:
    server = start(
        ["iperf3", "-s", "-1", "-p", str(port)],
        cpu=SERVER_CPU,
        group=group,
        stdout=subprocess.DEVNULL,
    )
    try:
        time.sleep(0.3)
        client = start(
            ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", f"{seconds:g}", "-J"],
            cpu=CLIENT_CPU, group=group, stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = client.communicate()
        return float(json.loads(out)["end"]["sum_received"]["bits_per_second"])
    except (KeyError, ValueError) as e:
        raise BenchError(f"iperf3 said nothing of use: {e}") from e
    finally:
        server.terminate()
        server.wait()


def measure(*, rounds: int = 9, seconds: float = 3.0) -> Table:
    """Measure iperf3 over loopback with both ends in Axon's scope, and without."""
    require("iperf3")
    table = Table("Bulk transfer that is not HTTP", "make bench BENCH=bulk",
                  ["", "without, Gbit/s", "with Axon on both ends"])  # fmt: skip
    with ExitStack() as all_:
        plain, ours = (all_.enter_context(cgroup(n)) for n in ("plain", "axon"))
        all_.enter_context(axon(ours))
        rates: dict[str, list[float]] = {"plain": [], "axon": []}
        for _ in range(rounds):
            rates["plain"].append(_iperf(plain, 18721, seconds))
            rates["axon"].append(_iperf(ours, 18722, seconds))
    ratios = [a / b for a, b in zip(rates["axon"], rates["plain"], strict=True)]
    share = f"{median(ratios) * 100:.1f} %"
    table.rows.append(["iperf3 over loopback, one stream", f"{median(rates['plain']) / 1e9:.1f}",
                       f"{share} ({min(ratios) * 100:.0f} to {max(ratios) * 100:.0f})"])  # fmt: skip
    table.notes.append(
        f"Median of {rounds} interleaved rounds of {seconds:g} s; the spread is the rounds' own."
    )
    table.brief.append(("Bulk transfer that is not HTTP (iperf3 over loopback)", share))
    return table
