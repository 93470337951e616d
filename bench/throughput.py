"""Throughput of a saturated nginx with Axon against without, interleaved in one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from bench.report import Table
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
BASE, CONTROL = "without", "without, again"


def measure(*, blocks: int = 10, seconds: float = 4.0) -> Table:
    """Measure each case without Axon, and with it on the server's side, the client's and both.

    A second nginx without Axon is the control: by how much it differs from the first is noise.
    """
    require("nginx", "wrk")
    table = Table(
        "Throughput of a saturated nginx", "make bench BENCH=throughput",
        ["", "without, requests a second", "the same again",
         *[f"{s}'s side" if s != "both" else "both on one host" for s, _ in SIDES], "P99, both against without"],
    )  # fmt: skip
    with ExitStack() as all_:
        plain, client = (all_.enter_context(cgroup(n)) for n in ("plain", "outside"))
        groups = {side: all_.enter_context(cgroup(side)) for side, _ in SIDES}
        ports = {BASE: 18710, CONTROL: 18709} | {
            side: 18711 + i for i, (side, _) in enumerate(SIDES)
        }
        for side, roles in SIDES:
            all_.enter_context(_attached(groups[side], roles, side))
        for case in CASES:
            urls = {
                name: (f"http://127.0.0.1:{port}{case.path}", groups.get(name, client))
                for name, port in ports.items()
            }
            rates, tails = [], []
            for _ in range(blocks):
                # anew for each block: where in memory a server lies makes a difference of some per cent
                with ExitStack() as servers:
                    for name, port in ports.items():
                        servers.enter_context(nginx(groups.get(name, plain), port))
                    rates.append(
                        turns(urls, seconds=seconds, connections=case.connections, close=case.close)
                    )
                    tails.append(_tail(urls, case))
            _add(table, case, rates, median(tails))
    table.notes.append(
        f"Medians and quartiles of {blocks} blocks of {seconds:g} s, in which all take turns of a twentieth of a "
        "second. On loopback the sender's core runs the receiver's hook: with both sides on one host, nginx's core "
        "runs a program of each. The control, a second nginx without Axon, shows the machine's own noise."
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


def _add(table: Table, case: Case, rates: Sequence[Mapping[str, float]], p99: float) -> None:
    cells = [case.name, f"{median(block[BASE] for block in rates):,.0f}"]
    for side in (CONTROL, *dict(SIDES)):
        ratios = [block[side] / block[BASE] for block in rates]
        low, _, high = quantiles(ratios, n=4)
        cells.append(f"{median(ratios) * 100:.1f} % ({low * 100:.1f} to {high * 100:.1f})")
        if side in {"both", "server"}:
            what = "on one host with its client" if side == "both" else "server's side"
            table.brief.append((f"Throughput of a saturated nginx, {case.name}, {what}",
                                f"{median(ratios) * 100:.1f} %"))  # fmt: skip
    cells.append(f"× {p99:.2f}")
    table.rows.append(cells)
