"""At which interfaces packets are to be judged, so that each is read once on its way to a socket."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from axon.kernel import tc
from axon.kernel.gate import OTHERS, PORTS
from axon.kernel.netlink import Interface

_UPPERS = {"vlan", "macvlan", "macvtap", "ipvlan"}
_UNREAD = 2
"""So many VLAN tags the gate does not read behind; one the kernel has taken off a packet's data before."""


class Way(NamedTuple):
    """A point, and its interface's name."""

    point: tc.Point
    interface: str


class Ways(NamedTuple):
    """All points, and by index what is on the interfaces' other ends: see Gate.lead."""

    points: Mapping[tc.Point, Way]
    beyond: Mapping[int, int]


def ways(known: Iterable[Interface]) -> Ways:
    """Return where packets are to be judged: what arrives here, and what is sent to a container.

    A cable to another network namespace is a container's, unless a default route leads there. Of
    interfaces on top of each other one judges, for a packet arrives at each of them in turn:

    - a bridge, bond, team or failover device in the place of its ports; but its ports, if what comes
      by one of them has been judged further below;
    - in the place of a VLAN, or a macvlan, what it is on; but the VLAN, if that does not judge, or if
      its packets had a second tag there.

    A bridge that judges for containers is told by its ports what comes out of which; what comes to
    one over a cable from another bridge has been told there.
    """
    up = {one.index: one for one in known if one.up}
    stacked = _Stacks(up)
    found = []
    beyond: dict[int, int] = {}
    for one in up.values():
        if stacked.judges(one.index):
            found.append(Way(tc.Point(one.index), one.name))
        if _is_cable(one):
            found.append(Way(tc.Point(one.index, egress=True), one.name))
            beyond[one.index] = one.netns
    for master, ports in stacked.bridges().items():
        beyond[master] = PORTS
        for port in ports:
            found.append(Way(tc.Point(port, port=True), up[port].name))
            beyond.setdefault(port, stacked.container(port))
    return Ways({way.point: way for way in found}, beyond)


def _is_cable(one: Interface) -> bool:
    return one.kind == "veth" and one.netns >= 0 and not one.uplink


class _Stacks:
    """Interfaces on top of each other, by their indices."""

    def __init__(self, up: Mapping[int, Interface]) -> None:
        self._up = up
        self._ports: dict[int, list[int]] = {}
        for index, one in up.items():
            # what arrives at a port arrives at its master then, but in a VRF only by name
            if one.master in up and up[one.master].kind != "vrf":
                self._ports.setdefault(one.master, []).append(index)
        self.judges = cache(self._judges)
        self._since = cache(self._tags_since)
        self._defer = cache(self._all_defer)

    def container(self, index: int) -> int:
        """Return the network namespace of the container that what arrives comes out of, or OTHERS."""
        one = self._up[index]
        while one.kind in _UPPERS and one.lower in self._up:
            one = self._up[one.lower]
        return one.netns if _is_cable(one) else OTHERS

    def bridges(self) -> Mapping[int, list[int]]:
        """Return the masters that judge for containers, each with those of its ports that tell."""
        joined = {master: self._joined(ports) for master, ports in self._ports.items()}
        judge = {master for master in joined if self._defer(master)}
        known: set[int] = set()
        more = {
            master
            for master in judge
            if any(self.container(port) != OTHERS for port in self._ports[master])
        }
        while more:
            known |= more
            more = {peer for master in more for peer in joined[master] & judge} - known
        return {
            master: [port for port in self._ports[master] if not self._is_joint(port)]
            for master in known
        }

    def _is_joint(self, index: int) -> bool:
        """Is an interface one end of a cable whose other end is here as well?"""
        return self._up[index].kind == "veth" and self._up[index].netns < 0

    def _joined(self, ports: Iterable[int]) -> set[int]:
        """Return the masters at the other ends of cables that both end here."""
        peers = (self._up[port].lower for port in ports if self._is_joint(port))
        return {self._up[peer].master for peer in peers if peer in self._up}

    def _judges(self, index: int) -> bool:
        """Are packets judged as they arrive at an interface?"""
        return self._since(index) == _UNREAD and not self._defer(self._up[index].master)

    def _all_defer(self, master: int) -> bool:
        """Is what arrives at the ports of a master left to that? No port may have it judged already."""
        ports = self._ports.get(master)
        return ports is not None and all(self._since(port) == _UNREAD for port in ports)

    def _tags_since(self, index: int) -> int:
        """Return how many VLAN tags were taken off what arrives since it was judged; _UNREAD if it
        was not, or had too many tags to be read.
        """
        one = self._up[index]
        if one.kind in _UPPERS and one.lower in self._up:
            return min(_UNREAD, self._behind(one.lower) + (one.kind == "vlan"))
        return max(map(self._behind, self._ports.get(index, ())), default=_UNREAD)

    def _behind(self, index: int) -> int:
        """Return the same for what has passed an interface."""
        return 0 if self.judges(index) else self._since(index)
