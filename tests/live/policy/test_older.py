"""What is older than Axon: servers and callers are known by their command as those are that it has seen start, and a
connection is not read where nobody knows what its next bytes are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.kit.enforcing import Enforcing, launcher_of, object_of_another_layout, under
from tests.live.kit.gate import End, expect_403, expect_nothing, policy, rest
from tests.live.kit.wire import Listener, Wire, get, head, post
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
PUBLIC = "{path: /pub/*}"
ALLOWED = get("/pub/a")
_BODY = 10 * b"x" + ALLOWED
PARTS = {
    "length": post("/pub/in", _BODY)[: -len(ALLOWED)],
    "chunk": head("POST /pub/in HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
    + b"%x\r\n" % len(_BODY)
    + _BODY[:10],
    "head": b"GET /pub/a HTTP/1.1\r\nHost: a\r\nX: ",
}
"""What a client has sent of a message, by what it is within; the rest begins like an allowed request."""


@pytest.fixture(params=["loopback", "cable"])
def listener(world: World, request: pytest.FixtureRequest) -> Iterator[Listener]:
    """Give a server that listens before there is an agent, asked on its host or from another."""
    near = request.param == "loopback"
    client, address = (world.server, "127.0.0.1") if near else (world.client, world.server.ip4)
    made = Listener(world, world.server, client, address)
    yield made
    made.close()


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


def within_messages(listener: Listener) -> dict[str, Wire]:
    """Return connections that are each within a message, which the server has read until there."""
    wires = {}
    for name, part in PARTS.items():
        wires[name] = listener.connect()
        wires[name].exchange(ALLOWED)
        wires[name].ask(part)
    return wires


def expect_resets(agent: Enforcing, wires: dict[str, Wire]) -> None:
    """Fail unless both ends of each connection are reset by what looks like an allowed request, and nothing is read."""
    reason = 'axon_policy_denials_total{reason="position"}'
    for name, wire in wires.items():
        before = agent.metric(reason)
        wire.client.sendall(ALLOWED)
        assert (name, rest(wire.server)) == (name, End(b"", "reset"))
        assert (name, rest(wire.client)) == (name, End(b"", "reset"))
        assert agent.metric(reason) > before, name


def test_within_a_message(agent: Enforcing, listener: Listener) -> None:
    """Where a connection is within a message that began before there was an agent is not guessed: a body can look
    like a head. One on which nothing was sent yet goes on.
    """
    agent.write(policy("web", listener.port, PUBLIC))
    wires, idle = within_messages(listener), listener.connect()
    agent.start()
    expect_resets(agent, wires)
    idle.exchange(ALLOWED)
    idle.client.sendall(get("/secret"))
    expect_403(idle.client)
    expect_nothing(idle.server)


def test_within_a_message_of_another_layout(
    agent: Enforcing, listener: Listener, tmp_path: Path
) -> None:
    """Nor is it where an agent with another layout of the kernel's tables knew, and has judged what came until then."""
    good, agent.launcher = agent.launcher, launcher_of(object_of_another_layout(tmp_path))
    agent.write(policy("web", listener.port, PUBLIC))
    agent.start()
    wires = within_messages(listener)
    agent.kill()
    agent.launcher = good
    agent.start()
    expect_resets(agent, wires)
    wire = listener.connect()
    wire.exchange(ALLOWED)
