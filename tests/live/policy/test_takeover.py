"""Enforcement outlives its agent: however that ends and comes again, nothing denied gets through."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from axon.kernel import tc
from tests.live.kit.enforcing import (
    DENIED,
    Enforcing,
    Traffic,
    launcher_of,
    object_of_another_layout,
    under,
)
from tests.live.kit.gate import expect_403, expect_nothing, inside, policy
from tests.live.kit.waiting import until
from tests.live.kit.wire import Listener, get
from tests.live.kit.world import World, ip

PUBLIC = "{path: /pub/*}"


@pytest.fixture(params=["loopback", "cable"])
def traffic(world: World, agent: Enforcing, request: pytest.FixtureRequest) -> Iterator[Traffic]:
    """Give an agent's traffic, allowed and denied, on one of two ways; nothing denied gets through."""
    if request.param == "loopback":
        listener = Listener(world, world.server, world.server, "127.0.0.1")
    else:
        listener = Listener(world, world.server, world.client, world.server.ip4)
    with under(agent, listener, policy("web", listener.port, PUBLIC)) as made:
        yield made


def test_killed(agent: Enforcing, traffic: Traffic) -> None:
    """What an agent has brought into force stays when it is killed, and when it comes again."""
    for _ in range(3):
        agent.kill()
        traffic.flows()
        agent.start()
        traffic.flows()
    assert traffic.broken == []


def test_restarted(agent: Enforcing, traffic: Traffic) -> None:
    """It stays as well over an end in good order, where the programs are to be kept."""
    for _ in range(2):
        agent.terminate()
        traffic.flows()
        agent.start()
        traffic.flows()
    assert traffic.broken == []
    assert "policies stay in force" in agent.said()


@pytest.mark.parametrize("end", [Enforcing.kill, Enforcing.terminate])
def test_other_room(agent: Enforcing, traffic: Traffic, end: object) -> None:
    """Another policy_memory is taken up without a moment in which nothing is judged."""
    assert callable(end)
    for size in ("1 MiB", "128 KiB", "16 MiB"):
        end(agent)
        agent.start(AXON_POLICY_MEMORY=size)
        traffic.flows()
    assert traffic.broken == []


def test_whether_answers_name_the_policy(agent: Enforcing, world: World) -> None:
    """Each agent has what its setting says, whether it takes over the gate's maps or makes others."""
    listener = Listener(world, world.server, world.server, "127.0.0.1")
    agent.write(policy("web", listener.port, PUBLIC))
    try:
        for named, size in (
            (False, ""),
            (True, ""),
            (False, "2 MiB"),
            (False, ""),
            (True, "2 MiB"),
        ):
            agent.start(AXON_POLICY_HEADER=str(named).lower(), AXON_POLICY_MEMORY=size)
            client = listener.connect().client
            client.sendall(get(DENIED))
            expect_403(client, name="default/web" if named else "")
            agent.kill()
    finally:
        listener.close()


def test_another_layout(agent: Enforcing, traffic: Traffic, tmp_path: Path) -> None:
    """An upgrade to another layout, and back, lets nothing through; connections may be reset. What was
    counted goes on, also of a policy whose number is another.
    """
    other = object_of_another_layout(tmp_path)
    counters = (
        'axon_policy_verdicts_total{policy="web",namespace="default",verdict="dropped"}',
        'axon_policy_verdicts_total{policy="web",namespace="default",verdict="forwarded"}',
        'axon_policy_denials_total{reason="rule"}',
    )
    for launcher in (launcher_of(other), ("-m", "axon")):
        before = [agent.metric(counter) for counter in counters]
        assert all(before)
        agent.kill()
        agent.write(policy(f"a{len(launcher[1])}", 1, PUBLIC), f"{len(launcher[1])}.yaml")
        agent.launcher = launcher
        agent.start()
        after = [agent.metric(counter) for counter in counters]
        assert all(was <= now for was, now in zip(before, after, strict=True)), (before, after)
        traffic.flows()
    assert len(traffic.broken) <= 2


