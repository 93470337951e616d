"""The filters in front of sockets are watched: what becomes of them is seen, told and mended."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator

import pytest

from axon.kernel import bpf, tc
from axon.kernel.insn import R0, leave, mov
from axon.kernel.netlink import interfaces
from tests.live.kit.enforcing import Enforcing, Traffic, take_all, under
from tests.live.kit.gate import inside, policy
from tests.live.kit.waiting import until
from tests.live.kit.wire import Listener
from tests.live.kit.world import World, ip

PUBLIC = "{path: /pub/*}"
_QUICK = 1.0
CABLE = "cable1"
_TCX_INGRESS = 46  # enum bpf_attach_type


@pytest.fixture
def traffic(world: World, agent: Enforcing) -> Iterator[Traffic]:
    """Give an agent's traffic over the cable, allowed and denied; nothing denied gets through."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    with under(agent, listener, policy("web", listener.port, PUBLIC)) as made:
        yield made


def chain(agent: Enforcing, interface: str = CABLE) -> list[bool]:
    """Return the filters on an interface's ingress in their order: whether each is ours."""

    def read() -> list[bool]:
        (index,) = [one.index for one in interfaces() if one.name == interface]
        return [tc.is_ours(one) for one in tc.chain(tc.Point(index))]

    return inside(agent.place, read)


@pytest.mark.parametrize(
    "what",
    [
        ["filter", "del", "dev", CABLE, "ingress"],
        ["qdisc", "del", "dev", CABLE, "clsact"],
    ],
    ids=["filter", "qdisc"],
)
def test_removed(agent: Enforcing, traffic: Traffic, what: list[str]) -> None:
    """A filter that somebody removes is put back at once, which /metrics and the log say."""
    for i in range(1, 4):
        agent.place.run("tc", *what)
        until(lambda: chain(agent) == [True], "the filter is back", _QUICK)
        traffic.flows()
        assert agent.metric('axon_policy_filter_repairs_total{was="missing"}') >= i
    assert traffic.broken == []
    assert "a filter was put back" in agent.said()
    assert agent.metric('axon_policy_interfaces{state="judged"}') == 2


def test_removed_while_no_agent_runs(agent: Enforcing, traffic: Traffic) -> None:
    """Where a filter is removed and no agent is there, nothing passes until one is."""
    agent.kill()
    agent.place.run("tc", "qdisc", "del", "dev", CABLE, "clsact")
    before, tried = traffic.answered, traffic.tried
    until(lambda: traffic.tried > tried + 5, "there were denied requests")
    assert traffic.answered <= before + 1
    agent.start()
    traffic.flows()


def test_a_new_interface(agent: Enforcing, traffic: Traffic, world: World) -> None:
    """An interface that comes later is judged, and one that goes is forgotten."""
    inside_place = ("-n", agent.place.name)
    for _ in range(2):
        ip(*inside_place, "link", "add", "later", "type", "veth", "peer", "down")
        ip(*inside_place, "link", "set", "later", "up")
        until(lambda: chain(agent, "later") == [True], "the new interface is judged", _QUICK)
        traffic.flows()
        assert agent.metric('axon_policy_interfaces{state="judged"}') == 3
        ip(*inside_place, "link", "del", "later")
        until(
            lambda: agent.metric('axon_policy_interfaces{state="judged"}') == 2,
            "the interface is forgotten",
        )
    assert agent.healthy()
    assert agent.metric('axon_policy_filter_repairs_total{was="missing"}') == 0
    assert traffic.broken == []


def test_another_filter_in_front(agent: Enforcing, traffic: Traffic) -> None:
    """A program that is put in front of ours, and lets everything by, comes behind it again."""
    take_all(agent.place, CABLE, protocol="all")
    until(lambda: chain(agent) == [True, False], "ours is the first", _QUICK)
    traffic.flows()
    assert agent.metric('axon_policy_filter_repairs_total{was="behind"}') == 1
    assert "behind another one" in agent.said()
    assert traffic.broken == []
    agent.place.run("tc", "qdisc", "del", "dev", CABLE, "clsact")


