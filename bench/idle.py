"""Memory of 100,000 idle connections."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from bench.report import Table
from bench.world import axon, cgroup, nginx, require

CONNECTIONS = 100_000
_REQUEST = b"GET /api/users/1 HTTP/1.1\r\nHost: bench\r\n\r\n"


def _available() -> float:
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) / 1024
    return 0.0


def _open(port: int, count: int) -> float:
    """Open idle keep-alive connections that have each asked once; return the memory they take in MB."""
    before = _available()
    kept: list[socket.socket] = []
    try:
        for i in range(count):
            s = socket.socket()
            s.setsockopt(
                socket.IPPROTO_IP, 24, 1
            )  # IP_BIND_ADDRESS_NO_PORT: ports are per destination then
            s.bind((f"127.1.{i // 20000}.1", 0))
            s.connect(("127.0.0.1", port))
            s.sendall(_REQUEST)
            kept.append(s)
            if len(kept) % 500 == 0:
                for done in kept[-500:]:
                    done.recv(4096)
        time.sleep(1)
        return before - _available()
    finally:
        for s in kept:
            s.close()
        time.sleep(3)


def measure(*, connections: int = CONNECTIONS) -> Table:
    """Measure the kernel's memory for idle HTTP connections with Axon on the server's side, and without."""
    require("nginx")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 300_000), hard))
    table = Table("Idle connections", "make bench BENCH=idle", ["", "memory", "a connection"])
    with ExitStack() as all_:
        plain, ours = (all_.enter_context(cgroup(n)) for n in ("plain", "axon"))
        kernel = all_.enter_context(axon(ours))
        all_.enter_context(nginx(plain, 18741))
        all_.enter_context(nginx(ours, 18742))
        without = _open(18741, connections)
        with_ = _open(18742, connections)
        bound = kernel.footprint.socket
    table.rows.append(
        [
            f"{connections:,} connections without",
            f"{without:.0f} MB",
            f"{without * 1024 / connections:.1f} KB",
        ]
    )
    table.rows.append([f"{connections:,} connections, Axon on the server's side", f"{with_:.0f} MB",
                       f"{with_ * 1024 / connections:.1f} KB"])  # fmt: skip
    extra = (with_ - without) * 1024 * 1024 / connections
    table.rows.append(["Axon's share", f"× {with_ / without:.2f}", f"{extra:.0f} bytes"])
    table.notes.append(
        f"Both ends of each connection and nginx's own memory are in the first figure. At the most a socket can take "
        f"{bound:,} bytes (every kind of state at once), which `axon run` prints at start."
    )
    table.brief.append(("Memory of an idle HTTP connection", f"{extra:.0f} bytes beside the kernel's and nginx's "
                        f"{without * 1024 / connections:.1f} KB"))  # fmt: skip
    return table
