"""What a scrape of many series costs.

Series are written into the maps of a data plane that is attached to an empty cgroup, with routes
and histograms as real ones have them. Then an agent takes it over and is scraped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from axon import kernel
from axon.api.client import Client
from axon.errors import ApiError
from axon.export.native import PROTOBUF
from axon.export.text import OPENMETRICS, PROMETHEUS
from axon.kernel.system import cgroup_root
from axon.settings import Settings, Size
from bench.report import Table

_PORT = 19_465
_TIMES = 5
_SERIES = (466, 10_000)
_METHODS = 8
_FIRST = 2  # the slots before take what has no place of its own
_FORMS = {"text": PROMETHEUS, "openmetrics": OPENMETRICS, "protobuf": PROTOBUF}


def fill(plane: kernel.Kernel, series: int) -> None:
    """Write series as the programs would have."""
    rng = np.random.default_rng(1)
    slots = plane.slots(_FIRST + series)[_FIRST:]
    for i in range(series // _METHODS + 1):
        plane.put_route(1000 + i, f"/api/v1/resources/{i}/children/{{id}}", pattern=False)
    number = np.arange(series)
    key = slots["key"]
    key["cgroup"] = 1
    key["comm"][:, :5] = np.frombuffer(b"bench", np.uint8)
    key["port"] = 8080
    key["route"] = 1000 + number // _METHODS
    key["method"] = 1 + number % _METHODS
    key["status"] = 200
    key["version"] = 1
    cells = plane.cells(_FIRST + series)[0][_FIRST:]
    middle = rng.integers(60, 150, series)
    for offset in range(-10, 11):
        cells["hist"][number, middle + offset] = rng.integers(0, 100_000, series)
    cells["dur_sum"] = rng.integers(1, 1 << 50, series)
    cells["resp_size"][:, 1:8] = rng.integers(0, 100_000, (series, 7))
    slots["created"] = 1


@contextmanager
def agent(series: int) -> Iterator[Client]:
    """Run an agent on so many series; give its client."""
    cgroup = cgroup_root() / f"axon-bench-{os.getpid()}"
    cgroup.mkdir()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            settings = replace(
                Settings(),
                pin_dir=Path("/sys/fs/bpf") / cgroup.name,
                run_dir=Path(scratch),
                cgroup=cgroup,
                max_series=2 * series,  # so full that none retires, it never is
                max_memory=Size(1 << 30),
            )
            plane = kernel.attach(settings)
            fill(plane, series)
            plane.close(detach=False)
            names = ("pin_dir", "run_dir", "cgroup", "max_series")
            flags = [f"--{name.replace('_', '-')}={getattr(settings, name)}" for name in names]
            more = [
                "--max-memory=1GiB",
                "--no-learn-routes",
                f"--metrics-listen=127.0.0.1:{_PORT}",
                "--no-table",
            ]
            command = [sys.executable, "-m", "axon", "run", "--log-level=error", *flags, *more]
            process = subprocess.Popen(command)
            try:
                client = Client(settings.socket)
                wait(client)
                yield client
            finally:
                process.terminate()
                process.wait(30)
    finally:
        pins = Path("/sys/fs/bpf") / cgroup.name
        if pins.exists():
            kernel.detach_all(pins)
        cgroup.rmdir()


def wait(client: Client) -> None:
    """Wait until the agent has looked twice."""
    for _ in range(600):
        try:
            if client.snapshot().window > 1:
                return
        except ApiError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the agent does not answer")


def scrape(accept: str) -> tuple[float, bytes]:
    """Return the least time that a scrape took, and what came."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{_PORT}/metrics", headers={"Accept": accept}
    )
    taken, body = [], b""
    for _ in range(_TIMES):
        start = time.perf_counter()
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            body = response.read()
        taken.append(time.perf_counter() - start)
    return min(taken), body


def measure() -> Table:
    """Scrape an agent that holds so many of the kernel's series, in each form."""
    table = Table(
        "A scrape",
        "make bench BENCH=scrape",
        ["series in the kernel", "form", "series for Prometheus", "size", "time", "agent resident"],
    )
    for series in _SERIES:
        with agent(series) as client:
            for form, accept in _FORMS.items():
                seconds, body = scrape(accept)
                lines = sum(not line.startswith(b"#") for line in body.splitlines())
                resident = client.status().resident_bytes / (1 << 20)
                table.rows.append(
                    [
                        f"{series:,}",
                        form,
                        f"{lines:,}" if form != "protobuf" else "native histograms",
                        f"{len(body) / 1e6:.1f} MB",
                        f"{seconds * 1000:.0f} ms",
                        f"{resident:.0f} MB",
                    ]
                )
                if series == _SERIES[0] and form == "openmetrics":
                    what = f"A scrape of {lines:,} series"
                    table.brief.append((what, f"{seconds * 1000:.0f} ms"))
    table.notes.append(
        f"Best of {_TIMES}, from the request to the last byte in the client. A series of the kernel "
        "is a request's labels; it is three histograms, so some 43 series of text."
    )
    return table
