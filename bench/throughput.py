"""Throughput of a saturated nginx with Axon against without, interleaved in one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.kernel import attached, floor
from bench.report import Table, spread
from bench.world import axon, cgroup, nginx, require, turns, wrk


class Case(NamedTuple):
    """One kind of request."""

    name: str
    path: str
    connections: int
    close: bool


CASES = (
    Case("17-byte answer, keep-alive", "/", 32, close=False),
    Case("8 KiB static file, keep-alive", "/static/8k", 32, close=False),
    Case("17-byte answer, a connection each", "/", 32, close=True),
)
SIDES = (("server", "server"), ("client", "client"), ("both", "server,client"))
BASE, CONTROL, EMPTY, FLOOR = "without", "again", "empty", "floor"
OTHERS = (CONTROL, EMPTY, FLOOR)


_TAILS = 8  # blocks of which the tail is measured


def measure(*, blocks: int = 32, seconds: float = 2.5) -> Table:
    """Measure each case without Axon, and with it on the server's side, the client's and both.

    Beside them: a second nginx without Axon as a control, and programs that do nothing, and that do the least that an
    observer must, at both ends. Many short blocks: servers differ by where in memory they lie, a server from itself
    hardly.
    """
    require("nginx", "wrk")
    table = Table(
        "Throughput of a saturated nginx", "make bench BENCH=throughput",
        ["", "without, requests a second",
         *[f"{s}'s side" if s != "both" else "both on one host" for s, _ in SIDES], "P99, both against without",
         "without, again", "empty programs, both", "floor programs, both"],
    )  # fmt: skip
    with ExitStack() as all_:
        plain, client = (all_.enter_context(cgroup(n)) for n in ("plain", "outside"))
        groups = {side: all_.enter_context(cgroup(side)) for side, _ in SIDES}
        folder = Path(all_.enter_context(TemporaryDirectory()))
        programs = all_.enter_context(floor(folder))
        for step in (EMPTY, FLOOR):
            groups[step] = all_.enter_context(cgroup(step))
            all_.enter_context(attached(programs, step, groups[step]))
        ports = {name: 18709 + i for i, name in enumerate((BASE, *OTHERS, *dict(SIDES)))}
        for side, roles in SIDES:
            all_.enter_context(_attached(groups[side], roles, side))
        for case in CASES:
            urls = {
                name: (f"http://127.0.0.1:{port}{case.path}", groups.get(name, client))
                for name, port in ports.items()
            }
            rates, tails = [], []
            for block in range(blocks):
                with ExitStack() as servers:
                    for name, port in ports.items():
                        servers.enter_context(nginx(groups.get(name, plain), port))
                    rates.append(
                        turns(urls, seconds=seconds, connections=case.connections, close=case.close)
                    )
                    if block < _TAILS:
                        tails.append(_tail(urls, case))
            _add(table, case, rates, median(tails))
    table.notes.append(
        f"Medians and quartiles of {blocks} blocks of {seconds:g} s, with servers of its own each, in which all take "
        "turns of a twentieth of a second; against the mean of both nginx without Axon. On loopback the sender's core runs the receiver's hook: with both sides on one host, nginx's core "
        "runs a program of each. Beside Axon: the second nginx without it against the first, which shows the machine's "
        "own noise; programs that do nothing; and the floor of the measurement above, the least that an observer of packets does."
    )
    return table


def _tail(urls: Mapping[str, tuple[str, Path]], case: Case) -> float:
    """Return the P99 with both sides observed, as a multiple of that without, of a second's run."""
    both, base = (
        wrk(urls[n][0], seconds=1, connections=case.connections, group=urls[n][1], close=case.close).p99_us
        for n in ("both", BASE)
    )  # fmt: skip
    return both / base


def _attached(group: Path, roles: str, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return axon(group, roles=roles, pin_dir=f"/sys/fs/bpf/axon-bench-{name}")


def _base(block: Mapping[str, float], side: str) -> float:
    return block[BASE] if side == CONTROL else (block[BASE] + block[CONTROL]) / 2


def _add(table: Table, case: Case, rates: Sequence[Mapping[str, float]], p99: float) -> None:
    cells = [case.name, f"{median(block[BASE] for block in rates):,.0f}"]
    shares = {}
    for side in (*dict(SIDES), *OTHERS):
        ratios = [block[side] / _base(block, side) for block in rates]
        shares[side] = spread(ratios)
        if side in {"both", "server"}:
            what = "on one host with its client" if side == "both" else "server's side"
            table.brief.append((f"Throughput of a saturated nginx, {case.name}, {what}",
                                f"{median(ratios) * 100:.1f} %"))  # fmt: skip
    cells += [shares[side] for side, _ in SIDES]
    cells += [f"× {p99:.2f}", *(shares[name] for name in OTHERS)]
    table.rows.append(cells)
