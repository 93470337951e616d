"""Nanoseconds a request in the kernel's own program statistics, against a floor program in the same run."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from axon.kernel import Kernel, bpf
from axon.kernel.object import BpfObject
from bench.hooked import hooked, of_axon, of_step
from bench.report import ROOT, Table
from bench.world import axon, cgroup, nginx, require, served, wrk

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


class Price(NamedTuple):
    """What a program takes of a request: nanoseconds, the kernel's own reading of a run's time among them, and runs."""

    ns: float
    runs: float


Prices = Mapping[str, Price]
"""By program."""


class Server(NamedTuple):
    """Who is asked."""

    group: Path
    url: str


class Way(NamedTuple):
    """How requests come."""

    name: str
    close: bool  # a connection for each
    seconds: int


KEPT = Way("keep-alive", close=False, seconds=2)
EACH = Way("a connection each", close=True, seconds=1)
_PARTS = {
    "packets that arrive": ("ax_ingress",),
    "packets that leave": ("ax_egress",),
    "a connection made and accepted (sockops)": ("ax_sockops",),
    "`connect`": ("ax_connect4", "ax_connect6"),
    "`bind`": ("ax_bind4", "ax_bind6"),
    "a socket's end (sock_release)": ("ax_release",),
}
"""All hooks of Axon that are attached to a cgroup; each is a program."""


def prices(programs: Mapping[str, bpf.Fd], url: str, group: Path, way: Way) -> Prices:
    """Measure programs under load from a cgroup; the requests are as many as nginx has read."""
    before = {n: _read(p) for n, p in programs.items()}
    asked = served(url)
    wrk(url, seconds=way.seconds, connections=16, group=group, close=way.close)
    requests = max(served(url) - 1 - asked, 1)
    return {
        n: Price(*((b - a) / requests for a, b in zip(before[n], _read(p), strict=True)))
        for n, p in programs.items()
    }


def of_steps(
    steps: Mapping[str, bpf.Fd], step: str, server: Server, asking: Path, way: Way
) -> Prices:
    """Measure a pair of the floor's programs, attached to the server's cgroup meanwhile."""
    with hooked((of_step(steps, step), [server.group])):
        mine = {n: p for n, p in steps.items() if n.startswith(step + "_")}
        return prices(mine, server.url, asking, way)


def attached(kernel: Kernel) -> Mapping[str, bpf.Fd]:
    """Return Axon's programs on the hooks of a cgroup by their names."""
    hooks = {fd.fileno() for fd in of_axon(kernel).values()}
    return {n: p for n, p in kernel._programs.items() if p.fileno() in hooks}  # noqa: SLF001


def _read(program: bpf.Fd) -> tuple[int, int]:
    info = bpf.prog_info(program)
    return info.run_time_ns, info.run_cnt


def _sum(found: Prices) -> Price:
    """Return all programs together."""
    return Price(sum(p.ns for p in found.values()), sum(p.runs for p in found.values()))


def net(found: Prices, empty: Prices) -> Prices:
    """Return prices less what reading the time of each run takes, by what it takes of an empty program."""
    read = _sum(empty).ns / _sum(empty).runs
    return {n: Price(p.ns - p.runs * read, p.runs) for n, p in found.items()}


def least(rounds: Sequence[Prices]) -> Prices:
    """Return the round in which all programs together took least: what the machine does beside us only ever adds."""
    return min(rounds, key=_sum)


