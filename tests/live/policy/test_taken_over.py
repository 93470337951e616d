"""A container that announces another's address, by ARP or by a neighbour advertisement, has its packets, and is not
taken for it.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

import pytest

from axon.policy.compiler.compile import Host
from axon.policy.language.labels import Party
from axon.policy.language.model import Network
from tests.live.kit.axon import Axon
from tests.live.kit.gate import Guarded, caller_cgroup, for_front, forbidden
from tests.live.kit.packet import checksum
from tests.live.kit.waiting import until
from tests.live.kit.wire import OK, Listener, get, receive
from tests.live.kit.world import Place, World, ip

_FRONT = Party.of({"app": "front"})
_ARP, _IP6 = 0x0806, 0x86DD
_ANYBODY = "[{podSelector: {matchLabels: {app: front}}}]"


@dataclass
class Site:
    """A host with a bridge, and on it three containers: one that serves, one that may ask, and one that takes over."""

    host: Place
    box: Place
    friend: Place
    thief: Place
    guarded: Guarded

    def device(self, server: Place) -> str:
        """Return by which device a server, in its container or on the host, reaches the containers."""
        return "br0" if server is self.host else "eth0"

    def hardware(self, who: Place) -> str:
        """Return the Ethernet address of a container, or of the host on its bridge."""
        (link,) = json.loads(who.run("ip", "-j", "link", "show", "dev", self.device(who)))
        return str(link["address"])

    def neighbour(self, server: Place, address: str) -> str:
        """Return what a server's host takes for the Ethernet address of one."""
        return server.run("ip", "neigh", "show", address, "dev", self.device(server))


@pytest.fixture(scope="module")
def site(world: World, judging: Axon) -> Iterator[Site]:
    """Give the places, and the gate where an agent on the host would have it."""
    host, box, friend, thief = places = [
        world.place(f"take-{name}") for name in ("h", "b", "f", "t")
    ]
    try:
        ip("-n", host.name, "link", "add", "br0", "type", "bridge")
        ip("-n", host.name, "link", "set", "br0", "up")
        _address(host, "br0", 1)
        for number, place in enumerate((box, friend, thief), 2):
            to, name, inside = ("-n", host.name), f"pod{number}", ("-n", place.name)
            end = ("peer", "eth0", "netns", place.name)
            ip(*to, "link", "add", name, "type", "veth", *end)
            ip(*to, "link", "set", name, "master", "br0", "up")
            ip(*inside, "link", "set", "eth0", "up")
            _address(place, "eth0", number)
        for place, device in ((host, "br0"), (box, "eth0")):
            # else an answer counts for a second, whatever comes then
            place.sysctl(f"net.ipv4.neigh.{device}.locktime", "0")
        guarded = Guarded(judging, host)
        with guarded.everywhere():
            yield Site(host, box, friend, thief, guarded)
    finally:
        for place in places:
            world.remove(place)


def _address(place: Place, device: str, number: int) -> None:
    ip("-n", place.name, "addr", "add", f"10.88.0.{number}/24", "dev", device)
    ip("-n", place.name, "addr", "add", f"fd88::{number}/64", "dev", device, "nodad")


def _raw(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def announcement(address: str, mine: str, target: str, theirs: str) -> bytes:
    """Return the frame by which an Ethernet address says to another that an address is its own."""
    ends = _raw(theirs) + _raw(mine)
    whose, whom = ipaddress.ip_address(address).packed, ipaddress.ip_address(target).packed
    if len(whose) == 4:
        reply = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2)
        return ends + struct.pack("!H", _ARP) + reply + _raw(mine) + whose + _raw(theirs) + whom
    # RFC 4861 section 4.4: solicited and override, with the target's link-layer address
    flags, option = 0x6000_0000, bytes((2, 1)) + _raw(mine)
    body = struct.pack("!BBHI", 136, 0, 0, flags) + whose + option
    pseudo = whose + whom + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    start = struct.pack("!IHBB", 6 << 28, len(body), 58, 255)
    return ends + struct.pack("!H", _IP6) + start + whose + whom + body


@pytest.mark.parametrize("where", ["box", "host"])
@pytest.mark.parametrize("family", ["4", "6"])
def test_an_address_that_is_taken_over(world: World, site: Site, where: str, family: str) -> None:
    """Who has taken over the address of a caller, and has real connections from it, is nobody's: neither who has the
    socket's label at that address elsewhere, nor who has those that are given to the address.
    """
    server: Place = getattr(site, where)
    prefix = "10.88.0." if family == "4" else "fd88::"
    number = {"host": 1, "box": 2}[where]
    target, address = f"{prefix}{number}", f"{prefix}3"
    length = f"{address}/{24 if family == '4' else 64}"
    kind = socket.AF_INET if family == "4" else socket.AF_INET6
    listener = Listener(world, server, site.friend, target, kind)
    network: Network = (IPv4Network if family == "4" else IPv6Network)(address)
    try:
        site.guarded.force(
            for_front(listener.port), host=Host({caller_cgroup(): _FRONT}, {network: _FRONT})
        )
        friend = listener.connect()
        friend.exchange(get("/pub/a"))
        assert asks(site.thief, listener, f"{prefix}4") == "denied"
        more = () if family == "4" else ("nodad",)
        ip("-n", site.thief.name, "addr", "add", length, "dev", "eth0", *more)
        try:
            take_over(site, server, address, target)
            assert asks(site.thief, listener, address) == "denied"
            # nothing but who it is has stopped it
            open_to_all = for_front(listener.port).replace(f"- from: {_ANYBODY}\n      ", "- ")
            site.guarded.force(open_to_all)
            take_over(site, server, address, target)
            assert asks(site.thief, listener, address) == "ok"
        finally:
            ip("-n", site.thief.name, "addr", "del", length, "dev", "eth0")
    finally:
        listener.close()
        ip("-n", server.name, "neigh", "flush", "dev", site.device(server))


def take_over(site: Site, server: Place, address: str, target: str) -> None:
    """Have a server's host take the thief for who has an address."""
    mine = site.hardware(site.thief)
    frame = announcement(address, mine, target, site.hardware(server))
    with site.thief.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind(("eth0", 0))

        def taken() -> bool:
            link.send(frame)
            return mine in site.neighbour(server, address)

        until(taken, "the address is taken over", 10)


def asks(place: Place, listener: Listener, source: str) -> str:
    """Ask from an address by a program of a place; return `ok` if the server has answered, `denied` if it has read nothing."""
    host = f"[{listener.address}]" if ":" in listener.address else listener.address
    url = f"http://{host}:{listener.port}/pub/a"
    curl = place.start("curl", "-sg", "-m", "10", "--interface", source, url)
    server, name = listener.socket.accept()
    assert name[0] == source
    try:
        data = receive(server, len("GET /pub/a"))
    except ConnectionResetError:
        data = b""
    else:
        server.sendall(OK)
    output, _ = curl.communicate(timeout=20)
    place.end(curl)
    server.close()
    if data:
        assert output == "ok"
        return "ok"
    assert output == forbidden().rpartition(b"\r\n")[2].decode()
    return "denied"
