"""Policies that have grown with the host to more than half of the room that the kernel has for them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.kit.enforcing import Enforcing, under
from tests.live.kit.gate import policy
from tests.live.kit.waiting import until
from tests.live.kit.wire import Listener
from tests.live.kit.world import World

CALLERS = 130
CALLED = """\
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {{name: called-{0}}}
spec:
  podSelector: {{matchLabels: {{axon.dev/port: "{0}"}}}}
  ingress: [{{from: [{{podSelector: {{matchExpressions: [{{key: axon.dev/unit, operator: Exists}}]}}}}]}}]
"""


@pytest.fixture
def units(world: World) -> Iterator[list[Path]]:
    """Give paths of units that do not run yet; they are gone afterwards."""
    paths = [world.cgroup / f"grown-{n}.service" for n in range(CALLERS)]
    yield paths
    for path in paths:
        if path.exists():
            path.rmdir()


def test_it_is_told_and_taken_over(agent: Enforcing, world: World, units: list[Path]) -> None:
    """What is in force denies on; that it does not follow the host makes the agent unhealthy, and the
    next agent, with the same settings, has it follow again.
    """
    agent.write("---\n".join(CALLED.format(n) for n in range(1, 4)), "called.yaml")
    listener = Listener(world, world.server, world.server, "127.0.0.1")
    with under(agent, listener, policy("web", listener.port, "{path: /pub/*}")) as traffic:
        agent.kill()
        agent.start(AXON_POLICY_MEMORY="64 KiB")
        traffic.flows()
        assert agent.process
        agent.process.send_signal(signal.SIGSTOP)
        *first, last = units
        for path in first:
            path.mkdir()
        agent.process.send_signal(signal.SIGCONT)
        until(lambda: "more than half of policy_memory" in agent.said(), "they have grown")
        assert agent.healthy()
        last.mkdir()
        until(lambda: not agent.healthy(), "it is told")
        assert "not kept up with this host: The policies need" in agent.client.health().problem
        traffic.flows()
        for end in (Enforcing.kill, Enforcing.terminate):
            end(agent)
            agent.start(AXON_POLICY_MEMORY="64 KiB")
            assert agent.healthy(), agent.client.health().problem
            assert agent.metric("axon_policy_current") == 1
            traffic.flows()
    assert len(traffic.broken) <= 2