def test_changed_while_away(agent: Enforcing, traffic: Traffic) -> None:
    """Policies that have changed while no agent ran are in force when the next one runs."""
    for size in ("", "2 MiB"):
        agent.kill()
        agent.write(policy("web", traffic.listener.port, "{path: /other}", "{path: /pub/a}"))
        agent.start(AXON_POLICY_MEMORY=size)
        traffic.allowed = "/other"
        traffic.flows()
        agent.kill()
        traffic.allowed = "/pub/a"
        traffic.flows()
        agent.write(policy("web", traffic.listener.port, PUBLIC))
        agent.start(AXON_POLICY_MEMORY=size)
        traffic.flows()
    assert traffic.broken == []


BAD = {
    "not YAML": "metadata: [",
    "unknown field": "apiVersion: axon.dev/v1alpha1\nkind: L7NetworkPolicy\nspec: {egress: []}\n",
}


@pytest.mark.parametrize("text", [*BAD.values(), "too many"], ids=[*BAD, "too many"])
def test_unusable_policies(agent: Enforcing, traffic: Traffic, text: str) -> None:
    """Where the files cannot be used at the start, what was in force stays, and /metrics says so."""
    if text == "too many":
        rules = [f"{{path: /a{i}}}" for i in range(256)]
        text = "---\n".join(policy(f"p{i}", traffic.listener.port, *rules) for i in range(65))
    assert agent.metric("axon_policy_current") == 1
    agent.kill()
    agent.write(text, "bad.yaml")
    agent.start()
    traffic.flows()
    assert agent.metric("axon_policy_current") == 0
    assert agent.metric(
        'axon_policy_verdicts_total{policy="web",namespace="default",verdict="dropped"}'
    )
    assert "policies in force stay" in agent.said()
    (agent.policies / "bad.yaml").unlink()
    time.sleep(1.5)
    assert agent.metric("axon_policy_current") == 1
    assert traffic.broken == []


def test_unusable_policies_and_other_room(agent: Enforcing, traffic: Traffic) -> None:
    """Where they would have to be brought into other maps, the agent refuses, and nothing changes."""
    agent.kill()
    agent.write(BAD["not YAML"], "bad.yaml")
    agent.refused(AXON_POLICY_MEMORY="1 MiB")
    traffic.flows()
    (agent.policies / "bad.yaml").unlink()
    assert "stay in force" in agent.refused(AXON_POLICY="", AXON_POLICY_MEMORY="1 MiB")
    traffic.flows()
    agent.start()
    traffic.flows()
    assert traffic.broken == []


def test_without_policies(agent: Enforcing, traffic: Traffic) -> None:
    """An agent without policies leaves those of another in force, also when it ends."""
    agent.kill()
    agent.start(AXON_POLICY="", AXON_KEEP="false")
    traffic.flows()
    assert agent.metric(
        'axon_policy_verdicts_total{policy="web",namespace="default",verdict="dropped"}'
    )
    agent.terminate()
    traffic.flows()
    assert traffic.broken == []


def test_without_policies_in_mode_off(world: World, agent: Enforcing) -> None:
    """So does one where the mode is off: switched on again they judge, also on an interface that has
    come since. It refuses to put empty tables in their place.
    """
    here = Listener(world, agent.place, agent.place, "127.0.0.1")
    later = ("-n", agent.place.name, "link")
    try:
        agent.write(policy("web", here.port, PUBLIC))
        agent.start()
        _mode(agent, "off")
        agent.kill()
        assert "stay as they are" in agent.refused(AXON_POLICY="", AXON_POLICY_MEMORY="1 MiB")
        agent.start(AXON_POLICY="", AXON_KEEP="false")
        here.connect().exchange(get(DENIED))
        ip(*later, "add", "later", "type", "veth", "peer", "down")
        ip(*later, "set", "later", "up")
        until(lambda: inside(agent.place, lambda: _judged("later")), "the new interface is judged")
        assert agent.healthy()
        agent.terminate()
        assert "in mode off" in agent.said()
        _mode(agent, "enforce")
        wire = here.connect()
        wire.exchange(get("/pub/a"))
        wire.client.sendall(get(DENIED))
        expect_403(wire.client)
        expect_nothing(wire.server)
    finally:
        here.close()
        agent.place.run("ip", "link", "del", "later", check=False)


