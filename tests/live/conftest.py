"""What the live tests share: a network of their own and an Axon that is attached to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.kit.axon import Attacher, Axon
from tests.live.kit.books import Books
from tests.live.kit.relay import Relay
from tests.live.kit.wire import Listener, Wire
from tests.live.kit.world import World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Give a cgroup with two network namespaces in it that are joined by a cable."""
    made = World()
    yield made
    made.close()


@pytest.fixture(scope="module")
def attach_live(
    world: World, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Attacher]:
    """Give a function that attaches Axon to the world's cgroup, with some settings changed."""
    name = f"{world.name}-{request.module.__name__.rpartition('.')[2]}"
    attacher = Attacher(name, world.cgroup, tmp_path_factory.mktemp("live") / "run")
    yield attacher
    attacher.close()


@pytest.fixture(scope="session")
def axon(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Axon]:
    """Give the Axon that observes the world all the time."""
    attacher = Attacher(world.name, world.cgroup, tmp_path_factory.mktemp("axon") / "run")
    yield attacher()
    attacher.close()


@pytest.fixture
def books(world: World, axon: Axon) -> Iterator[Books]:
    """Give the books of one test; they are audited when its connections are closed."""
    places = (world.server, world.client)
    mine = Books(axon, lambda: sum(place.tcp_counter("RetransSegs") for place in places))
    yield mine
    mine.close()


@pytest.fixture
def around(books: Books) -> None:
    """Have what connections to servers come to in the books; a folder may have something else."""


@pytest.fixture
def listener(world: World, around: None) -> Iterator[Listener]:
    """Give a listening socket that is reached over the cable by IPv4."""
    made = Listener(world, world.server, world.client, world.server.ip4)
    yield made
    made.close()


@pytest.fixture
def loop(world: World, around: None) -> Iterator[Listener]:
    """Give a listening socket that is reached over the loopback device by IPv4."""
    made = Listener(world, world.server, world.server, "127.0.0.1")
    yield made
    made.close()


@pytest.fixture
def wire(listener: Listener) -> Wire:
    """Give a connection over the cable."""
    return listener.connect()


@pytest.fixture
def every_flow(axon: Axon) -> Iterator[Axon]:
    """Give the Axon with a flow record of every request, instead of a few."""
    axon.flows()
    for name in ("flow_interval", "error_interval"):
        axon.kernel.ctl[name][0] = 1
    yield axon
    for name in ("flow_interval", "error_interval"):
        axon.kernel.ctl[name][0] = 0


@pytest.fixture
def relay(world: World, books: Books) -> Iterator[Relay]:
    """Give the path whose packets the test decides about."""
    made = Relay(world.server, world.client)
    yield made
    made.close()


@pytest.fixture
def far(world: World, books: Books, relay: Relay) -> Iterator[Listener]:
    """Give a listening socket that is reached over the path."""
    made = Listener(world, world.server, world.client, relay.address)
    yield made
    made.close()
