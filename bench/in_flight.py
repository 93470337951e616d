"""What looking at all connections costs: `python -m bench.in_flight [CONNECTIONS ...]`, as root.

Connections over loopback, both ends of which are counted, first with nothing in flight and then
with a request in flight on each.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from axon.agent.flows import Who
from axon.agent.inflight import InFlight
from axon.kernel import Kernel
from axon.kernel.active import OVER, PROGRAM, ActiveReader
from axon.kernel.system import cgroup_root
from bench.world import axon, cgroup

_TIMES = 15
_REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

Ends = list[tuple[socket.socket, socket.socket]]


@contextmanager
def within(group: Path) -> Iterator[None]:
    """Make sockets as a process of the cgroup."""
    line = next(
        line for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::"
    )
    home = cgroup_root() / line[3:].lstrip("/")
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))


def connect(pairs: int, undo: ExitStack) -> Ends:
    """Open connections that have had a request and a response each."""
    listener = undo.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
    ends: Ends = []
    for _ in range(pairs):
        client = undo.enter_context(socket.create_connection(listener.getsockname()))
        server = undo.enter_context(listener.accept()[0])
        client.sendall(_REQUEST)
        server.recv(len(_REQUEST))
        server.sendall(_RESPONSE)
        client.recv(len(_RESPONSE))
        ends.append((client, server))
    return ends


def measure(kernel: Kernel) -> None:
    """Print what a look takes, and what becomes of it."""
    program, connections = kernel._programs[PROGRAM], kernel._maps[OVER]  # noqa: SLF001
    taken, cpu, looks = [], [], []
    before = kernel.program_stats()[PROGRAM]
    for _ in range(_TIMES):
        reader = ActiveReader(program, connections, kernel.abi)
        start, spent = time.perf_counter(), time.process_time()
        looks.append(reader.read())
        taken.append(time.perf_counter() - start)
        cpu.append(time.process_time() - spent)
        reader.close()
    after = kernel.program_stats()[PROGRAM]
    runs = after.run_cnt - before.run_cnt
    time.sleep(1)  # the kernel's own reader gives the same look for so long
    kernel.active()
    gauges = InFlight(kernel, lambda _record, _pid: Who("bench", ""))
    start = time.perf_counter()
    gauges.families([])
    named = time.perf_counter() - start
    look = looks[-1]
    print(
        f"{int(look.open.sum()):7} sockets, {len(look.flights):6} in flight: "
        f"a look {min(taken) * 1e3:6.2f} ms ({min(cpu) * 1e3:.2f} ms of CPU time), "
        f"{(after.run_time_ns - before.run_time_ns) / runs:4.0f} ns a run of the program, "
        f"gauges {named * 1e3:.2f} ms"
    )


def main(arguments: list[str]) -> None:
    """Print two lines a number of connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"best of {_TIMES} looks")
    for sockets in map(int, arguments or ["0", "1000", "10000"]):
        with cgroup("in-flight") as group, axon(group) as kernel, ExitStack() as undo:
            kernel.measure_runs(on=True)
            undo.enter_context(within(group))
            ends = connect(sockets // 2, undo)
            measure(kernel)
            for client, server in ends:
                client.sendall(_REQUEST)
                server.recv(len(_REQUEST))
            if ends:
                measure(kernel)


if __name__ == "__main__":
    main(sys.argv[1:])
