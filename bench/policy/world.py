"""Kernel and servers of these measurements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from axon.kernel import Kernel, tc
from axon.policy.compiler.compile import Host
from axon.policy.compiler.layout import HostMode
from axon.policy.enforcer import Enforcer
from axon.policy.files.load import parse_policies
from bench.cable import LOOPBACK, Cable, cable
from bench.load import Asker
from bench.policy.rules import policy
from bench.policy.sidecars import RULES
from bench.world import CLIENT_CPU, SERVER_CPU, axon, cgroup


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


class Scene(NamedTuple):
    """What is measured over loopback and over a cable: where servers are judged, and where they are
    not even observed; by which way they are asked, and who asks.
    """

    judged: Path
    plain: Path
    ends: Mapping[str, Cable]
    kernel: Kernel
    ask: Asker


@contextmanager
def scene(port: int) -> Iterator[Scene]:
    """Set everything up but servers, with rules for what is asked of the judged one at a port."""
    with ExitStack() as all_:
        folder = Path(all_.enter_context(TemporaryDirectory(prefix="axon-bench-")))
        judged, plain, outside = (
            all_.enter_context(cgroup(name)) for name in ("judged", "plain", "outside")
        )
        end = all_.enter_context(cable(here=SERVER_CPU, there=CLIENT_CPU))
        kernel, enforcer = all_.enter_context(judging(judged, [LOOPBACK.ifindex, end.ifindex]))
        enforce(enforcer, [policy(port, RULES)])
        ends = {"loopback": LOOPBACK, "cable": end}
        yield Scene(judged, plain, ends, kernel, Asker(folder, outside))
