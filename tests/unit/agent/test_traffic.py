"""What was asked in the last hours: who is told apart, what is counted where, and how much is kept."""

from __future__ import annotations

import ipaddress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from axon.agent.counts import Asked, Counts, Local, Workload
from axon.agent.traffic import Traffic
from axon.kernel import load_abi

OWN, THERE, LOOP = "10.0.0.1", "10.0.0.7", "127.0.0.1"
WEB = Workload(5, "nginx", 80)


class Clock:
    """A time that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        """Return it."""
        return self.now


def raw(text: str) -> NDArray[np.uint8]:
    """Return the 16 bytes of an IPv4 address, mapped."""
    return np.frombuffer(bytes(10) + b"\xff\xff" + ipaddress.ip_address(text).packed, np.uint8)


def comm(text: str) -> NDArray[np.uint8]:
    """Return a command as the kernel keeps it."""
    return np.frombuffer(text.encode().ljust(16, b"\0"), np.uint8)


class World:
    """A memory, and series and flow records of one server and its callers."""

    def __init__(self, *, clients: bool = True, hours: float = 6) -> None:
        self.abi = load_abi()
        self.clock = Clock()
        own = {raw(OWN).tobytes()}
        self.memory = Traffic(
            self.abi,
            lambda n: f"/r{n}",
            lambda: own,
            hours=hours,
            clients=clients,
            clock=self.clock,
        )
        self.keys = np.zeros(0, self.abi.key)
        self.counts: list[int] = []

    def series(self, count: int, *, route: int = 1, peer: str = "", caller: str = "") -> int:
        """Add a series of the server, or of a client on this host; return its slot."""
        key = np.zeros(1, self.abi.key)
        role = "CLIENT" if caller else "SERVER"
        key["cgroup"], key["comm"] = (9, comm(caller)) if caller else (WEB.cgroup, comm("nginx"))
        key["role"] = self.abi.enum("ax_role")[f"AX_ROLE_{role}"]
        key["port"], key["route"] = WEB.port, route
        key["method"] = self.abi.enum("ax_method")["AX_METHOD_GET"]
        if peer:
            key["peer"] = raw(peer)
        self.keys = np.append(self.keys, key)
        self.counts.append(count)
        return len(self.counts) - 1

    def look(self, *, created: float = 2000.0) -> None:
        """Show the series to the memory."""
        self.clock.now += 10
        n = len(self.counts)
        snapshot: Any = SimpleNamespace(
            slots=np.arange(n),
            gens=np.ones(n, np.uint32),
            keys=self.keys,
            count=np.array(self.counts, np.uint64),
            created=np.full(n, int(created * 1e9), np.uint64),
        )
        self.memory.look(snapshot)

    def flow(self, path: str, *, caller: str = "", verdict: str = "NONE", at: str = LOOP) -> None:
        """Show a flow record of the server's side, or of a caller's, from or at an address."""
        record = np.zeros(1, self.abi.flow)
        role = "CLIENT" if caller else "SERVER"
        record["role"] = self.abi.enum("ax_role")[f"AX_ROLE_{role}"]
        record["cgroup"], record["comm"] = (9, comm(caller)) if caller else (5, comm("nginx"))
        record["lport"], record["rport"] = (40000, 80) if caller else (80, 40000)
        record["laddr"], record["raddr"] = (raw(OWN), raw(OWN)) if caller else (raw(OWN), raw(at))
        record["method"] = self.abi.enum("ax_method")["AX_METHOD_GET"]
        record["route"], record["path_len"], record["host_len"] = 1, len(path), 1
        record["path"][0, : len(path)] = list(path.encode())
        record["host"][0, 0] = ord("h")
        record["verdict"] = self.abi.enum("ax_verdict")[f"AX_VERDICT_{verdict}"]
        self.memory.take(record)

    def total(self) -> dict[tuple[Any, str], int]:
        """Return the counts by caller and route."""
        return {(asked.caller, asked.route): n for asked, n, _, _ in self.memory.total()}


@pytest.fixture
def world() -> World:
    """Give an empty memory."""
    return World()


def test_callers_of_other_hosts(world: World) -> None:
    """They are known by their address where the series tells them apart, and counted exactly."""
    slot = world.series(3, peer=THERE)
    world.series(2)
    world.look()
    world.counts[slot] += 4
    world.look()
    assert world.total() == {(THERE, "/r1"): 7, (None, "/r1"): 2}


def test_callers_of_this_host(world: World) -> None:
    """They are counted by their own series, and not again by the server's."""
    world.series(3, peer=LOOP)
    world.series(3, peer=LOOP, caller="curl")
    world.look()
    assert world.total() == {(Local(9, "curl", LOOP), "/r1"): 3}


def test_callers_without_series_of_their_own() -> None:
    """Where the client's side is not observed, callers of this host are not told apart."""
    world = World(clients=False)
    world.series(3, peer=LOOP)
    world.look()
    assert world.total() == {(None, "/r1"): 3}


def test_containers_of_this_host(world: World) -> None:
    """A caller at the host's own address is one of its own if a flow record says so; else it is counted
    by the address that it comes from.
    """
    world.series(5, peer=OWN, caller="curl")
    world.series(5, peer=THERE)
    world.look()
    assert world.total() == {(THERE, "/r1"): 5}
    world.flow("/a")
    world.flow("/a", caller="curl")
    world.counts[0] += 1
    world.look()
    assert world.total()[Local(9, "curl", OWN), "/r1"] == 1


def test_requests_to_other_hosts_are_no_part(world: World) -> None:
    """What is asked of another host is none of this one's policies' business."""
    world.series(5, peer=THERE, caller="curl")
    world.look()
    assert world.total() == {}


def test_what_was_counted_before_is_left_out(world: World) -> None:
    """Series that are older than the memory count from then on."""
    slot = world.series(1000, peer=THERE)
    world.look(created=10)
    world.counts[slot] += 1
    world.look(created=10)
    assert sum(world.total().values()) == 1


def test_samples_and_denials(world: World) -> None:
    """Paths that were asked for stand beside a route; what was denied to others stands by itself."""
    world.series(9, peer=THERE)
    for n in range(9):
        world.flow(f"/p{n}", at=THERE)
    world.flow("/secret", verdict="DROPPED", at=THERE)
    world.flow("/mine", verdict="DROPPED", at=LOOP)
    world.look()
    found = {
        (asked.route, denied): (n, samples) for asked, n, denied, samples in world.memory.total()
    }
    assert found == {
        ("/r1", False): (9, [(f"/p{n}", "h") for n in range(4)]),
        ("/secret", True): (1, [("/secret", "")]),
    }


def test_what_is_old_goes(world: World) -> None:
    """After some hours a request is forgotten, with its paths."""
    world.series(3, peer=THERE)
    world.flow("/a", at=THERE)
    world.look()
    for _ in range(7):
        world.clock.now += 3600
        world.look()
    assert world.total() == {}
    assert not world.memory._samples


def test_it_is_bounded() -> None:
    """What there is no room for is counted, and what is remembered goes on."""
    counts = Counts(6, Clock())
    for n in range(20):
        counts.add(Asked(WEB, None, "GET", f"/{n}"), 2, 10)
    counts.add(Asked(WEB, None, "GET", "/0"), 5, 10)
    assert len(counts.total()) == 10
    assert counts.total()[Asked(WEB, None, "GET", "/0")] == 7
    assert counts.lost == 20
