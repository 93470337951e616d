"""At which interfaces packets are to be judged, so that each is read once on its way to a socket."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from axon.kernel import tc
from axon.kernel.gate import BRIDGE, OTHERS, PORTS
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

    The ports of a bridge that judges tell it what comes out of them. What comes by a cable from
    another such bridge has been told there.
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
        if stacked.tells(one.index):
            found.append(Way(tc.Point(one.index, port=True), one.name))
            beyond[one.index] = OTHERS
        if (other := stacked.beyond(one.index)) != OTHERS:
            beyond[one.index] = other
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

    def tells(self, index: int) -> bool:
        """Is an interface a port of a bridge that judges, and not joined to another such bridge?"""
        return self._is_told(self._up[index].master) and not self._is_joint(index)

    def beyond(self, index: int) -> int:
        """Return the network namespace of the container that what arrives comes out of, or OTHERS, PORTS, BRIDGE."""
        one = self._up[index]
        while one.kind in _UPPERS and one.lower in self._up:
            one = self._up[one.lower]
        if _is_cable(one):
            return one.netns
        if self._is_joint(one.index):
            return BRIDGE
        return PORTS if self._is_told(one.index) else OTHERS

    def _is_told(self, master: int) -> bool:
        here = self._up.get(master)
        if here is None or here.kind != "bridge":
            return False
        return master not in self._ports or self._defer(master)

    def _is_joint(self, index: int) -> bool:
        """Does a cable join two bridges here that judge?"""
        one = self._up[index]
        if one.kind != "veth" or one.netns >= 0 or one.lower not in self._up:
            return False
        return self._is_told(one.master) and self._is_told(self._up[one.lower].master)

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
