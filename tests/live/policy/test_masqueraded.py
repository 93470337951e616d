"""Callers whose address a masquerade has changed: taken for who has the address that arrives, and never for who they are."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

import pytest

from axon.policy.compiler.compile import Compiled, Host
from axon.policy.language.labels import Party
from axon.policy.language.model import Network
from tests.live.kit.axon import Axon
from tests.live.kit.gate import Guarded, caller_cgroup, expect_403, expect_nothing, for_front
from tests.live.kit.wire import Listener, get
from tests.live.kit.world import Place, World, ip

_UNKNOWN, _WORLD = 0, 1  # enum ax_ident
_FRONT = Party.of({"app": "front"})
_FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6}


@dataclass
class Site:
    """A host with two containers, and a router with one behind it. The containers' addresses are theirs alone.

    `addresses` are by family, of the host towards the router, the router, the container beyond it, the host
    towards the container that serves, that container, and the one that asks.
    """

    host: Place
    router: Place
    far: Place
    box: Place
    near: Place
    guarded: Guarded
    addresses: dict[str, dict[str, str]]

    def force(self, listener: Listener, peers: str = "", **labelled: str) -> Compiled:
        """Have a policy in force by which who has the label may ask: this process by its sockets, and so many addresses."""
        networks: dict[Network, Party] = {
            (IPv6Network if ":" in one else IPv4Network)(one): _FRONT for one in labelled.values()
        }
        text = for_front(listener.port)
        if peers:
            text = text.replace("podSelector: {matchLabels: {app: front}}", peers)
        assert not peers or peers in text
        return self.guarded.force(text, host=Host({caller_cgroup(): _FRONT}, networks))


def _cable(a: Place, b: Place, names: tuple[str, str], net: int) -> dict[str, tuple[str, str]]:
    """Join two places by a cable; return the addresses of its ends by family."""
    ip("-n", a.name, "link", "add", names[0], "type", "veth", "peer", names[1], "netns", b.name)
    for number, (place, name) in enumerate(zip((a, b), names, strict=True), 1):
        to = ("-n", place.name)
        ip(*to, "addr", "add", f"10.86.{net}.{number}/24", "dev", name)
        ip(*to, "addr", "add", f"fd86:{net}::{number}/64", "dev", name, "nodad")
        ip(*to, "link", "set", name, "up")
    return {
        "4": (f"10.86.{net}.1", f"10.86.{net}.2"),
        "6": (f"fd86:{net}::1", f"fd86:{net}::2"),
    }


def _default(place: Place, via: tuple[str, str]) -> None:
    for family, hop in zip(("-4", "-6"), via, strict=True):
        ip("-n", place.name, family, "route", "add", "default", "via", hop)


@pytest.fixture(scope="module")
def site(world: World, judging: Axon) -> Iterator[Site]:
    """Give the places, and the gate where an agent on the host would have it: the router is its way to the world."""
    names = ("host", "router", "far", "box", "near")
    host, router, far, box, near = places = [world.place(f"masq-{name}") for name in names]
    try:
        for place in places:
            # no router asks for a neighbour while it waits whether others have its own address
            place.sysctl("net.ipv6.conf.default.dad_transmits", "0")
        up = _cable(host, router, ("uplink", "downlink"), 1)
        beyond = _cable(router, far, ("pod", "eth0"), 2)
        served = _cable(host, box, ("box", "eth0"), 3)
        beside = _cable(host, near, ("near", "eth0"), 4)
        for place, cable, end in ((host, up, 1), (far, beyond, 0), (box, served, 0), (near, beside, 0)):  # fmt: skip
            _default(place, (cable["4"][end], cable["6"][end]))
        _default(router, (up["4"][0], up["6"][0]))
        for place in (host, router):
            place.sysctl("net.ipv4.ip_forward", "1")
            place.sysctl("net.ipv6.conf.all.forwarding", "1")
        addresses = {
            family: {
                "host": up[family][0],
                "router": up[family][1],
                "far": beyond[family][1],
                "inner": served[family][0],
                "box": served[family][1],
                "near": beside[family][1],
            }
            for family in _FAMILIES
        }
        guarded = Guarded(judging, host)
        ctl = judging.kernel.ctl
        before = ctl.copy()
        ctl["flow_interval"] = ctl["error_interval"] = 1
        with guarded.everywhere():
            yield Site(host, router, far, box, near, guarded, addresses)
        for name in ("flow_interval", "error_interval"):
            ctl[name] = before[name]
    finally:
        for place in places:
            world.remove(place)


@contextmanager
def masquerading(place: Place, interface: str) -> Iterator[None]:
    """Have a place give its own address to what it passes on by an interface."""
    rule = f"type nat hook postrouting priority 100; oifname {interface} masquerade;"
    for family in ("ip", "ip6"):
        place.run("nft", f"table {family} axon {{ chain axon {{ {rule} }}; }}")
    try:
        yield
    finally:
        for family in ("ip", "ip6"):
            place.run("nft", f"delete table {family} axon")


def asks(site: Site, listener: Listener, source: str, *, allowed: bool) -> int:
    """Ask, fail unless that is allowed or not and comes from an address; return who the caller is taken for."""
    site.guarded.axon.flows()
    wire = listener.connect()
    assert wire.server.getpeername()[0] == source
    if allowed:
        wire.exchange(get("/pub/a"))
    else:
        wire.client.sendall(get("/pub/a"))
        expect_403(wire.client)
        expect_nothing(wire.server)
    (flow,) = (
        one
        for one in site.guarded.axon.flows()
        if one["role"] == "server" and int(one["lport"]) == listener.port
    )
    return int(flow["ident"])


@pytest.mark.parametrize("family", _FAMILIES)
def test_by_a_router(site: Site, world: World, family: str) -> None:
    """Behind a router that masquerades a caller is the world, or who has the labels of the router's address: neither its
    own address nor its socket, which another host may have as well, say who it is.
    """
    at = site.addresses[family]
    listener = Listener(world, site.host, site.far, at["host"], _FAMILIES[family])
    try:
        compiled = site.force(listener, far=at["far"])
        ident = asks(site, listener, at["far"], allowed=True)  # without a masquerade
        assert compiled.parties[ident].labels["app"] == "front"
        with masquerading(site.router, "downlink"):
            assert asks(site, listener, at["router"], allowed=False) == _WORLD
            site.force(listener, "podSelector: {}", far=at["far"])
            assert asks(site, listener, at["router"], allowed=False) == _WORLD
            compiled = site.force(listener, far=at["far"], router=at["router"])
            ident = asks(site, listener, at["router"], allowed=True)
            assert compiled.parties[ident].labels["app"] == "front"
    finally:
        listener.close()


@pytest.mark.parametrize("family", _FAMILIES)
def test_by_this_host(site: Site, world: World, family: str) -> None:
    """A container that the host itself masquerades is unknown, whoever the host is: a rule for an address is all that can
    mean it.
    """
    at = site.addresses[family]
    listener = Listener(world, site.box, site.near, at["box"], _FAMILIES[family])
    try:
        compiled = site.force(listener)
        ident = asks(site, listener, at["near"], allowed=True)  # without a masquerade
        assert compiled.parties[ident].labels["app"] == "front"
        with masquerading(site.host, "box"):
            labelled = {name: at[name] for name in ("host", "inner", "near")}
            site.force(listener, **labelled)
            assert asks(site, listener, at["inner"], allowed=False) == _UNKNOWN
            site.force(listener, "podSelector: {}", **labelled)
            assert asks(site, listener, at["inner"], allowed=False) == _UNKNOWN
            whole = f"{at['inner']}/{128 if family == '6' else 32}"
            site.force(listener, f'ipBlock: {{cidr: "{whole}"}}', **labelled)
            assert asks(site, listener, at["inner"], allowed=True) == _UNKNOWN
    finally:
        listener.close()
