"""What the tests of the gate share: an Axon whose gate is theirs, and servers behind it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.kit.axon import Attacher, Axon
from tests.live.kit.emulated import PATHS, WAYS
from tests.live.kit.enforcing import Enforcing
from tests.live.kit.gate import Guarded, checksum_errors
from tests.live.kit.relay import Relay
from tests.live.kit.wire import Listener
from tests.live.kit.world import World

_GUARDED = ("lo", "cable1")  # the interfaces of the servers' place


@pytest.fixture(scope="session")
def judging(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Axon]:
    """Give an Axon whose gate is there for these tests: an emulated processor takes long to load one."""
    attacher = Attacher(
        f"{world.name}-policy", world.cgroup, tmp_path_factory.mktemp("gate") / "run"
    )
    yield attacher()
    attacher.close()


@pytest.fixture(scope="module")
def guarded(world: World, judging: Axon) -> Iterator[Guarded]:
    """Give the gate in front of the servers' place: on the loopback device and its cable's end."""
    made = Guarded(judging, world.server)
    for interface in _GUARDED:
        made.attach(interface)
    yield made
    made.close()


@pytest.fixture
def alone(guarded: Guarded) -> Iterator[None]:
    """Have no gate but an agent's in front of the servers."""
    guarded.close()
    yield
    for interface in _GUARDED:
        guarded.attach(interface)


@pytest.fixture
def gate(guarded: Guarded, world: World) -> Iterator[Guarded]:
    """Give the gate, without policies before and after; no segment may have a wrong checksum,
    unless the test forges them.
    """
    guarded.release()
    guarded.forged = False
    places = (world.server, world.client)
    before = [checksum_errors(place) for place in places]
    yield guarded
    guarded.release()
    if not guarded.forged:
        assert [checksum_errors(place) for place in places] == before


@pytest.fixture
def told(gate: Guarded) -> Iterator[Guarded]:
    """Give the gate with every request told of, and no records from before."""
    ctl = gate.axon.kernel.ctl
    before = ctl.copy()
    ctl["flow_interval"] = ctl["error_interval"] = 1
    gate.axon.flows()
    yield gate
    for name in ("flow_interval", "error_interval", "audit", "filters"):
        ctl[name] = before[name]


@pytest.fixture
def around(gate: Guarded) -> None:
    """Have servers behind the gate."""


@pytest.fixture
def agent(world: World, tmp_path: Path) -> Iterator[Enforcing]:
    """Give an agent that is not started yet, in the servers' place."""
    made = Enforcing(world, world.server, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=WAYS)
def anywhere(world: World, gate: Guarded, request: pytest.FixtureRequest) -> Iterator[Listener]:
    """Give a server by each way that leads to it: loopback and cable, IPv4 and IPv6."""
    cable, address, family = PATHS[request.param]
    client = world.client if cable else world.server
    four = family == socket.AF_INET
    address = address or (world.server.ip4 if four else world.server.ip6)
    made = Listener(world, world.server, client, address, family, socket.AF_INET6)
    yield made
    made.close()


@pytest.fixture
def relay(world: World, guarded: Guarded) -> Iterator[Relay]:
    """Give the path whose packets the test decides about; the gate is on its end."""
    guarded.release()
    made = Relay(world.server, world.client)
    guarded.attach("relay")
    yield made
    made.close()
    guarded.release()


@pytest.fixture
def far(world: World, guarded: Guarded, relay: Relay) -> Iterator[Listener]:
    """Give a server behind the gate that is reached over the path."""
    made = Listener(world, world.server, world.client, relay.address)
    yield made
    made.close()
