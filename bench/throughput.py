"""Throughput of a saturated nginx with Axon against without, interleaved in one run."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.hooked import NOTHING, Scope, hooked, of_axon, of_step, rates
from bench.kernel import floor
from bench.report import Table, spread
from bench.world import CLIENT_CPU, axon, cgroup, let, nginx, require, served, start, wrk


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
_TURN = 0.1  # seconds: behind each change connections are found anew, which takes a fraction of a millisecond
_TAILS = 6  # blocks of which the tail is measured


class _Load:
    """A client of one nginx, stopped until its turn comes."""

    def __init__(self, all_: ExitStack, url: str, group: Path, case: Case) -> None:
        command = ["wrk", "-t1", f"-c{case.connections}", "-d3600s", url]
        if case.close:
            command[1:1] = ["-H", "Connection: close"]
        self._url = url
        self._client = start(command, cpu=CLIENT_CPU, group=group, stdout=subprocess.DEVNULL)
        all_.callback(self._client.wait)
        all_.callback(self._client.kill)
        time.sleep(0.3)
        self._client.send_signal(signal.SIGSTOP)
        self._served = served(url)

    def run(self, seconds: float) -> int:
        """Let it ask for a while; return how many requests nginx has read."""
        before = self._served
        let(self._client, seconds)
        self._served = served(self._url)
        return self._served - before - 1


def measure(*, blocks: int = 12, seconds: float = 8.0) -> Table:
    """Measure each case without Axon, and with it on the server's side, the client's and both: the same nginx and client,
    for servers differ by where in memory they lie.

    Beside them: without once more as a control, and programs that do nothing, and that do the least that an observer must,
    at both ends.
    """
    require("nginx", "wrk")
    table = Table(
        "Throughput of a saturated nginx", "make bench BENCH=throughput",
        ["", "without, requests a second",
         *[f"{s}'s side" if s != "both" else "both on one host" for s, _ in SIDES], "P99, both against without",
         "without, again", "empty programs, both", "floor programs, both"],
    )  # fmt: skip
    with ExitStack() as all_:
        server, client, spare = (
            all_.enter_context(cgroup(n)) for n in ("server", "client", "spare")
        )
        programs = all_.enter_context(floor(Path(all_.enter_context(TemporaryDirectory()))))
        places = {"server": [server], "client": [client]}
        states: dict[str, Scope] = {BASE: NOTHING, CONTROL: NOTHING}
        for step in (EMPTY, FLOOR):
            states[step] = (of_step(programs, step), [server, client])
        for side, roles in SIDES:
            kernel = all_.enter_context(_attached(spare, roles, side))
            states[side] = (of_axon(kernel), places.get(side, [server, client]))
        for case in CASES:
            rates_, tails = [], []
            for block in range(blocks):
                url = f"http://127.0.0.1:{18709 + block % 2}{case.path}"
                with ExitStack() as its:
                    # whose the sockets are is noted when they are made
                    with hooked(*states.values()):
                        its.enter_context(nginx(server, 18709 + block % 2))
                        load = _Load(its, url, client, case)
                    rates_.append(rates(states, load.run, seconds=seconds, turn=_TURN))
                    if block < _TAILS:
                        tails.append(_tail(states, url, client, case))
            _add(table, case, rates_, median(tails))
    table.notes.append(
        f"Medians and quartiles of {blocks} blocks of {seconds:g} s, with an nginx and a client of its own each, to "
        "whose cgroups programs are attached for a tenth of a second at a time; against the mean of both without. "
        "On loopback the sender's core runs the receiver's hook: with both sides on one host, nginx's core runs a "
        "program of each. Beside Axon: without once more against the first, which shows the machine's own noise; "
        "programs that do nothing; and the floor of the measurement above, the least that an observer of packets does."
    )
    return table


def _tail(states: Mapping[str, Scope], url: str, client: Path, case: Case) -> float:
    """Return the P99 with both sides observed, as a multiple of that without, of a second's run."""
    found = []
    for state in ("both", BASE):
        with hooked(states[state]):
            load = wrk(url, seconds=1, connections=case.connections, group=client, close=case.close)
            found.append(load.p99_us)
    return found[0] / found[1]


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
