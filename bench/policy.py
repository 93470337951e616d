"""What judging costs: throughput of allowed requests, and nanoseconds a verdict by the number of rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

from axon.kernel import Kernel, bpf, tc
from axon.policy.compile import Host
from axon.policy.enforcer import Enforcer
from axon.policy.load import parse_policies
from bench.report import Table
from bench.world import axon, cgroup, nginx, require, turns, wrk

PATH = "/api/users/0123456789/orders/0123456789/items/0123456789abcd"  # 60 bytes
_JUDGED, _PLAIN, _AGAIN = 18721, 18722, 18723
_LO = 1
_ENFORCE = 2
_RULES = (3, 100, 1000, 10_000)
_AN_ENTRY = 250


def _policy(port: int, rules: int) -> str:
    """Return a policy of so many rules (three at least); the last one allows what is asked."""
    paths = [f"/service-{i}/items/{{id}}" for i in range(max(rules - 3, 0))] + ["/", "/count", PATH]
    lines = [
        "apiVersion: axon.dev/v1alpha1",
        "kind: L7NetworkPolicy",
        f"metadata: {{name: bench-{port}}}",
        "spec:",
        f'  podSelector: {{matchLabels: {{axon.dev/port: "{port}"}}}}',
        "  ingress:",
    ]
    for first in range(0, len(paths), _AN_ENTRY):
        lines.append("    - httpRules:")
        lines += [
            f'        - {{method: GET, path: "{p}"}}' for p in paths[first : first + _AN_ENTRY]
        ]
    return "\n".join(lines)


@contextmanager
def judging(kernel: Kernel) -> Iterator[Enforcer]:
    """Have the loopback device judged."""
    kernel.gate.attach(tc.Point(_LO), inward=False)
    kernel.gate.mode = _ENFORCE
    yield Enforcer(kernel.gate, kernel.quiesce)  # detaching the kernel takes the gate off


def measure(*, blocks: int = 6, seconds: float = 4.0) -> Table:
    """Measure nginx with and without a policy, both observed, in turns; then the gate's own time."""
    require("nginx", "wrk")
    table = Table("What a policy costs", "make bench BENCH=policy", ["", "figure"])
    with ExitStack() as all_:
        ours, client = (all_.enter_context(cgroup(n)) for n in ("judged", "outside"))
        kernel = all_.enter_context(axon(ours, policy_memory=64 << 20))
        enforcer = all_.enter_context(judging(kernel))
        enforcer.apply(parse_policies(_policy(_JUDGED, 100), "bench"), Host())
        for close in (False, True):
            _throughput(table, ours, client, close=close, blocks=blocks, seconds=seconds)
        with nginx(ours, _JUDGED), nginx(ours, _PLAIN):
            kernel.measure_runs(on=True)
            for rules in _RULES:
                enforcer.apply(parse_policies(_policy(_JUDGED, rules), "bench"), Host())
                for close in (False, True):
                    _time(table, kernel, client, rules=rules, close=close)
    table.notes.append(
        f"Medians and quartiles of {blocks} blocks of {seconds:g} s in turns of a twentieth of a second, two servers without a "
        "policy beside the one with 100 rules; all are observed. The time a request is that of the gate on the loopback "
        "device, for the packets of both directions, by the kernel's program statistics; a repeated head is compared, "
        "a connection for each request is read and judged anew each time."
    )
    return table


def _throughput(
    table: Table, ours: Path, client: Path, *, close: bool, blocks: int, seconds: float
) -> None:
    names = {"judged": _JUDGED, "plain": _PLAIN, "again": _AGAIN}
    urls = {name: (f"http://127.0.0.1:{port}/", client) for name, port in names.items()}
    rates: list[Mapping[str, float]] = []
    for _ in range(blocks):
        with ExitStack() as servers:
            for port in names.values():
                servers.enter_context(nginx(ours, port))
            rates.append(turns(urls, seconds=seconds, connections=32, close=close))
    kind = "a connection each" if close else "keep-alive"
    for name, what in (("judged", "with 100 rules"), ("again", "without, again")):
        ratios = [block[name] / block["plain"] for block in rates]
        low, _, high = quantiles(ratios, n=4)
        share = f"{median(ratios) * 100:.1f} %"
        table.rows.append(
            [f"throughput, {kind}, {what}", f"{share} ({low * 100:.1f} to {high * 100:.1f})"]
        )
        if name == "judged":
            table.brief.append((f"Throughput of a saturated nginx with 100 rules, {kind}", share))


def _time(table: Table, kernel: Kernel, client: Path, *, rules: int, close: bool) -> None:
    program = kernel._programs["ax_gate"]  # noqa: SLF001
    times = []
    for _ in range(3):
        before = bpf.prog_info(program)
        load = wrk(
            f"http://127.0.0.1:{_JUDGED}{PATH}",
            seconds=2,
            connections=16,
            group=client,
            close=close,
        )
        after = bpf.prog_info(program)
        times.append((after.run_time_ns - before.run_time_ns) / max(load.rate * 2, 1))
    kind = "a connection each" if close else "keep-alive"
    table.rows.append([f"gate, {rules:,} rules, {kind}", f"{min(times):.0f} ns a request"])