def test_our_place_is_taken(agent: Enforcing, world: World) -> None:
    """Where the first place is another's the interface is not judged: that is told, what arrives
    for the workload is dropped, and it is judged as soon as the place is free.
    """
    place = ("dev", CABLE, "ingress")
    agent.place.run("tc", "qdisc", "replace", "dev", CABLE, "clsact")
    take_all(agent.place, CABLE, protocol="ip")
    listener = Listener(world, world.server, world.client, world.server.ip4)
    agent.write(policy("web", listener.port, PUBLIC))
    agent.start()
    traffic = Traffic(listener)
    try:
        assert agent.metric('axon_policy_interfaces{state="unjudged"}') == 1
        assert agent.metric('axon_policy_interfaces{state="judged"}') == 1
        assert not agent.healthy()
        assert CABLE in agent.client.health().problem
        listener.socket.settimeout(1)
        with pytest.raises(AssertionError, match="there is traffic"):
            traffic.start(seconds=2)
        assert traffic.answered == 0
        agent.place.run("tc", "filter", "del", *place, "prio", "1")
        until(agent.healthy, "the interface is judged", _QUICK * 3)
        traffic.flows()
    finally:
        traffic.stop()
        listener.close()
    assert traffic.reached == 0


def doctor(agent: Enforcing) -> tuple[str, str]:
    """Return what the doctor says of who is first where requests are judged: the row's state, and its text."""
    said = json.loads(agent.place.run(sys.executable, "-m", "axon", "doctor", "-o", "json"))
    (row,) = [one for one in said["features"] if one["name"] == "first in place"]
    return row["state"], row["detail"]


def test_the_doctor_names_who_is_there(agent: Enforcing, world: World) -> None:
    """An interface where the first place is another's is named with what is there: by the doctor, with an agent or
    without, and by the agent's health; it is counted as not judged.
    """
    assert doctor(agent)[0] == "ok"
    agent.place.run("tc", "qdisc", "replace", "dev", CABLE, "clsact")
    take_all(agent.place, CABLE, protocol="ip")
    there = "a filter of kind bpf with priority 1"
    try:
        assert doctor(agent)[0] == "degraded"
        agent.write(policy("web", world.port(), PUBLIC))
        agent.start()
        state, text = doctor(agent)
        assert (state, f"{CABLE} (ingress): {there}:" in text) == ("degraded", True)
        assert "lo (" not in text
        assert there in agent.client.health().problem
        assert agent.metric('axon_policy_interfaces{state="unjudged"}') == 1
        agent.place.run("tc", "filter", "del", "dev", CABLE, "ingress", "prio", "1")
        until(agent.healthy, "the interface is judged", _QUICK * 3)
        assert doctor(agent)[0] == "ok"
        assert agent.metric('axon_policy_interfaces{state="unjudged"}') == 0
    finally:
        agent.place.run("tc", "qdisc", "del", "dev", CABLE, "clsact")


def test_a_program_before_every_filter(agent: Enforcing, traffic: Traffic) -> None:
    """A program that runs before every filter (tcx) is named too; behind one that lets all by everything is judged."""

    def attach() -> bpf.Fd:
        go_on = mov(R0, -1) + leave()
        with bpf.prog_load(bpf.PROG_SCHED_CLS, "not_ours", go_on, _TCX_INGRESS) as program:
            return bpf.link_create(program, socket.if_nametoindex(CABLE), _TCX_INGRESS)

    with inside(agent.place, attach):
        until(lambda: agent.metric('axon_policy_interfaces{state="behind"}') == 1, "it is seen", 10)
        state, text = doctor(agent)
        assert (state, f"{CABLE} (ingress): the program not_ours (tcx):" in text) == (
            "degraded",
            True,
        )
        traffic.flows()
        assert "not_ours" in agent.said()
    assert doctor(agent)[0] == "ok"
    assert traffic.broken == []
