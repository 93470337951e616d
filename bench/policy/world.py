"""Kernel and servers of these measurements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from axon.kernel import Kernel, tc
from axon.policy.compiler.compile import Host
from axon.policy.compiler.layout import HostMode
from axon.policy.enforcer import Enforcer
from axon.policy.files.load import parse_policies
from bench.world import axon


@contextmanager
def judging(group: Path, interfaces: Iterable[int]) -> Iterator[tuple[Kernel, Enforcer]]:
    """Observe a cgroup, and judge what arrives at interfaces; nothing is selected yet."""
    with axon(group, policy_memory=256 << 20) as kernel:
        for ifindex in interfaces:
            kernel.gate.attach(tc.Point(ifindex))
        kernel.gate.mode = HostMode.ENFORCE
        yield (
            kernel,
            Enforcer(kernel.gate, kernel.quiesce),
        )  # detaching the kernel takes the gate off


def enforce(enforcer: Enforcer, policies: Iterable[str]) -> None:
    """Have policies, as text, in force and no others."""
    enforcer.apply(parse_policies("\n---\n".join(policies), "bench"), Host())


def spread(values: Sequence[float]) -> str:
    """Return median and quartiles of ratios as percentages."""
    low, _, high = quantiles(values, n=4)
    return f"{median(values) * 100:.1f} % ({low * 100:.1f} to {high * 100:.1f})"
