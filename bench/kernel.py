"""Nanoseconds a request in the kernel's own program statistics, against a floor program in the same run."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from axon.kernel import bpf
from axon.kernel.object import BpfObject
from bench.hooked import hooked, of_step
from bench.report import ROOT, Table
from bench.world import axon, cgroup, nginx, require, wrk

STEPS = ("empty", "headers", "socket", "storage", "written", "loaded", "floor")
SAYS = {
    "headers": "reading the headers",
    "socket": "finding the full socket",
    "storage": "finding its storage",
    "written": "writing to it",
    "loaded": "loading up to 256 bytes",
    "floor": "the clock",
}
PATH = "/api/users/0123456789/orders/0123456789/items/0123456789abcd"  # 60 bytes


def _compiled(folder: Path) -> Path:
    out = folder / "floor.bpf.o"
    clang = os.environ.get("CLANG", "clang-19")
    subprocess.run(
        [clang, "-O2", "-g", "-target", "bpf", "-mcpu=v2", "-idirafter", f"/usr/include/{os.uname().machine}-linux-gnu",
         "-c", str(ROOT / "bench" / "floor.bpf.c"), "-o", str(out)],
        check=True,
    )  # fmt: skip
    return out


@contextmanager
def floor(folder: Path) -> Iterator[Mapping[str, bpf.Fd]]:
    """Load the floor's programs; yields them by name, not attached."""
    with BpfObject(_compiled(folder)) as obj, ExitStack() as close:
        obj.load(folder / "log")
        yield {name: close.enter_context(_closing(obj.program(name))) for name in obj.programs}


@contextmanager
def _closing(fd: bpf.Fd) -> Iterator[bpf.Fd]:
    try:
        yield fd
    finally:
        fd.close()


def _time(programs: Mapping[str, bpf.Fd], url: str, group: Path, seconds: int) -> dict[str, float]:
    """Time in ns a request of each program under load: its time over the requests that its ingress side saw."""
    before = {n: bpf.prog_info(p) for n, p in programs.items()}
    counts = {n: (i.run_time_ns, i.run_cnt) for n, i in before.items()}
    load = wrk(url, seconds=seconds, connections=16, group=group)
    requests = load.rate * seconds
    out = {}
    for name, program in programs.items():
        info = bpf.prog_info(program)
        out[name] = (info.run_time_ns - counts[name][0]) / max(requests, 1)
    return out


def measure(*, rounds: int = 5, seconds: int = 2) -> Table:
    """Measure the server's side of Axon and each step of the floor, every one alone on its own nginx."""
    require("nginx", "wrk")
    table = Table(
        "BPF time a request", "make bench BENCH=kernel",
        ["program (server's side, both hooks)", "ns a request", "against the floor"],
    )  # fmt: skip
    found: dict[str, list[float]] = {}
    with ExitStack() as all_:
        folder = Path(all_.enter_context(tempfile.TemporaryDirectory()))
        ours, theirs, outside = (all_.enter_context(cgroup(n)) for n in ("axon", "floor", "client"))
        kernel = all_.enter_context(axon(ours))
        steps = all_.enter_context(floor(folder))
        all_.enter_context(nginx(ours, 18701))
        all_.enter_context(nginx(theirs, 18702))
        kernel.measure_runs(on=True)
        programs = {n: p for n, p in kernel._programs.items() if n in ("ax_ingress", "ax_egress")}  # noqa: SLF001
        for _ in range(rounds):
            for step in STEPS:
                with hooked((of_step(steps, step), [theirs])):
                    mine = {n: p for n, p in steps.items() if n.startswith(step + "_")}
                    times = _time(mine, f"http://127.0.0.1:18702{PATH}", outside, seconds)
                found.setdefault(step, []).append(sum(times.values()))
            times = _time(programs, f"http://127.0.0.1:18701{PATH}", outside, seconds)
            found.setdefault("axon", []).append(sum(times.values()))
    # the least of the rounds: what the machine does beside us only ever adds
    best = {name: min(values) for name, values in found.items()}
    net = {name: value - best["empty"] for name, value in best.items()}
    ratios = [
        (a - e) / (f - e)
        for a, f, e in zip(found["axon"], found["floor"], found["empty"], strict=True)
    ]
    table.rows.append(["an empty program's reading, subtracted below", f"{best['empty']:.0f}", ""])
    before = 0.0
    for step in STEPS[1:]:
        table.rows.append([f"+ {SAYS[step]}", f"{net[step] - before:+.0f}", ""])
        before = net[step]
    table.rows.append(["**floor**: all of these", f"{net['floor']:.0f}", "1"])
    table.rows.append(
        ["**Axon**: everything on", f"{net['axon']:.0f}", f"**{net['axon'] / net['floor']:.2f}**"]
    )
    table.notes.append(
        f"Least of {rounds} rounds of {seconds:g} s each, {PATH!r} over 16 keep-alive connections. Each program is "
        "attached alone: whichever comes first on a packet pays for bringing the socket into the core's cache. "
        f"Median of the rounds' own ratios: {median(ratios):.2f}."
    )
    table.brief.append(("BPF time a request, server's side", f"{net['axon']:.0f} ns, {net['axon'] / net['floor']:.2f} "
                        "times a program that only finds the socket, loads 256 bytes and takes the clock"))  # fmt: skip
    return table
