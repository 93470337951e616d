"""Throughput of a saturated nginx with Axon against without, interleaved in one run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from bench.report import Table
from bench.world import Load, axon, cgroup, nginx, require, wrk


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


def measure(*, rounds: int = 12, seconds: int = 1) -> Table:
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
        for name in (BASE, CONTROL):
            all_.enter_context(nginx(plain, ports[name]))
        for side, roles in SIDES:
            all_.enter_context(_attached(groups[side], roles, side))
            all_.enter_context(nginx(groups[side], ports[side]))
        for case in CASES:
            runs: dict[str, list[Load]] = {}
            order = list(ports)
            for _ in range(rounds):
                order.append(order.pop(0))
                for name in order:
                    where = groups.get(name, client)
                    url = f"http://127.0.0.1:{ports[name]}{case.path}"
                    load = wrk(
                        url,
                        seconds=seconds,
                        connections=case.connections,
                        group=where,
                        close=case.close,
                    )
                    runs.setdefault(name, []).append(load)
            _add(table, case, runs)
    table.notes.append(
        f"Medians and quartiles of {rounds} interleaved rounds of {seconds:g} s. On loopback the sender's core runs the "
        "receiver's hook: with both sides on one host, nginx's core runs a program of each. The control, a second "
        "nginx without Axon, shows what the machine's own noise is."
    )
    return table


def _attached(group: Path, roles: str, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return axon(group, roles=roles, pin_dir=f"/sys/fs/bpf/axon-bench-{name}")


def _add(table: Table, case: Case, runs: dict[str, Sequence[Load]] | dict[str, list[Load]]) -> None:
    base = median(r.rate for r in runs[BASE])
    cells = [case.name, f"{base:,.0f}"]
    for side in (CONTROL, *dict(SIDES)):
        ratios = [a.rate / b.rate for a, b in zip(runs[side], runs[BASE], strict=True)]
        low, _, high = quantiles(ratios, n=4)
        cells.append(f"{median(ratios) * 100:.1f} % ({low * 100:.1f} to {high * 100:.1f})")
        if side in {"both", "server"}:
            what = "on one host with its client" if side == "both" else "server's side"
            table.brief.append((f"Throughput of a saturated nginx, {case.name}, {what}",
                                f"{median(ratios) * 100:.1f} %"))  # fmt: skip
    p99 = median(a.p99_us / b.p99_us for a, b in zip(runs["both"], runs[BASE], strict=True))
    cells.append(f"× {p99:.2f}")
    table.rows.append(cells)
