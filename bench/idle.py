"""What 100,000 idle connections take: memory, throughput beside them, the programs' time a request, the agent's CPU."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from axon.kernel import Kernel, bpf
from bench.agent import cpu, resident, running
from bench.kernel import KEPT, Price, Server, attached, floor, least, net, of_steps, prices
from bench.report import ROOT, Table
from bench.world import CLIENT_CPU, BenchError, axon, cgroup, nginx, require, start, turns

CONNECTIONS = 100_000
_RATE = 10_000  # requests a second beside them while the agent is measured
_ROUNDS = 3
_HOLDERS = 8  # processes on each side: many systems let one open 20,000 files
_REQUEST = b"GET /api/users/1 HTTP/1.1\r\nHost: bench\r\n\r\n"
_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h: a port need be free only for the pair of addresses


def _available() -> float:
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) / 1024
    return 0.0


def hold(address: str, port: int, count: int) -> None:
    """Open idle keep-alive connections from an address that have each asked once; keep them until stdin ends."""
    kept: list[socket.socket] = []
    for _ in range(count):
        s = socket.socket()
        s.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        s.bind((address, 0))
        s.connect(("127.0.0.1", port))
        s.sendall(_REQUEST)
        kept.append(s)
        if len(kept) % 500 == 0:
            for done in kept[-500:]:
                done.recv(4096)
    print("held", flush=True)
    sys.stdin.read()


def _opened(all_: ExitStack, port: int, count: int, group: Path) -> float:
    """Open connections that stay until the stack is left; return the memory that they take in MB."""
    before = _available()
    holders = []
    for i in range(_HOLDERS):
        call = f"from bench.idle import hold; hold('127.1.{port % 100}.{i + 1}', {port}, {count // _HOLDERS})"
        holder = start(
            [sys.executable, "-c", call], cpu=None, group=group, cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        all_.callback(holder.wait)
        all_.callback(holder.kill)
        holders.append(holder)
    for holder in holders:
        if holder.stdout is None or holder.stdout.readline() != "held\n":
            raise BenchError("connections could not be opened: see above")
    time.sleep(2)
    return before - _available()


def measure(*, connections: int = CONNECTIONS, blocks: int = 6) -> Table:
    """Measure the kernel's memory for idle HTTP connections with Axon on the server's side, and without."""
    require("nginx", "wrk", "h2load")
    table = Table("Idle connections", "make bench BENCH=idle", ["", "memory", "a connection"])
    with ExitStack() as all_:
        plain, ours, outside = (all_.enter_context(cgroup(n)) for n in ("plain", "axon", "client"))
        kernel = all_.enter_context(axon(ours))
        steps = all_.enter_context(floor(Path(all_.enter_context(TemporaryDirectory()))))
        ports = {"plain": (18741, plain), "axon": (18742, ours)}
        taken = {}
        for port, group in ports.values():
            all_.enter_context(nginx(group, port, workers=_HOLDERS))
        urls = {name: (f"http://127.0.0.1:{port}/", outside) for name, (port, _) in ports.items()}
        with ExitStack() as held:
            for name, (port, _) in ports.items():
                taken[name] = _opened(held, port, connections, outside)
            rates = [turns(urls, seconds=4, connections=32) for _ in range(blocks)]
            bound = kernel.footprint.socket
            of_floor, of_axon = _times(kernel, steps, plain, urls)
            kernel.close(detach=False)
            share, memory = _agent(ours, urls["axon"][0])
    without, with_ = taken["plain"], taken["axon"]
    ratios = sorted(block["axon"] / block["plain"] for block in rates)
    kept = (
        f"{ratios[len(ratios) // 2] * 100:.1f} % ({ratios[0] * 100:.0f} to {ratios[-1] * 100:.0f})"
    )
    extra = (with_ - without) * 1024 * 1024 / connections
    for text, amount in (("without", without), ("Axon on the server's side", with_)):
        each = f"{amount * 1024 / connections:.1f} KB"
        table.rows.append([f"{connections:,} connections, {text}", f"{amount:.0f} MB", each])
    table.rows.append(["Axon's share", f"× {with_ / without:.2f}", f"{extra:.0f} bytes"])
    table.rows.append(
        [
            "Throughput of 32 others beside them (17-byte answer), with Axon against without",
            kept,
            "",
        ]
    )
    table.rows.append(
        [
            "BPF time a request beside them, server's side",
            f"{of_axon:.0f} ns, {of_axon / of_floor:.2f} times the floor",
            "",
        ]
    )
    table.rows.append(
        [
            f"The agent at {_RATE:,} requests a second beside them",
            f"{share * 100:.2f} % of a core, {memory:.0f} MB",
            "",
        ]
    )
    table.notes.append(
        f"Both ends of each connection and nginx's own memory are in the first figure. At the most a socket can take "
        f"{bound:,} bytes (every kind of state at once), which `axon run` prints at start."
    )
    table.brief.append(("Memory of an idle HTTP connection", f"{extra:.0f} bytes beside the kernel's and nginx's "
                        f"{without * 1024 / connections:.1f} KB"))  # fmt: skip
    return table


def _times(
    kernel: Kernel, steps: Mapping[str, bpf.Fd], plain: Path, urls: Mapping[str, tuple[str, Path]]
) -> tuple[float, float]:
    """Return ns a request of the floor's programs and of Axon's, of one nginx with idle connections each."""
    kernel.measure_runs(on=True)
    found: dict[str, list[Mapping[str, Price]]] = {}
    for _ in range(_ROUNDS):
        for step in ("empty", "floor"):
            url, asking = urls["plain"]
            now = of_steps(steps, step, Server(plain, url), asking, KEPT)
            found.setdefault(step, []).append(now)
        found.setdefault("axon", []).append(prices(attached(kernel), *urls["axon"], KEPT))
    kernel.measure_runs(on=False)
    empty = least(found["empty"])
    of_floor, of_axon = (
        sum(price.ns for price in net(least(found[name]), empty).values())
        for name in ("floor", "axon")
    )
    return of_floor, of_axon


def _agent(group: Path, url: str, *, seconds: float = 10.0) -> tuple[float, float]:
    """Return the share of a core that an agent takes which has taken over, and its resident memory in MiB."""
    with running(group, 19741) as pid:
        client = start(
            ["h2load", "--h1", "-t1", "-c20", f"--rps={_RATE / 20:g}", f"-D{seconds + 3:g}", url],
            cpu=CLIENT_CPU, group=group, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(2)
        before, clock = cpu(pid), time.monotonic()
        time.sleep(seconds)
        share = (cpu(pid) - before) / (time.monotonic() - clock)
        client.wait()
        return share, resident(pid)
