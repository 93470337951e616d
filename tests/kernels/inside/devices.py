"""Runs in a guest with two cards: the gate on VLANs, on bonds and on virtio cards.

Two hosts are joined by all of them at once; the gate is where an agent on the first would have it.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from axon.agent.points import Points
from tests.live.kit.axon import Attacher
from tests.live.kit.gate import (
    Guarded,
    checksum_errors,
    expect_403,
    expect_nothing,
    forbidden,
    inside,
    rest,
)
from tests.live.kit.waiting import until
from tests.live.kit.wire import Listener, acknowledged, answer, get, head, post
from tests.live.kit.world import Place, World, ip, need

PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'
LONG, UPLOAD = 100_000, 2 << 20
ON, OFF = (("tx", "on", "tso", "on", "gso", "on"), ("tx", "off", "tso", "off", "gso", "off"))
"""Checksums and segments are left to the device, or made before."""
APART, JOINED = ("gro", "off"), ("gro", "on")
IN_DATA = ("rxvlan", "off", "txvlan", "off")
"""A VLAN's tag stands in the frame on its way, not beside it."""
_TIMESTAMPS, _SACK = 1, 2  # tcpi_options of linux/tcp.h, at byte 5 of struct tcp_info


@dataclass
class Hosts:
    """The two hosts."""

    world: World
    guarded: Guarded
    points: Points
    port: int
    both: tuple[Place, Place] = field(init=False)

    def __post_init__(self) -> None:
        self.both = self.world.server, self.world.client

    def ip(self, *words: str) -> None:
        """Configure both."""
        for place in self.both:
            ip("-n", place.name, *words)

    def set(self, device: str, features: tuple[str, ...]) -> None:
        """Have a device of both do some things itself, or not."""
        if features:
            for place in self.both:
                place.run("ethtool", "-K", device, *features)

    def cable(self, features: tuple[str, ...] = ()) -> str:
        """Join them by one cable more."""
        made = self.world.join(*self.both)
        self.set(made, features)
        return made

    def seen_amiss(self) -> list[int]:
        """Return how often bytes were not judged, or judged again and not found the same."""
        denials = self.guarded.denials()
        return [denials.get(reason, 0) for reason in ("UNJUDGED", "RESENT")]

    def address(self, devices: tuple[str, str], net: int) -> None:
        """Give a device of each its addresses."""
        for number, (place, device) in enumerate(zip(self.both, devices, strict=True), 1):
            here = ("-n", place.name)
            ip(*here, "addr", "add", f"10.{net}.0.{number}/24", "dev", device)
            ip(*here, "addr", "add", f"fd00:{net}::{number}/64", "dev", device, "nodad")
            ip(*here, "link", "set", device, "up")


Build = Callable[[Hosts, str], tuple[str, str]]
"""Makes devices whose names begin with a text; returns those that get addresses, the server's first."""


def _cable(*features: str) -> Build:
    def build(hosts: Hosts, name: str) -> tuple[str, str]:
        del name
        cable = hosts.cable(features)
        return cable, cable

    return build


def _vlan(*features: str) -> Build:
    def build(hosts: Hosts, name: str) -> tuple[str, str]:
        hosts.ip(
            "link", "add", "link", hosts.cable(features), "name", name, "type", "vlan", "id", "7"
        )
        return name, name

    return build


def _two_tags(protocol: str) -> Build:
    def build(hosts: Hosts, name: str) -> tuple[str, str]:
        outer = f"{name}o"
        tag = ("type", "vlan", "proto", protocol, "id", "5")
        hosts.ip("link", "add", "link", hosts.cable(), "name", outer, *tag)
        hosts.ip("link", "set", outer, "up")
        hosts.ip("link", "add", "link", outer, "name", name, "type", "vlan", "id", "7")
        return name, name

    return build


