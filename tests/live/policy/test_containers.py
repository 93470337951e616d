"""The gate on a container's cable: on the host's end, in front of sockets of another network namespace."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from axon.policy.compiler.compile import Host
from axon.policy.language.labels import Party
from axon.policy.language.model import Network
from tests.live.kit.axon import Axon
from tests.live.kit.emulated import share
from tests.live.kit.gate import (
    End,
    Guarded,
    caller_cgroup,
    checksum_errors,
    expect_403,
    expect_nothing,
    forbidden,
    rest,
)
from tests.live.kit.wire import Listener, get, head, post
from tests.live.kit.world import Place, World, ip

PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_LARGE = share(20 << 20)


@dataclass
class Site:
    """A host with two containers, each on a cable, or on cables that a bridge joins.

    `net` is what its addresses begin with.
    """

    host: Place
    box: Place
    other: Place
    guarded: Guarded
    cgroup: Path
    four: str
    six: str

    def allow(self, port: int, *rules: str, peers: str = "") -> None:
        """Put a policy into force for the container, by its cgroup."""
        text = _POLICY.format(port=port, rules=", ".join(rules) or "{}", peers=peers)
        parties = {self.cgroup.stat().st_ino: Party.of({"app": "box"})}
        parties[caller_cgroup()] = Party.of({"app": "host"})
        self.guarded.force(text, host=Host(cgroups=parties))


_POLICY = """
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {{name: web}}
spec:
  podSelector: {{matchLabels: {{app: box}}}}
  ingress:
    - {peers}
      ports: [{{port: {port}}}]
      httpRules: [{rules}]
"""


def _cable(host: Place, box: Place, name: str) -> None:
    ip("-n", host.name, "link", "add", name, "type", "veth", "peer", "eth0", "netns", box.name)
    ip("-n", host.name, "link", "set", name, "up")
    ip("-n", box.name, "link", "set", "eth0", "up")


def _address(place: Place, device: str, *addresses: str) -> None:
    for address in addresses:
        more = ("nodad",) if ":" in address else ()
        ip("-n", place.name, "addr", "add", address, "dev", device, *more)


def _routed(host: Place, box: Place, other: Place) -> tuple[str, str]:
    for number, place in enumerate((box, other), 1):
        _cable(host, place, f"pod{number}")
        _address(host, f"pod{number}", f"10.78.{number}.1/24", f"fd78:{number}::1/64")
        _address(place, "eth0", f"10.78.{number}.2/24", f"fd78:{number}::2/64")
        ip("-n", place.name, "route", "add", "default", "via", f"10.78.{number}.1")
        ip("-n", place.name, "-6", "route", "add", "default", "via", f"fd78:{number}::1")
    host.sysctl("net.ipv4.ip_forward", "1")
    host.sysctl("net.ipv6.conf.all.forwarding", "1")
    return "10.78.1.2", "fd78:1::2"


def _bridged(host: Place, box: Place, other: Place) -> tuple[str, str]:
    ip("-n", host.name, "link", "add", "br0", "type", "bridge")
    _address(host, "br0", "10.79.0.1/24", "fd79::1/64")
    ip("-n", host.name, "link", "set", "br0", "up")
    for number, place in enumerate((box, other), 2):
        _cable(host, place, f"pod{number}")
        ip("-n", host.name, "link", "set", f"pod{number}", "master", "br0")
        _address(place, "eth0", f"10.79.0.{number}/24", f"fd79::{number}/64")
    return "10.79.0.2", "fd79::2"


@pytest.fixture(scope="module", params=[_routed, _bridged], ids=["routed", "bridged"])
def site(world: World, judging: Axon, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Give a host with containers, and the gate where an agent would have it."""
    kind = request.param.__name__
    cgroup = world.cgroup / f"box{kind}"
    cgroup.mkdir()
    host, other = world.place(f"h{kind}"), world.place(f"o{kind}")
    box = Place(f"{world.name}-b{kind}", cgroup)
    try:
        four, six = request.param(host, box, other)
        guarded = Guarded(judging, host)
        with guarded.everywhere():
            yield Site(host, box, other, guarded, cgroup, four, six)
    finally:
        box.close()
        world.remove(host)
        world.remove(other)
        cgroup.rmdir()


