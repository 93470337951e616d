"""Where packets are to be judged on a host's interfaces."""

from __future__ import annotations

from axon.agent.ways import ways
from axon.kernel.netlink import Interface


def interface(index: int, kind: str = "", **more: object) -> Interface:
    """Return an interface that is up, named after its index."""
    fields = {"name": f"i{index}", "up": True, "loopback": False} | more
    return Interface(index=index, kind=kind, **fields)  # type: ignore[arg-type]


def found(*known: Interface) -> dict[tuple[int, bool], int]:
    """Return by each point that judges, its interface and whether it is what is sent, where that leads."""
    points, beyond = ways(known)
    return {
        (p.ifindex, p.egress): beyond[p.ifindex] if p.egress else -1 for p in points if not p.port
    }


def told(*known: Interface) -> dict[int, int]:
    """Return what the bridges are told of each of their ports."""
    points, beyond = ways(known)
    return {p.ifindex: beyond[p.ifindex] for p in points if p.port}


def test_what_arrives() -> None:
    """What arrives is judged on every interface that is up."""
    assert found(interface(1, loopback=True), interface(2), interface(3, up=False)) == {
        (1, False): -1,
        (2, False): -1,
    }


def test_a_container_s_cable() -> None:
    """Both directions of a cable to another namespace are judged, but of an uplink what arrives."""
    cable, pair = interface(2, "veth", netns=7), interface(3, "veth")
    uplink = interface(4, "veth", netns=0, uplink=True)
    assert found(cable, pair, uplink) == {
        (2, False): -1,
        (2, True): 7,
        (3, False): -1,
        (4, False): -1,
    }


def test_of_stacked_interfaces_one_judges() -> None:
    """A bridge judges in the place of its ports, and a port with a VLAN in the place of that."""
    bridge, port = interface(5, "bridge"), interface(6, "veth", netns=1, master=5)
    card, tagged = interface(7), interface(8, "vlan", lower=7)
    assert found(bridge, port, card, tagged) == {(5, False): -1, (6, True): 1, (7, False): -1}
    down = interface(7, up=False)
    assert found(down, tagged) == {(8, False): -1}
    assert found(interface(9, "vrf"), interface(2, master=9)) == {(9, False): -1, (2, False): -1}


def test_whatever_has_ports() -> None:
    """So does a card of a virtual machine that has a faster one as its port; Open vSwitch's inner ports
    judge for the others.
    """
    synthetic, function = interface(2), interface(3, master=2)
    assert found(synthetic, function) == {(2, False): -1}
    switch, inner = interface(4, "openvswitch"), interface(5, "openvswitch")
    assert found(switch, inner, interface(6, master=4)) == {(4, False): -1, (5, False): -1}


def test_a_bridge_of_vlans() -> None:
    """What a card has judged its VLAN's bridge does not judge again; that bridge's other ports do."""
    card, tagged = interface(2), interface(3, "vlan", lower=2, master=5)
    bridge, port = interface(5, "bridge"), interface(6, "veth", netns=1, master=5)
    assert found(card, tagged, bridge, port) == {(2, False): -1, (6, False): -1, (6, True): 1}
    bond, slave = interface(7, "bond"), interface(8, master=7)
    tagged = interface(3, "vlan", lower=7, master=5)
    assert found(bond, slave, tagged, bridge) == {(7, False): -1}


def test_a_vlan_beside_a_bridge() -> None:
    """A VLAN judges for itself where what it is on leaves that to a bridge, or leaves it to one, too."""
    port, bridge = interface(2, master=4), interface(4, "bridge")
    tagged = interface(3, "vlan", lower=2)
    assert found(port, bridge, tagged) == {(3, False): -1, (4, False): -1}
    tagged = interface(3, "vlan", lower=2, master=5)
    assert found(port, bridge, tagged, interface(5, "bridge")) == {(4, False): -1, (5, False): -1}


def test_two_vlan_tags() -> None:
    """Behind a second tag the inner VLAN judges, or its bridge, and a third tag's VLAN does not."""
    card, outer = interface(2), interface(3, "vlan", lower=2)
    inner, third = interface(4, "vlan", lower=3), interface(5, "vlan", lower=4)
    mac = interface(6, "macvlan", lower=4)
    assert found(card, outer, inner, third, mac) == {(2, False): -1, (4, False): -1}
    inner = interface(4, "vlan", lower=3, master=7)
    assert found(card, outer, inner, interface(7, "bridge")) == {(2, False): -1, (7, False): -1}
    outer, bridge = interface(3, "vlan", lower=2, master=7), interface(7, "bridge")
    assert found(card, outer, bridge, interface(8, "vlan", lower=7)) == {
        (2, False): -1,
        (8, False): -1,
    }


def test_ports_tell() -> None:
    """The ports of a bridge that judges tell it what comes out of them, a VLAN of a cable, too."""
    bridge, card = interface(5, "bridge"), interface(2, master=5)
    assert ways([bridge]).beyond == {5: -2}
    assert told(bridge, card) == {2: -1}
    pod = interface(3, "veth", netns=7, master=5)
    assert told(bridge, card, pod) == {2: -1, 3: 7}
    above = interface(9, "vlan", lower=5)
    assert ways([bridge, card, pod, above]).beyond == {5: -2, 2: -1, 3: 7, 9: -2}
    cable, tagged = interface(3, "veth", netns=7), interface(4, "vlan", lower=3, master=5)
    below = interface(3, "veth", netns=7, master=6), interface(6, "bridge")
    assert told(bridge, card, cable, tagged) == {}
    assert ways([bridge, card, cable, tagged]).beyond == {3: 7, 4: 7}
    assert told(bridge, card, *below, tagged) == {2: -1, 3: 7, 4: 7}
    assert told(interface(5, "bond"), card) == {}


def test_bridges_that_are_joined() -> None:
    """What comes from another bridge that is told has been told there; of what does not, it is told."""
    first, second = interface(5, "bridge"), interface(6, "bridge")
    ends = interface(7, "veth", lower=8, master=5), interface(8, "veth", lower=7, master=6)
    card, pod = interface(2, master=5), interface(3, "veth", netns=7, master=6)
    joined = ways([first, second, *ends, card, pod])
    assert {p.ifindex for p in joined.points if p.port} == {2, 3}
    assert joined.beyond == {5: -2, 6: -2, 2: -1, 3: 7, 7: -3, 8: -3}
    assert told(first, ends[0], interface(8, "veth", lower=7), card) == {2: -1, 7: -1}
    judging, tagged = interface(10), interface(2, "vlan", lower=10, master=5)
    assert told(first, second, *ends, judging, tagged, pod) == {3: 7, 8: -1}