def _switch(*port: str) -> Build:
    """A bridge that knows VLANs; its port is in one of them, with or without a tag outside."""

    def build(hosts: Hosts, name: str) -> tuple[str, str]:
        server, client = hosts.both
        cable, bridge = hosts.cable(), f"{name}b"
        here = ("-n", server.name)
        ip(*here, "link", "add", bridge, "type", "bridge", "vlan_filtering", "1")
        ip(*here, "link", "set", cable, "master", bridge)
        ip(*here, "link", "set", bridge, "up")
        vlan = [need("bridge"), *here, "vlan", "add", "vid", "7", "dev"]
        subprocess.run([*vlan, cable, *port], check=True)
        subprocess.run([*vlan, bridge, "self"], check=True)
        ip(*here, "link", "add", "link", bridge, "name", name, "type", "vlan", "id", "7")
        if port:
            return name, cable
        ip("-n", client.name, "link", "add", "link", cable, "name", name, "type", "vlan", "id", "7")
        return name, name

    return build


def _bridged_vlan(hosts: Hosts, name: str) -> tuple[str, str]:
    """A VLAN that is a port of a bridge, as on hosts of virtual machines."""
    vlan, _ = _vlan()(hosts, name)
    bridge = f"{name}b"
    here = ("-n", hosts.both[0].name)
    ip(*here, "link", "add", bridge, "type", "bridge")
    ip(*here, "link", "set", vlan, "master", bridge, "up")
    return bridge, vlan


def _beside(hosts: Hosts, name: str) -> tuple[str, str]:
    """A VLAN on what is a port of a bridge for all that has no tag."""
    cable, bridge = hosts.cable(), f"{name}b"
    hosts.ip("link", "add", "link", cable, "name", name, "type", "vlan", "id", "7")
    here = ("-n", hosts.both[0].name)
    ip(*here, "link", "add", bridge, "type", "bridge")
    ip(*here, "link", "set", cable, "master", bridge)
    ip(*here, "link", "set", bridge, "up")
    return name, name


def _bond(hosts: Hosts, name: str) -> tuple[str, str]:
    first, second = hosts.cable(), hosts.cable()
    mode = ("type", "bond", "mode", "active-backup", "miimon", "100")
    hosts.ip("link", "add", name, *mode)
    for cable in (first, second):
        hosts.ip("link", "set", cable, "down")
        hosts.ip("link", "set", cable, "master", name)
    hosts.ip("link", "set", name, "type", "bond", "primary", first)
    hosts.ip("link", "set", name, "up")
    active = f"active_slave {first} "
    for place in hosts.both:
        shown = ("ip", "-d", "link", "show", name)
        until(lambda: active in place.run(*shown), "the bond is up")  # noqa: B023 - runs now
    return name, name


def _bond_vlan(hosts: Hosts, name: str) -> tuple[str, str]:
    bond, _ = _bond(hosts, f"{name}b")
    hosts.ip("link", "add", "link", bond, "name", name, "type", "vlan", "id", "7")
    return name, name


def _card(*features: str) -> Build:
    def build(hosts: Hosts, name: str) -> tuple[str, str]:
        del name
        hosts.set("card", features)
        for place in hosts.both:
            said = place.run("ethtool", "-k", "card")
            assert f"tcp-segmentation-offload: {features[1]}" in said
            assert f"tx-checksumming: {features[1]}" in said
        return "card", "card"

    return build


def _card_vlan(*features: str) -> Build:
    def build(hosts: Hosts, name: str) -> tuple[str, str]:
        _card(*features)(hosts, name)
        tag = ("type", "vlan", "id", name[1:])
        hosts.ip("link", "add", "link", "card", "name", name, *tag)
        return name, name

    return build