def _judged(interface: str) -> bool:
    """Return whether a filter of ours is where packets arrive by an interface of this place."""
    return tc.attached(tc.Point(socket.if_nametoindex(interface))) != 0


def _mode(agent: Enforcing, word: str) -> None:
    """Switch the mode."""
    words = ("policy", "mode", word, "--pin-dir", str(agent.pins))
    agent.place.run(sys.executable, "-m", "axon", *words)


def test_a_start_that_fails(agent: Enforcing, traffic: Traffic) -> None:
    """An agent that cannot start leaves what was in force, whether it is to keep it or not."""
    agent.kill()
    for more in ({}, {"AXON_POLICY_MEMORY": "1 MiB"}):
        agent.refused(AXON_KEEP="false", AXON_ROUTES="/missing", **more)
        traffic.flows()
    agent.start()
    traffic.flows()
    assert traffic.broken == []


def test_a_port_that_is_taken(agent: Enforcing, traffic: Traffic) -> None:
    """Who has the agent's ports keeps none from looking after policies; it is told, and tried again."""
    agent.kill()
    with _taken(agent) as listen:
        agent.start(AXON_API_LISTEN=listen)
        assert f"Cannot listen on {listen}" in agent.client.health().problem
        agent.write(policy("web", traffic.listener.port, "{path: /other}"))
        traffic.allowed = "/other"
        traffic.flows()
        assert not agent.healthy()
        agent.kill()
        agent.start()
        assert not agent.healthy()
    until(agent.healthy, "it has the port")
    assert agent.metric("axon_policy_current") == 1
    agent.kill()
    with _taken(agent):
        agent.start(AXON_POLICY="")
        traffic.flows()


@contextmanager
def _taken(agent: Enforcing) -> Iterator[str]:
    """Take the port on which the agent's metrics are to be; give the address."""
    with agent.place.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", agent.port))
        sock.listen()
        yield f"127.0.0.1:{agent.port}"


def test_killed_at_any_time(agent: Enforcing, traffic: Traffic) -> None:
    """An agent that is killed at its start, whenever, leaves the old state in force or the new."""
    agent.kill()
    took = time.monotonic()
    agent.start()
    took = time.monotonic() - took
    agent.kill()
    for i in range(10):
        agent.launch(AXON_POLICY_MEMORY=("1 MiB", "2 MiB")[i % 2])
        time.sleep(took * (0.3 + 0.07 * i))
        agent.kill()
        traffic.flows()
    agent.start()
    traffic.flows()
    assert traffic.broken == []


def test_the_end(agent: Enforcing, traffic: Traffic) -> None:
    """Without keep the end of the agent is that of enforcement, which it says; nothing is left."""
    agent.kill()
    agent.start(AXON_KEEP="false")
    traffic.flows()
    traffic.stop()
    agent.terminate()
    assert "policies are not in force any more" in agent.said()
    assert not agent.pins.exists()
    assert inside(agent.place, lambda: [tc.chain(tc.Point(i)) for i in (1, 2)]) == [[], []]


def test_detach(agent: Enforcing, traffic: Traffic) -> None:
    """Detaching takes off every filter, also those of an agent that died within its start."""
    agent.kill()
    traffic.stop()
    said = agent.place.run(sys.executable, "-m", "axon", "detach", "--pin-dir", str(agent.pins))
    assert "policies are not in force any more" in said
    assert inside(agent.place, lambda: [tc.chain(tc.Point(i)) for i in (1, 2)]) == [[], []]
