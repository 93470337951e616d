"""What becomes of filters and of where cables lead, while others move and remove them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import pytest

from axon.agent import points
from axon.agent.points import Points
from axon.kernel import tc
from axon.kernel.gate import Gate
from axon.kernel.netlink import Filter, Interface

HERE = Interface(index=1, name="lo", kind="", up=True, loopback=True)
CABLE = Interface(index=2, name="pod1", kind="veth", up=True, loopback=False, netns=7)
IN, OUT = tc.Point(2), tc.Point(2, egress=True)


class Host:
    """Interfaces, their filters, and a gate's table of where they lead."""

    program = 5

    def __init__(self) -> None:
        self.interfaces = [HERE, CABLE]
        self.filters: dict[tc.Point, list[Filter]] = {}
        self.links: dict[int, int] = {}
        self.meddles: Callable[[], None] = lambda: None
        """What somebody does as soon as a filter is attached."""

    def attach(self, point: tc.Point) -> None:
        """Attach a filter."""
        here = Filter(tc.PRIORITY, tc.HANDLE, "bpf", self.program, 4 * point.port)
        self.filters[replace(point, port=False)] = [here]
        self.meddles()

    def beyond(self) -> dict[int, int]:
        """Return where interfaces lead."""
        return dict(self.links)

    def lead(self, ifindex: int, netns: int) -> None:
        """Write where an interface leads."""
        self.links[ifindex] = netns

    def forget(self, ifindex: int) -> None:
        """Forget it."""
        self.links.pop(ifindex, None)

    def detach(self, point: tc.Point) -> bool:
        """Detach the filter."""
        return self.filters.pop(replace(point, port=False), None) is not None

    def chain(self, point: tc.Point) -> list[Filter]:
        """Return the filters of a point."""
        return self.filters.get(replace(point, port=False), [])

    def be(self, **changed: object) -> None:
        """Have the cable be another."""
        self.interfaces = [HERE, replace(CABLE, **changed)]  # type: ignore[arg-type]

    def points(self) -> Points:
        """Return what looks after the filters."""
        return Points(cast("Gate", self))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """Give a host with a cable to a container."""
    made = Host()
    monkeypatch.setattr(points, "interfaces", lambda: made.interfaces)
    monkeypatch.setattr(tc, "chain", made.chain)
    monkeypatch.setattr(tc, "detach", made.detach)
    monkeypatch.setattr(tc, "ahead", lambda _: 0)
    return made


@pytest.fixture
def looking(host: Host) -> Iterator[Points]:
    """Give what has looked at it once."""
    made = host.points()
    assert set(host.filters) == {tc.Point(1), IN, OUT}
    assert host.links == {2: 7}
    yield made
    made.close()


@pytest.mark.parametrize("what", [{"netns": -1}, {"uplink": True}], ids=["here", "uplink"])
def test_a_cable_that_is_a_container_s_no_more(
    host: Host, looking: Points, what: dict[str, object]
) -> None:
    """What arrives by it is judged on, but it leads to no other network namespace."""
    host.be(**what)
    looking.look()
    assert set(host.filters) == {tc.Point(1), IN}
    assert host.links == {}


def test_an_interface_that_goes(host: Host, looking: Points) -> None:
    """Nothing of it is kept."""
    host.interfaces = [HERE]
    looking.look()
    assert set(host.filters) == {tc.Point(1)}
    assert host.links == {}


def test_a_cable_that_is_moved(host: Host, looking: Points) -> None:
    """It leads to where its other end is now, also if it was moved while no agent was there."""
    host.be(netns=8)
    looking.look()
    assert host.links == {2: 8}
    host.be(netns=9)
    host.points().close()
    assert host.links == {2: 9}
    assert looking.repairs.total() == 0


def test_a_filter_that_is_removed_at_once(host: Host, looking: Points) -> None:
    """A filter that has gone before it was looked at again is told of, and is back at the next look."""
    host.filters.clear()
    host.meddles = host.filters.clear
    looking.look()
    assert looking.states["unjudged"] == 2
    assert "has been removed again" in looking.problem
    host.meddles = lambda: None
    looking.look()
    assert looking.states == {"judged": 2, "behind": 0, "unjudged": 0}
    assert host.links == {2: 7}


def test_a_cable_that_becomes_a_port(host: Host, looking: Points) -> None:
    """It tells its bridge what comes out of it instead of being judged, also behind an earlier agent."""
    bridge = Interface(index=3, name="br0", kind="bridge", up=True, loopback=False)
    ported = replace(CABLE, master=3)
    for now, port, links in (
        ([HERE, ported, bridge], True, {2: 7, 3: -2}),
        ([HERE, CABLE, bridge], False, {2: 7, 3: -2}),
        ([HERE, ported, bridge], True, {2: 7, 3: -2}),
    ):
        host.interfaces = now
        looking.look()
        assert tc.is_for_port(host.filters[IN][0]) == port
        assert host.links == links
    host.interfaces = [HERE, CABLE]
    host.points().close()
    assert not tc.is_for_port(host.filters[IN][0])
    assert host.links == {2: 7}