SITES: dict[str, Build] = {
    "cable-off": _cable(*OFF),
    "cable-joined": _cable(*JOINED),
    "vlan": _vlan(),
    "vlan-data": _vlan(*IN_DATA),
    "vlan-data-off": _vlan(*IN_DATA, *OFF),
    "trunk": _switch(),
    "access": _switch("pvid", "untagged"),
    "bridged-vlan": _bridged_vlan,
    "beside-bridge": _beside,
    "qinq": _two_tags("802.1ad"),
    "two-tags": _two_tags("802.1Q"),
    "bond": _bond,
    "bond-vlan": _bond_vlan,
    "card": _card(*ON, *JOINED),
    "card-apart": _card(*ON, *APART),
    "card-off": _card(*OFF, *APART),
    "card-off-joined": _card(*OFF, *JOINED),
    "card-vlan": _card_vlan(*ON, *JOINED),
    "card-vlan-off": _card_vlan(*OFF, *APART),
}


def _cards() -> list[str]:
    """Return the guest's virtio cards, in the order of their addresses."""
    subprocess.run([need("modprobe"), "virtio_net"], check=True)
    found = Path("/sys/class/net").iterdir()
    cards = [one for one in found if (one / "device/driver").resolve().name == "virtio_net"]
    return [one.name for one in sorted(cards, key=lambda one: (one / "address").read_text())]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Give two hosts with a card each, and one policy for the first."""
    world = World()
    attacher = Attacher(world.name, world.cgroup, tmp_path_factory.mktemp("axon") / "run")
    try:
        for place, card in zip((world.server, world.client), _cards(), strict=True):
            ip("link", "set", card, "netns", place.name)
            ip("-n", place.name, "link", "set", card, "name", "card", "up")
        guarded = Guarded(attacher(), world.server)
        with guarded.everywhere() as points:
            port = world.port()
            guarded.allow(port, PUBLIC)
            yield Hosts(world, guarded, points, port)
    finally:
        attacher.close()
        world.close()


@pytest.fixture(scope="module", params=SITES)
def net(hosts: Hosts, request: pytest.FixtureRequest) -> int:
    """Give the number of the network that such devices make."""
    number = 100 + list(SITES).index(request.param)
    hosts.address(SITES[request.param](hosts, f"d{number}"), number)
    inside(hosts.world.server, hosts.points.look)
    return number


@pytest.fixture(params=["four", "six"])
def listener(hosts: Hosts, net: int, request: pytest.FixtureRequest) -> Iterator[Listener]:
    """Give a server that is reached by those; no segment may have a wrong checksum, and nothing may
    come to the socket that the gate has not seen, or has seen twice.
    """
    family, address = socket.AF_INET, f"10.{net}.0.1"
    if request.param == "six":
        family, address = socket.AF_INET6, f"fd00:{net}::1"
    before = [checksum_errors(place) for place in hosts.both]
    reasons = hosts.seen_amiss()
    server, client = hosts.both
    made = Listener(hosts.world, server, client, address, family, socket.AF_INET6, hosts.port)
    yield made
    made.close()
    assert [checksum_errors(place) for place in hosts.both] == before
    assert hosts.seen_amiss() == reasons


def test_allowed_then_denied(listener: Listener) -> None:
    """On one connection requests pass byte for byte, long ones and in many packets, until the denied one."""
    wire = listener.connect()
    options = wire.client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5]
    assert options & (_TIMESTAMPS | _SACK) == _TIMESTAMPS | _SACK
    wire.exchange(get("/pub/a"))
    wire.exchange(get("/pub/b", *(f"X-{k}: " + "x" * 900 for k in range(8))))
    wire.ask(get("/pub/c", "X: y"), step=20)
    wire.answer()
    wire.exchange(post("/pub/d", b"b" * LONG), answer(200, b"a" * LONG))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_denied_at_once(listener: Listener) -> None:
    """A denied request is answered whole, also one with a body that is still on its way."""
    wire = listener.connect()
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)
    wire = listener.connect()
    wire.client.sendall(head("POST /secret HTTP/1.1", "Host: a", f"Content-Length: {UPLOAD}"))
    wire.client.sendall(bytes(UPLOAD))
    seen = rest(wire.client, 20)
    assert (seen.data, seen.how) == (forbidden(), "eof")
    expect_nothing(wire.server)
    acknowledged(wire.client)