def measure(*, rounds: int = 5) -> Table:
    """Measure each of Axon's programs on either side, and each step of the floor, every pair alone on its own nginx."""
    require("nginx", "wrk")
    head = ["ns a request", "against the floor", "runs a request"]
    table = Table(
        "BPF time a request", "make bench BENCH=kernel",
        ["program", *(f"{way.name}: {what}" for way in (KEPT, EACH) for what in head)],
    )  # fmt: skip
    found: dict[tuple[str, Way], list[Prices]] = {}
    with ExitStack() as all_:
        folder = Path(all_.enter_context(tempfile.TemporaryDirectory()))
        ours, theirs, outside = (all_.enter_context(cgroup(n)) for n in ("axon", "floor", "client"))
        kernel = all_.enter_context(axon(ours))
        steps = all_.enter_context(floor(folder))
        all_.enter_context(nginx(ours, 18701))
        all_.enter_context(nginx(theirs, 18702))
        kernel.measure_runs(on=True)
        mine, observed, plain = (
            attached(kernel),
            *(f"http://127.0.0.1:{port}{PATH}" for port in (18701, 18702)),
        )
        for _ in range(rounds):
            for way in (KEPT, EACH):
                for step in STEPS if way is KEPT else ("empty", "floor"):
                    now = of_steps(steps, step, Server(theirs, plain), outside, way)
                    found.setdefault((step, way), []).append(now)
                found.setdefault(("server", way), []).append(prices(mine, observed, outside, way))
                found.setdefault(("client", way), []).append(prices(mine, plain, ours, way))
    best = {what: least(each) for what, each in found.items()}
    empty = {way: best["empty", way] for way in (KEPT, EACH)}
    own = {(what, way): net(each, empty[way]) for (what, way), each in best.items()}
    floors = {way: _sum(own["floor", way]).ns for way in (KEPT, EACH)}
    table.rows.append(["an empty program's reading, subtracted below", *_empty(empty)])
    before = 0.0
    for step in STEPS[1:]:
        here = _sum(own[step, KEPT]).ns
        table.rows.append([f"+ {SAYS[step]}", f"{here - before:+.0f}", *[""] * 5])
        before = here
    table.rows.append(["**floor**: all of these, server's side", *_cells(own, "floor", floors)])
    for side in ("server", "client"):
        title = f"**Axon**: everything on, {side}'s side"
        table.rows.append([title, *_cells(own, side, floors, bold=True)])
        table.rows += [
            [f"of it {part}", *_cells(own, side, None, names)] for part, names in _PARTS.items()
        ]
    ratios = {
        way: median(
            _sum(net(a, e)).ns / _sum(net(f, e)).ns
            for a, f, e in zip(
                found["server", way], found["floor", way], found["empty", way], strict=True
            )
        )
        for way in (KEPT, EACH)
    }
    table.notes.append(
        f"Least of {rounds} rounds of {KEPT.seconds} s each ({EACH.seconds} s with a connection each), {PATH!r} over 16 "
        "connections; requests by nginx's own count. Each pair of the floor's programs is attached alone: whichever "
        "comes first on a packet pays for bringing the socket into the core's cache. Axon is all of its programs "
        "on the hooks of a cgroup. A server binds once, so that `bind` has no part in a request. The client's side, by "
        "which only the client is observed, has no floor of its own. Median of the rounds' own ratios, server's side: "
        + ", ".join(f"{ratio:.2f} ({way.name})" for way, ratio in ratios.items())
        + "."
    )
    kept, each = (_sum(own["server", way]).ns for way in (KEPT, EACH))
    table.brief.append(("BPF time a request, server's side", f"{kept:.0f} ns, {kept / floors[KEPT]:.2f} "
                        "times a program that only finds the socket, loads 256 bytes and takes the clock"))  # fmt: skip
    table.brief.append(("The same with a connection for each request, all hooks",
                        f"{each:.0f} ns, {each / floors[EACH]:.2f} times"))  # fmt: skip
    return table


def _empty(empty: Mapping[Way, Prices]) -> list[str]:
    return [
        cell
        for way in (KEPT, EACH)
        for cell in (f"{_sum(empty[way]).ns:.0f}", "", f"{_sum(empty[way]).runs:.1f}")
    ]


def _cells(
    own: Mapping[tuple[str, Way], Prices],
    what: str,
    floors: Mapping[Way, float] | None,
    names: Sequence[str] | None = None,
    *,
    bold: bool = False,
) -> list[str]:
    """Return the cells of programs by either way: all, or those of some names."""
    cells = []
    for way in (KEPT, EACH):
        mine = own[what, way]
        one = _sum(mine if names is None else {n: p for n, p in mine.items() if n in names})
        ratio = f"{one.ns / floors[way]:.2f}" if floors and what != "client" else ""
        cells += [f"{one.ns:.0f}", f"**{ratio}**" if bold and ratio else ratio, f"{one.runs:.1f}"]
    return cells
