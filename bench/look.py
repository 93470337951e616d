"""What a look at the counters costs, by how many series have changed since the last."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from axon import kernel
from axon.kernel.system import cgroup_root
from axon.settings import Settings, Size
from axon.snapshot import Collector, Grouping
from bench.report import Table
from bench.scrape import fill

_SERIES = 20_000
_SHARES = (0.0, 0.01, 0.1, 1.0)
_LOOKS = 15
_FIRST = 2
_ENDPOINTS = 500


def measure() -> Table:
    """Write series into the maps of a data plane, change some of them and look."""
    table = Table(
        f"A look at {_SERIES:,} series",
        "make bench BENCH=look",
        (
            "series changed",
            "look, CPU ms",
            f"rates and percentiles of {_ENDPOINTS} endpoints, CPU ms",
        ),
    )
    group = cgroup_root() / f"axon-bench-{os.getpid()}"
    group.mkdir()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            plane = kernel.attach(
                replace(
                    Settings(),
                    pin_dir=Path("/sys/fs/bpf") / group.name,
                    run_dir=Path(scratch),
                    cgroup=group,
                    max_series=2 * _SERIES,
                    max_memory=Size(1 << 30),
                )
            )
            try:
                fill(plane, _SERIES)
                for share in _SHARES:
                    table.rows.append(_row(plane, share, Path(scratch)))
            finally:
                plane.close(detach=True)
    finally:
        group.rmdir()
    table.notes.append(
        "Medians. Both are done once a second, the second only while somebody looks."
    )
    return table


def _row(plane: kernel.Kernel, share: float, scratch: Path) -> tuple[str, str, str]:
    rng = np.random.default_rng(2)
    collector = Collector(plane, ledger=scratch / "retired.json")
    grouping = Grouping(lambda key, _: int(key["route"]) % _ENDPOINTS)
    looks, shown = [], []
    collector.tick()
    for _ in range(_LOOKS):
        rows = _FIRST + np.flatnonzero(rng.random(_SERIES) < share)
        for shard in plane.cells(_FIRST + _SERIES):
            shard["req_wire"][rows] += 100
            shard["dur_sum"][rows] += 1_000_000
            for _ in range(4):
                shard["hist"][rows, 60 + rows % 90 + rng.integers(0, 8, len(rows))] += 1
        began = time.process_time()
        look = collector.tick()
        looks.append(time.process_time() - began)
        groups = grouping.of(look)
        began = time.process_time()
        failed = look.keys["status"] >= 500
        look.window.stats(look.slots, groups, len(grouping.labels), failed)
        shown.append(time.process_time() - began)
    return (
        f"{share:.0%}",
        f"{statistics.median(looks) * 1e3:.1f}",
        f"{statistics.median(shown) * 1e3:.1f}",
    )
