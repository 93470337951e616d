"""The kernel's filters of flows and the agent's say the same about every request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from axon.agent.matching import compile_filter, passes
from axon.api.filters import FlowFilter, parse
from axon.api.schema import Finish
from tests.live.agent.conftest import Running, Server
from tests.live.kit.axon import Attacher, Axon
from tests.live.kit.waiting import until
from tests.live.kit.world import World

LONG = "/bytes/100000/".ljust(64, "a")
FILTERS = [
    "method=GET",
    "method=POST,DELETE",
    "method=_OTHER",
    "method=GET&not=method",
    "status=5xx",
    "status=404",
    "status=200-299&not=status",
    "path=/status/",
    "path=/status/*&not=path",
    f"path={LONG}",
    "path=/bytes/1000000",
    "address=10.77.0.0/24",
    "address=10.77.0.1",
    "address=10.77.0.3",
    "address=10.77.0.0/25&not=address",
    "address=fd77::/16",
    "min_duration=0.1",
    "min_duration=0.1&not=min_duration",
    "role=client",
    "role=server&not=role",
    "command=python3",
    "command=python",
    "error=true",
    "error=true&not=error",
    "error=true&status=500",
    "method=GET&role=server&path=/status/&status=4xx",
    "method=GET&role=server&path=/status/&status=4xx&not=method,path",
    "port=1",
    "server_port=1&not=server_port",
]
PATHS = [
    ("GET", "/"),
    ("GET", "/status/404"),
    ("GET", "/status/500"),
    ("POST", "/status/503?q=/bytes/"),
    ("PUT", "/bytes/10"),
    ("DELETE", "/status/204"),
    ("BREW", "/status/418"),
    ("GET", LONG + "/x"),
    ("GET", LONG[:-1] + "?"),
    ("GET", "/slow"),
    ("GET", "/abort"),
]


@pytest.fixture(scope="module")
def axon(attach_live: Attacher) -> Iterator[Axon]:
    """Attach a data plane whose filters are this module's."""
    made = attach_live()
    made.kernel.ctl["flow_interval"] = 0
    made.kernel.ctl["error_interval"] = 0
    yield made
    made.kernel.ctl["filters"] = 0


@pytest.mark.parametrize("batch", range(0, len(FILTERS), 7))
def test_kernel_and_agent_agree(axon: Axon, server: Server, batch: int) -> None:
    """Of varied requests each filter takes those, in the kernel, that it takes in an array."""
    kernel = axon.kernel
    wanted = [
        parse([part.split("=", 1) for part in text.split("&")])  # type: ignore[misc]
        for text in FILTERS[batch : batch + 7]
    ]
    everything = FlowFilter()
    kernel.ring().read()
    for i, one in enumerate([*wanted, everything]):
        kernel.filters[i] = compile_filter(kernel.abi, one)
        kernel.filters["active"][i] = 1
    last = len(wanted)
    kernel.ctl["filters"] = (1 << (last + 1)) - 1
    for method, path in PATHS:
        server.request(path, method, b"body" if method in ("POST", "PUT") else b"")
    records = kernel.ring().read()
    deadline = time.monotonic() + 10
    while len(records) < 2 * len(PATHS) and time.monotonic() < deadline:
        time.sleep(0.05)
        records = np.concatenate([records, kernel.ring().read()])
    kernel.ctl["filters"] = 0

    assert len(records) == 2 * len(PATHS)
    assert np.all(records["matched"] >> last & 1)
    for i, one in enumerate(wanted):
        by_kernel = (records["matched"] >> i & 1).astype(bool)
        by_agent = passes(kernel.abi, one, records)
        assert by_kernel.tolist() == by_agent.tolist(), one
        assert kernel.filters["matched"][i] == by_kernel.sum()
    assert kernel.filters["matched"][last] == kernel.filters["shown"][last] == len(records)


OURS, OTHERS = 40, 60
"""Requests of the service that is followed and of another, more than the bound shows at once."""
ALL = 10_000


