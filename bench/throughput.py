"""Throughput of a saturated nginx with Axon against without, interleaved in one run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
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


def measure(*, rounds: int = 5, seconds: int = 2) -> Table:
    """Measure each case without Axon, and with it on the server's side, the client's and both."""
    require("nginx", "wrk")
    table = Table(
        "Throughput of a saturated nginx", "make bench BENCH=throughput",
        ["", "without, requests a second", *[f"{s}'s side" if s != "both" else "both on one host" for s, _ in SIDES],
         "P99, both against without"],
    )  # fmt: skip
    with ExitStack() as all_:
        plain, client = (all_.enter_context(cgroup(n)) for n in ("plain", "outside"))
        groups = {side: all_.enter_context(cgroup(side)) for side, _ in SIDES}
        ports = {"none": 18710} | {side: 18711 + i for i, (side, _) in enumerate(SIDES)}
        all_.enter_context(nginx(plain, ports["none"]))
        for side, roles in SIDES:
            all_.enter_context(_attached(groups[side], roles, side))
            all_.enter_context(nginx(groups[side], ports[side]))
        for case in CASES:
            runs: dict[str, list[Load]] = {}
            for _ in range(rounds):
                for name, port in ports.items():
                    where = client if name == "none" else groups[name]
                    url = f"http://127.0.0.1:{port}{case.path}"
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
        f"Medians of {rounds} interleaved rounds of {seconds:g} s; on loopback the sender's core runs the receiver's "
        "hook, so both ends' programs share the two cores. The rest of the share is within the spread of the rounds, "
        "which is given behind it."
    )
    return table


def _attached(group: Path, roles: str, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return axon(group, roles=roles, pin_dir=f"/sys/fs/bpf/axon-bench-{name}")


def _add(table: Table, case: Case, runs: dict[str, Sequence[Load]] | dict[str, list[Load]]) -> None:
    base = median(r.rate for r in runs["none"])
    cells = [case.name, f"{base:,.0f}"]
    for side, _ in SIDES:
        ratios = [a.rate / b.rate for a, b in zip(runs[side], runs["none"], strict=True)]
        cells.append(
            f"{median(ratios) * 100:.1f} % ({min(ratios) * 100:.0f} to {max(ratios) * 100:.0f})"
        )
        if side in {"both", "server"}:
            what = "on one host with its client" if side == "both" else "server's side"
            table.brief.append((f"Throughput of a saturated nginx, {case.name}, {what}",
                                f"{median(ratios) * 100:.1f} %"))  # fmt: skip
    p99 = median(a.p99_us / b.p99_us for a, b in zip(runs["both"], runs["none"], strict=True))
    cells.append(f"× {p99:.2f}")
    table.rows.append(cells)