@pytest.fixture(params=["host", "host6", "other", "other6"])
def listener(world: World, site: Site, request: pytest.FixtureRequest) -> Iterator[Listener]:
    """Give a server in the container, asked from the host and from another container."""
    six = request.param.endswith("6")
    client = site.host if request.param.startswith("host") else site.other
    address = site.six if six else site.four
    family = socket.AF_INET6 if six else socket.AF_INET
    made = Listener(world, site.box, client, address, family, socket.AF_INET6)
    before = [checksum_errors(place) for place in (site.host, site.box, site.other)]
    site.guarded.release()
    yield made
    made.close()
    site.guarded.release()
    assert [checksum_errors(place) for place in (site.host, site.box, site.other)] == before


def test_allowed_and_denied(site: Site, listener: Listener) -> None:
    """Allowed requests pass on a connection that stays open; the first that is denied ends it."""
    site.allow(listener.port, PUBLIC)
    before, reasons = site.guarded.verdicts(), site.guarded.denials()
    wire = listener.connect()
    for i in range(5):
        wire.exchange(get("/pub/a"))
        wire.exchange(get(f"/pub/{i}", "X: " + "x" * 700))
        wire.exchange(post(f"/pub/{i}", b"b" * 5000))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)
    after = site.guarded.verdicts()
    assert after.forwarded - before.forwarded == 15
    assert after.dropped - before.dropped == 1
    assert site.guarded.denials().get("UNJUDGED") == reasons.get("UNJUDGED")


def test_denied_at_once(site: Site, listener: Listener) -> None:
    """A first request that is denied is answered, also one for its head alone, and a long one."""
    site.allow(listener.port, PUBLIC)
    for request, body in (
        (get("/secret"), True),
        (head("HEAD /secret HTTP/1.1", "Host: a"), False),
        (get("/secret", *(f"X-{i}: " + "x" * 900 for i in range(30))), True),
    ):
        wire = listener.connect()
        wire.client.sendall(request)
        expect_403(wire.client, body=body)
        seen = rest(wire.server)
        assert seen.how == "reset"
        assert b"\r\n\r\n" not in seen.data


def test_a_lost_403(site: Site, listener: Listener) -> None:
    """A client that has not got its 403 asks again, and gets the same."""
    site.allow(listener.port, PUBLIC)
    wire = listener.connect()
    wire.exchange(get("/pub/a"))
    nothing = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))  # classic BPF
    program = struct.pack("@HP", 1, ctypes.addressof(nothing))
    wire.client.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    wire.client.sendall(get("/secret"))
    time.sleep(0.15)
    wire.client.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    assert rest(wire.client, 10) == End(forbidden(), "eof")
    expect_nothing(wire.server)


def test_a_denied_upload(site: Site, listener: Listener) -> None:
    """A client that sends much before it reads finds its 403."""
    site.allow(listener.port, PUBLIC)
    wire = listener.connect()
    wire.client.settimeout(30)
    wire.client.sendall(head("POST /secret HTTP/1.1", "Host: a", f"Content-Length: {_LARGE}"))
    wire.client.sendall(bytes(_LARGE))
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_an_allowed_upload(site: Site, listener: Listener) -> None:
    """An allowed upload, in large packets, arrives whole."""
    site.allow(listener.port, PUBLIC)
    wire = listener.connect()
    request = post("/pub/a", bytes(_LARGE))
    sender = threading.Thread(target=wire.client.sendall, args=(request,))
    sender.start()
    left = len(request)
    while left:
        left -= len(wire.server.recv(min(left, 1 << 20)))
    sender.join(20)
    wire.answer()
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_who_asks(site: Site, listener: Listener) -> None:
    """A caller on this host is known by its cgroup, also in another container; others are denied."""
    peers = "from: [{podSelector: {matchLabels: {app: host}}}]"
    site.allow(listener.port, PUBLIC, peers=peers)
    wire = listener.connect()
    wire.exchange(get("/pub/a"))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)
    address = f"[{listener.address}]" if ":" in listener.address else listener.address
    url = f"http://{address}:{listener.port}/pub/a"
    assert listener.client.run("curl", "-sg", url) == "Denied by network policy.\n"


