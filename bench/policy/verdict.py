"""The gate's own time a request by the number of rules, by the kernel's statistics of its program."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from axon.kernel import bpf
from bench.cable import LOOPBACK
from bench.load import Asker, Way
from bench.policy.rules import PATH, policy
from bench.policy.world import enforce, judging
from bench.report import Table
from bench.world import cgroup, nginx, require

_PORTS = {rules: 18751 + i for i, rules in enumerate((1, 100, 1000, 10_000))}
_MANY = 999  # other workloads
_ELSEWHERE = 30_000
_HOST = (_MANY + 1) * 100


class _Kind(NamedTuple):
    """One way to ask."""

    name: str
    path: str
    way: Way


_KINDS = (
    _Kind("keep-alive, the same head", PATH, Way(16)),
    _Kind("keep-alive, another head each", f"{PATH}?n=########", Way(16)),
    _Kind("a connection each", PATH, Way(16, close=True)),
    _Kind("a connection and another head each", f"{PATH}?n=########", Way(16, close=True)),
)


def measure(*, rounds: int = 3, seconds: float = 1.0) -> Table:
    """Measure each number of rules with each kind of request, over loopback."""
    require("nginx", "gcc")
    table = Table(
        "A verdict, by the number of rules", "make bench BENCH=policy",
        ["rules on the workload", *[f"{k.name}, ns a request" for k in _KINDS]],
    )  # fmt: skip
    runs: dict[str, float] = {}
    with ExitStack() as all_:
        folder = Path(all_.enter_context(TemporaryDirectory(prefix="axon-bench-")))
        ours, client = (all_.enter_context(cgroup(n)) for n in ("judged", "outside"))
        kernel, enforcer = all_.enter_context(judging(ours, [LOOPBACK.ifindex]))
        for port in _PORTS.values():
            all_.enter_context(nginx(ours, port))
        ask = Asker(folder, client)
        mine = [policy(port, rules) for rules, port in _PORTS.items()]
        many = [policy(_ELSEWHERE + i, 100) for i in range(_MANY)]
        kernel.measure_runs(on=True)
        program = kernel._programs["ax_gate"]  # noqa: SLF001

        def once(port: int, kind: _Kind) -> float:
            before = bpf.prog_info(program)
            way = kind.way._replace(turn_ms=seconds * 1e3)
            requests = ask(LOOPBACK, {"": f":{port}{kind.path}"}, way, seconds=seconds / 2)[""].ok
            after = bpf.prog_info(program)
            runs[kind.name] = (after.run_cnt - before.run_cnt) / requests
            spent: int = after.run_time_ns - before.run_time_ns
            return spent / requests

        for title, policies, ports in (
            ("{:,}", mine, _PORTS),
            (f"{{:,}}, of {_HOST:,} on the host", [mine[1], *many], {100: _PORTS[100]}),
        ):
            enforce(enforcer, policies)
            best: dict[tuple[int, str], float] = {}
            for _ in range(rounds):
                for rules, port in ports.items():
                    for kind in _KINDS:
                        at = rules, kind.name
                        best[at] = min(once(port, kind), best.get(at, 1e9))
            table.rows += [
                [title.format(rules), *[f"{best[rules, kind.name]:,.0f}" for kind in _KINDS]]
                for rules in ports
            ]
    table.notes.append(
        f"Least of {rounds} rounds of {seconds:g} s, 16 connections, {PATH!r}. The gate sees each packet on loopback, of both "
        "directions: "
        + "; ".join(f"{name}: {n:.1f} runs a request" for name, n in runs.items())
        + ". Taking the time of a run is in the figures. The same head again on a connection is compared; any other one is read, and judged anew."
    )
    return table