class Unit:
    """A service with a server of its own, in a cgroup that is made anew by every start, as systemd does."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.name = name
        self.cgroup = world.cgroup / name
        self.server: Server | None = None

    def start(self) -> int:
        """Start it; return the id of its cgroup."""
        self.cgroup.mkdir()
        with self._world.server.starting_in(self.cgroup):
            self.server = Server(self._world)
        return self.cgroup.stat().st_ino

    def stop(self) -> None:
        """End it; its cgroup goes with it."""
        if self.server:
            self.server.close()
            self.server = None
        if self.cgroup.exists():
            until(self._removed, "its cgroup is gone")

    def ask(self, count: int) -> None:
        """Have it asked for something so often, on one connection."""
        assert self.server
        connection = self.server.connect()
        for _ in range(count):
            connection.request("GET", "/")
            connection.getresponse().read()
        connection.close()

    def _removed(self) -> bool:
        with suppress(OSError):
            self.cgroup.rmdir()
        return not self.cgroup.exists()


@pytest.fixture
def units(world: World) -> Iterator[tuple[Unit, Unit]]:
    """Give two services that have started."""
    made = Unit(world, "mine.service"), Unit(world, "other.service")
    try:
        for unit in made:
            unit.start()
        yield made
    finally:
        for unit in made:
            unit.stop()


@pytest.mark.parametrize("turned", [False, True], ids=["of", "not-of"])
def test_a_service_is_tested_for_in_the_kernel(
    resident: Running, units: tuple[Unit, Unit], turned: bool
) -> None:
    """Others take nothing of the bound and are no match; so it is when it has started anew.

    Its cgroup is another one then, with the same name.
    """
    mine, other = units
    wanted = FlowFilter(
        service=mine.name, role="server", negate=frozenset({"service"} if turned else ())
    )
    loud, quiet = (mine, other) if turned else (other, mine)
    with resident.client.follow(wanted, rate=1) as flows:
        loud.ask(OTHERS)
        quiet.ask(4)
        before = mine.cgroup.stat().st_ino
        mine.stop()
        assert mine.start() != before
        time.sleep(3)  # until the agent has looked, and the bound lets so many by again
        loud.ask(OTHERS)
        quiet.ask(4)
        resident.tick()
        finish = flows.finish()
        found = list(flows)
    assert finish is not None
    assert finish.matched == finish.shown == len(found) == 8
    assert not finish.at_least
    assert {flow.service for flow in found} == {quiet.name}


def test_a_service_that_has_not_been_seen(resident: Running, world: World) -> None:
    """Who asks for a unit before it has started sees it from its start on."""
    unit = Unit(world, "late.service")
    wanted = FlowFilter(service=unit.name, role="server")
    with resident.client.follow(wanted, rate=ALL) as flows:
        try:
            unit.start()
            time.sleep(2.5)
            unit.ask(OURS)
            resident.tick()
        finally:
            unit.stop()
        assert flows.finish() == Finish(matched=OURS, shown=OURS)


def test_a_process_among_others_of_its_cgroup(
    resident: Running, server: Server, units: tuple[Unit, Unit], world: World
) -> None:
    """A process is told from its neighbours behind the bound: what is certain is counted, and that it may be more."""
    neighbour = Server(world)
    wanted = FlowFilter(service=f"python3:{server.port}", role="server")
    try:
        with resident.client.follow(wanted, rate=ALL) as flows:
            units[1].ask(OTHERS)
            for _ in range(3):
                server.request("/")
                neighbour.request("/")
            resident.tick()
            assert flows.finish() == Finish(matched=3, shown=3)
        with resident.client.follow(wanted, rate=1) as flows:
            units[1].ask(OTHERS)
            server.request("/")
            for _ in range(20):
                neighbour.request("/")
            resident.tick()
            assert flows.finish() == Finish(matched=1, shown=1, at_least=True)
    finally:
        neighbour.close()
