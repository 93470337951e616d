"""Servers and callers that are older than Axon are known by their command as those are that it has seen start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.kit.enforcing import Enforcing, launcher_of, object_of_another_layout, under
from tests.live.kit.gate import expect_403, expect_nothing, rest
from tests.live.kit.wire import Listener, get
from tests.live.kit.world import World

POLICY = """
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {{name: web}}
spec:
  podSelector: {{matchLabels: {{axon.dev/command: "{command}"}}}}
  ingress:
    - from: [{{podSelector: {{matchLabels: {{axon.dev/command: "{caller}"}}}}}}]
      httpRules: [{{path: /pub/*}}]
"""
WE = Path("/proc/self/comm").read_text().rstrip("\n")


@pytest.fixture
def server(world: World) -> Iterator[Listener]:
    """Give a server on this host that listens before there is an agent."""
    made = Listener(world, world.server, world.server, "127.0.0.1")
    yield made
    made.close()


def test_selected_by_its_command(agent: Enforcing, server: Listener) -> None:
    """A policy that selects by the command selects what has listened before, and what that has accepted."""
    before = server.connect()
    agent.write(POLICY.format(command=WE, caller=WE))
    agent.start()
    wire = server.connect()
    wire.exchange(get("/pub/a"))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)
    before.client.sendall(get("/secret"))
    assert rest(before.server, 1.0).data == b""


def test_a_caller_by_its_command(agent: Enforcing, server: Listener) -> None:
    """Whom a connection belonged to before is known as well."""
    before = server.connect()
    agent.write(POLICY.format(command=WE, caller=WE))
    agent.start()
    before.exchange(get("/pub/a"))


def test_another_layout(agent: Enforcing, world: World, server: Listener, tmp_path: Path) -> None:
    """An upgrade to another layout of the kernel's tables forgets nobody's command."""
    other = object_of_another_layout(tmp_path)
    with under(agent, server, POLICY.format(command=WE, caller=WE)) as traffic:
        for launcher in (launcher_of(other), ("-m", "axon")):
            agent.kill()
            agent.launcher = launcher
            agent.start()
            traffic.flows()
        assert len(traffic.broken) <= 2
