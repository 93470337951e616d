"""Where packets are to be judged on a host's interfaces."""

from __future__ import annotations

from axon.agent.points import ways
from axon.kernel.netlink import Interface


def interface(index: int, kind: str = "", **more: object) -> Interface:
    """Return an interface that is up, named after its index."""
    fields = {"name": f"i{index}", "up": True, "loopback": False} | more
    return Interface(index=index, kind=kind, **fields)  # type: ignore[arg-type]


def found(*known: Interface) -> dict[tuple[int, bool], int]:
    """Return each point's network namespace by its interface and whether it is what is sent."""
    return {(p.ifindex, p.egress): way.netns for p, way in ways(known).items()}


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