def test_a_labelled_address(site: Site, world: World) -> None:
    """An address with labels, which another host may have, is worth nothing in a container."""
    prefix = "10.78.2" if site.four.startswith("10.78") else "10.79.0"
    label = Party.of({"app": "host"})
    _address(site.other, "eth0", f"{prefix}.9/24")
    listener = Listener(world, site.box, site.other, site.four)
    try:
        text = _POLICY.format(
            port=listener.port,
            rules=PUBLIC,
            peers="from: [{podSelector: {matchLabels: {app: host}}}]",
        )
        cgroups = {site.cgroup.stat().st_ino: Party.of({"app": "box"})}
        networks: dict[Network, Party] = {IPv4Network(f"{prefix}.9/32"): label}
        site.guarded.force(text, host=Host(cgroups, networks))
        url = f"http://{site.four}:{listener.port}/pub/a"
        said = site.other.run("curl", "-s", "--interface", f"{prefix}.9", url)
        assert said == "Denied by network policy.\n"
    finally:
        listener.close()
        ip("-n", site.other.name, "addr", "del", f"{prefix}.9/24", "dev", "eth0")


def test_who_asks_by_address(site: Site, listener: Listener) -> None:
    """A block of addresses allows a caller, and its exception does not."""
    with listener.dial() as probe:
        mine = probe.getsockname()[0]
    listener.accept()
    whole = "::/0" if ":" in mine else "0.0.0.0/0"
    one = f"{mine}/128" if ":" in mine else f"{mine}/32"
    for peers, fine in (
        (f'from: [{{ipBlock: {{cidr: "{one}"}}}}]', True),
        (f'from: [{{ipBlock: {{cidr: "{whole}", except: ["{one}"]}}}}]', False),
    ):
        site.allow(listener.port, PUBLIC, peers=peers)
        wire = listener.connect()
        if fine:
            wire.exchange(get("/pub/a"))
            wire.client.sendall(get("/secret"))
        else:
            wire.client.sendall(get("/pub/a"))
        expect_403(wire.client)
        expect_nothing(wire.server)


def test_another_container(site: Site, world: World) -> None:
    """A policy of one container's cgroup says nothing about another one's servers."""
    listener = Listener(world, site.other, site.host, _other_address(site))
    try:
        site.allow(listener.port, PUBLIC)
        wire = listener.connect()
        wire.exchange(get("/secret"))
        wire.finish()
    finally:
        listener.close()


@pytest.mark.parametrize("client", ["host", "box"])
def test_a_server_of_the_host(site: Site, world: World, client: str) -> None:
    """What a container, or the host itself, asks a server of the host is judged as well."""
    address = site.four.rpartition(".")[0] + ".1"
    listener = Listener(world, site.host, getattr(site, client), address)
    try:
        site.guarded.allow(listener.port, PUBLIC)
        wire = listener.connect()
        for _ in range(3):
            wire.exchange(get("/pub/a"))
            wire.exchange(get("/pub/b", "X: " + "x" * 3000))
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)
    finally:
        listener.close()


def test_what_passes_through(site: Site, world: World) -> None:
    """A judged server of the host, on every address, has nothing to do with what is for a container's
    server on the same port.
    """
    listener = Listener(world, site.box, site.other, site.four)
    own = site.host.socket()
    try:
        own.bind(("0.0.0.0", listener.port))
        own.listen()
        text = _POLICY.format(port=listener.port, rules="{path: /pub/*}", peers="").replace(
            "app: box", "app: host"
        )
        parties = {world.cgroup.stat().st_ino: Party.of({"app": "host"})}
        site.guarded.force(text, host=Host(cgroups=parties, unknown=None))
        with site.host.socket() as client:
            client.connect(("127.0.0.1", listener.port))
            client.sendall(get("/secret"))
            assert rest(client) == End(forbidden(), "eof")
        wire = listener.connect()
        for path in ("/secret", "/pub/a", "/secret"):
            wire.exchange(get(path))
            wire.exchange(get(path, "X: " + "x" * 3000))
        wire.finish()
    finally:
        own.close()
        listener.close()


def _other_address(site: Site) -> str:
    return "10.78.2.2" if site.four.startswith("10.78") else "10.79.0.3"
