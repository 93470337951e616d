"""A host with several interfaces, and some on top of others: each request is judged, and only once."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.live.kit.axon import Axon
from tests.live.kit.gate import (
    Guarded,
    checksum_errors,
    expect_403,
    expect_nothing,
    forbidden,
    rest,
)
from tests.live.kit.wire import Listener, get, head, post
from tests.live.kit.world import Place, World, ip

PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'


def _addresses(place: Place, device: str, net: str, number: int) -> None:
    inside_place = ("-n", place.name)
    ip(*inside_place, "addr", "add", f"10.{net}.0.{number}/24", "dev", device)
    ip(*inside_place, "addr", "add", f"fd{net}::{number}/64", "dev", device, "nodad")
    ip(*inside_place, "link", "set", device, "up")


def _bridge(places: tuple[Place, Place], cable: str) -> str:
    """A bridge that the cable is a port of, with addresses of its own."""
    for number, place in enumerate(places, 1):
        ip("-n", place.name, "link", "add", "br7", "type", "bridge")
        ip("-n", place.name, "link", "set", cable, "master", "br7")
        _addresses(place, "br7", "82", number)
    return "82"


def _macvlan(places: tuple[Place, Place], cable: str) -> str:
    """An interface with an Ethernet address of its own on top of the cable."""
    for number, place in enumerate(places, 1):
        ip("-n", place.name, "link", "add", "mac7", "link", cable, "type", "macvlan")
        _addresses(place, "mac7", "84", number)
    return "84"


def _second(places: tuple[Place, Place], cable: str) -> str:
    """A second cable, beside the first."""
    del cable
    a, b = places
    ip("-n", a.name, "link", "add", "two", "type", "veth", "peer", "two", "netns", b.name)
    for number, place in enumerate(places, 1):
        _addresses(place, "two", "83", number)
    return "83"


@dataclass
class Site:
    """Two hosts that are joined; the gate is where an agent on the first would have it."""

    server: Place
    client: Place
    guarded: Guarded
    net: str


@pytest.fixture(
    scope="module", params=[_bridge, _macvlan, _second], ids=["bridge", "macvlan", "second"]
)
def site(world: World, judging: Axon, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Give hosts whose requests come by such an interface."""
    join: Callable[[tuple[Place, Place], str], str] = request.param
    server, client = world.place(f"s{join.__name__}"), world.place(f"c{join.__name__}")
    cable = world.join(server, client)
    net = join((server, client), cable)
    guarded = Guarded(judging, server)
    with guarded.everywhere():
        yield Site(server, client, guarded, net)
    world.remove(server)
    world.remove(client)


@pytest.fixture(params=["four", "six", "beside"])
def listener(world: World, site: Site, request: pytest.FixtureRequest) -> Iterator[Listener]:
    """Give a server that is reached by that interface, or over the loopback device beside it."""
    place, family, address = site.client, socket.AF_INET, f"10.{site.net}.0.1"
    if request.param == "six":
        family, address = socket.AF_INET6, f"fd{site.net}::1"
    if request.param == "beside":
        place, address = site.server, "127.0.0.1"
    made = Listener(world, site.server, place, address, family, socket.AF_INET6)
    before = [checksum_errors(place) for place in (site.server, site.client)]
    site.guarded.release()
    yield made
    made.close()
    site.guarded.release()
    assert [checksum_errors(place) for place in (site.server, site.client)] == before


def test_allowed_and_denied(site: Site, listener: Listener) -> None:
    """Long heads, heads in many packets, and bodies pass; the first denied request ends it."""
    site.guarded.allow(listener.port, PUBLIC)
    before = site.guarded.verdicts()
    unjudged = site.guarded.denials().get("UNJUDGED", 0)
    wire = listener.connect()
    for i in range(5):
        wire.exchange(get("/pub/a"))
        wire.exchange(get(f"/pub/{i}", *(f"X-{k}: " + "x" * 900 for k in range(8))))
        wire.ask(get(f"/pub/{i}", "X: y"), step=7)
        wire.answer()
        wire.exchange(post(f"/pub/{i}", b"b" * 50_000))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)
    after = site.guarded.verdicts()
    assert after.forwarded - before.forwarded == 20
    assert after.dropped - before.dropped == 1
    assert site.guarded.denials().get("UNJUDGED", 0) == unjudged


def test_denied_at_once(site: Site, listener: Listener) -> None:
    """A denied request is answered, also one with a body that is still on its way."""
    site.guarded.allow(listener.port, PUBLIC)
    wire = listener.connect()
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)
    wire = listener.connect()
    wire.client.settimeout(20)
    size = 4 << 20
    wire.client.sendall(head("POST /secret HTTP/1.1", "Host: a", f"Content-Length: {size}"))
    wire.client.sendall(bytes(size))
    seen = rest(wire.client, 10)
    assert (seen.data, seen.how) == (forbidden(), "eof")
    expect_nothing(wire.server)
