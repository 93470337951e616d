"""The gauge of requests in flight, scraped from a real agent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from axon.kernel import probe
from tests.live.agent.conftest import Running
from tests.live.kit.waiting import until
from tests.live.kit.wire import OK, Listener, get
from tests.live.kit.world import World

GAUGE = "http_{}_active_requests"


@pytest.fixture
def held(world: World) -> Iterator[Listener]:
    """Give a server that answers when the test says so."""
    made = Listener(world, world.server, world.client, world.server.ip4)
    yield made
    made.close()


def test_requests_in_flight_are_scraped(resident: Running, held: Listener) -> None:
    """The gauge is the number of slow requests while they last and 0 after; the status agrees."""
    port = str(held.port)

    def gauge(role: str) -> list[float]:
        found = resident.samples(GAUGE.format(role), server_port=port)
        assert all(
            labels.keys() >= {"service_name", "server_port", "http_request_method", "url_scheme"}
            for labels, _ in found
        )
        return [value for _, value in found]

    if probe()["socket iterator"].state != "ok":
        assert not gauge("server")
        assert resident.client.status().server is None
        return
    before = resident.client.status().server
    assert before is not None
    wires = [held.connect() for _ in range(7)]
    for wire in wires:
        wire.ask(get("/slow"))
    until(lambda: gauge("server") == [7], "all are in flight")
    assert gauge("client") == [7]
    now = resident.client.status().server
    assert now is not None
    assert now.requests == before.requests + 7
    assert now.connections == before.connections + 7
    assert now.oldest is not None
    assert 0 < now.oldest < 60
    assert resident.total("axon_open_connections", kind="http1", role="server") == now.connections
    for wire in wires:
        wire.answer(OK)
    until(lambda: gauge("server") == [0], "none is in flight")
    assert gauge("client") == [0]
