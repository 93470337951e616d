"""A container with raw sockets sends from addresses that are not its own: it is nobody there, and least of all who has them.

Its cable has a network of its own, or is one of a bridge's; servers are in another container, which may be on
another bridge, and on the host itself.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from axon.kernel import tc
from axon.policy.compiler.compile import Host
from axon.policy.language.labels import Party
from axon.policy.language.model import Network
from tests.live.kit.axon import Axon
from tests.live.kit.gate import Guarded, caller_cgroup, inside, rest
from tests.live.kit.packet import ACK, PSH, SYN, Packet
from tests.live.kit.waiting import until
from tests.live.kit.wire import Listener, get, receive
from tests.live.kit.world import Place, World, ip

if TYPE_CHECKING:
    from axon.agent.points import Points

_NOBODY = "02:00:00:00:00:01"
_FRONT = "from: [{podSelector: {matchLabels: {app: front}}}]"
_POLICY = """
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {{name: web}}
spec:
  podSelector: {{matchLabels: {{app: box}}}}
  ingress:
    - {peers}
      httpRules: [{{path: /pub/*}}]
"""


Layout = Literal["routed", "bridged", "bridges", "joined"]
_NETS: dict[Layout, tuple[str, str]] = {
    "routed": ("10.80.1.", "10.80.2."),
    "bridged": ("10.81.0.", "10.81.0."),
    "bridges": ("10.82.1.", "10.82.0."),
    "joined": ("10.83.0.", "10.83.0."),
}
"""What the addresses of the server and of the others begin with."""


@dataclass
class Server:
    """Where a server is: by which device its answers go, and to which hop, if not to their address itself."""

    place: Place
    address: str
    device: str
    hop: str = ""

    @contextmanager
    def unheard(self, address: str) -> Iterator[None]:
        """Have what it answers to an address go to nobody: whose it is would end the connection."""
        hop, to = self.hop or address, ("-n", self.place.name, "neigh")
        ip(*to, "replace", hop, "lladdr", _NOBODY, "dev", self.device, "nud", "permanent")
        yield
        ip(*to, "del", hop, "dev", self.device)


@dataclass
class Site:
    """A host with three containers: one that serves, as the host does, one that may ask them, and one that forges."""

    host: Place
    box: Place
    friend: Place
    forger: Place
    guarded: Guarded
    points: Points
    cgroup: Path
    layout: Layout

    def address(self, who: str) -> str:
        """Return the address of the friend, of the host, or one that nobody has."""
        friend = 2 if self.layout == "routed" else 3
        return _NETS[self.layout][1] + str({"host": 1, "friend": friend, "elsewhere": 9}[who])

    def server(self, where: str) -> Server:
        """Return the server in the container, or that on the host."""
        net = _NETS[self.layout][0]
        if where == "box":
            return Server(
                self.box,
                f"{net}2",
                "eth0",
                "" if self.layout in {"bridged", "joined"} else f"{net}1",
            )
        device = "pod2" if self.layout == "routed" else "br0"
        return Server(self.host, self.address("host"), device)

    def force(self, peers: str, *labelled: str) -> None:
        """Have a policy in force for the server; the friend, the host and so many addresses have the label."""
        front = Party.of({"app": "front"})
        cgroups = {self.cgroup.stat().st_ino: Party.of({"app": "box"}), caller_cgroup(): front}
        networks: dict[Network, Party] = {IPv4Network(f"{one}/32"): front for one in labelled}
        self.guarded.force(_POLICY.format(peers=peers), host=Host(cgroups, networks))


def _cables(site_host: Place, places: tuple[Place, ...], layout: Layout) -> None:
    """Give each place a cable to the host, on a bridge or with a network of its own."""
    host = ("-n", site_host.name)
    bridges = {"routed": [], "bridged": ["br0"]}.get(layout, ["br0", "br1"])
    for bridge in bridges:
        ip(*host, "link", "add", bridge, "type", "bridge")
        ip(*host, "link", "set", bridge, "up")
    for net, bridge in zip(reversed(_NETS[layout]), bridges, strict=False):
        if layout != "joined" or bridge == "br0":
            ip(*host, "addr", "add", f"{net}1/24", "dev", bridge)
    if layout == "joined":
        ip(*host, "link", "add", "end0", "master", "br0", "type", "veth", "peer", "end1")
        ip(*host, "link", "set", "end1", "master", "br1", "up")
        ip(*host, "link", "set", "end0", "up")
    for n, place in enumerate(places, 1):
        name, inside = f"pod{n}", ("-n", place.name)
        ip(*host, "link", "add", name, "type", "veth", "peer", "eth0", "netns", place.name)
        ip(*host, "link", "set", name, "up")
        ip(*inside, "link", "set", "eth0", "up")
        if layout == "routed":
            net, last = f"10.80.{n}.", 2
            ip(*host, "addr", "add", f"{net}1/24", "dev", name)
            site_host.sysctl(f"net.ipv4.conf.{name}.rp_filter", "0")
        else:
            net, last = _NETS[layout][n > 1], n + 1
            ip(*host, "link", "set", name, "master", bridges[-1 if n == 1 else 0])
        ip(*inside, "addr", "add", f"{net}{last}/24", "dev", "eth0")
        ip(*inside, "route", "add", "default", "via", f"{net}1")
    for place in (site_host, *places):
        place.sysctl("net.ipv4.tcp_timestamps", "0")
    # no check of the host's own is to be what stops them
    for name, value in (("ip_forward", 1), ("conf.all.rp_filter", 0), ("conf.all.accept_local", 1)):
        site_host.sysctl(f"net.ipv4.{name}", str(value))


@pytest.fixture(scope="module", params=_NETS)
def site(world: World, judging: Axon, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Give the containers, and the gate where an agent would have it."""
    layout: Layout = request.param
    kind = layout[-2:]
    cgroup = world.cgroup / f"forged{kind}"
    cgroup.mkdir()
    friend, forger = (world.place(f"{name}{kind}") for name in ("ff", "fx"))
    host, box = (Place(f"{world.name}-{name}{kind}", cgroup) for name in ("fh", "fb"))
    try:
        _cables(host, (box, friend, forger), layout)
        guarded = Guarded(judging, host)
        with guarded.everywhere() as points:
            yield Site(host, box, friend, forger, guarded, points, cgroup, layout)
    finally:
        box.close()
        host.close()
        for place in (friend, forger):
            world.remove(place)
        cgroup.rmdir()


@pytest.fixture
def server(site: Site, where: str) -> Server:
    """Give the server that a test is about."""
    return site.server(where)


@pytest.fixture
def listener(world: World, site: Site, server: Server) -> Iterator[Listener]:
    """Give its socket."""
    made = Listener(world, server.place, site.friend, server.address)
    site.guarded.release()
    yield made
    made.close()
    site.guarded.release()


class Forger:
    """Sends from another's address out of the third container; what the server sends is seen, as if it had been guessed."""

    def __init__(
        self, site: Site, server: Server, listener: Listener, source: str, sport: int
    ) -> None:
        self.port = listener.port
        self.seen = listener.keep(server.place.socket(socket.AF_PACKET, socket.SOCK_DGRAM))
        self.seen.bind((server.device, 3))
        self._raw = listener.keep(
            site.forger.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        )
        self.source, self.target = map(socket.inet_aton, (source, server.address))
        self.sport = sport
        self.seq = random.getrandbits(32)
        self.ack = 0

    def send(self, flags: int, data: bytes = b"") -> None:
        """Send a segment."""
        packet = Packet(
            to_server=True, source=self.source, target=self.target, sport=self.sport, dport=self.port,
            seq=self.seq, ack=self.ack, flags=flags, window=0xFFFF, options=b"", data=data,
        )  # fmt: skip
        self._raw.sendto(packet.raw(), (socket.inet_ntoa(self.target), 0))
        self.seq = (self.seq + len(data) + bool(flags & SYN)) % 2**32

    def connect(self) -> None:
        """Shake hands with numbers that the server has told somebody else."""
        self.send(SYN)
        answer = self._last(lambda p: bool(p.flags & SYN) and p.sport == self.port, 5)
        assert answer, "the server has not answered"
        self.ack = (answer.seq + 1) % 2**32
        self.send(ACK)

    def join(self) -> None:
        """Go on where another's connection stands."""
        last = self._last(lambda p: (p.sport, p.dport) == (self.sport, self.port), 0.5)
        assert last, "nothing was sent on the connection"
        self.seq, self.ack = (last.seq + len(last.data)) % 2**32, last.ack

    def _last(self, good: Callable[[Packet], bool], seconds: float) -> Packet | None:
        """Return the last good segment of a while, a SYN at once."""
        found, deadline = None, time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.seen.settimeout(left)
            try:
                packet = Packet.parse(self.seen.recv(1 << 17), to_server=True)
            except TimeoutError:
                break
            if packet and good(packet):
                found = packet
                if packet.flags & SYN:
                    break
        return found


@pytest.mark.parametrize(
    ("where", "who"),
    [
        ("box", "friend"),
        ("box", "host"),
        ("box", "elsewhere"),
        ("host", "friend"),
        ("host", "elsewhere"),
    ],
)
def test_a_connection_of_another(site: Site, server: Server, listener: Listener, who: str) -> None:
    """A connection from another container's address, the host's, or another host's is nobody's, also
    if that address has the label.
    """
    source = site.address(who)
    for peers in ("{}", _FRONT):
        site.force("from: []" if peers == "{}" else peers, source)
        forger = Forger(site, server, listener, source, random.randrange(30_000, 60_000))
        with server.unheard(source):
            forger.connect()
            accepted = listener.accept()
            forger.send(ACK | PSH, get("/pub/forged"))
            if peers == "{}":  # nothing else stops it
                assert receive(accepted, len(get("/pub/forged"))) == get("/pub/forged")
            else:
                assert rest(accepted, 1).data == b""


@pytest.mark.parametrize("where", ["box", "host"])
def test_a_connection_of_its_own(site: Site, listener: Listener) -> None:
    """Who asks from a container is known by its socket there."""
    site.force(_FRONT)
    client = listener.dial()
    client.sendall(get("/pub/a"))
    assert receive(listener.accept(), len(get("/pub/a"))) == get("/pub/a")


@pytest.mark.parametrize("path", ["/pub/forged", "/pub/a"])
@pytest.mark.parametrize(("where", "who"), [("box", "friend"), ("box", "host"), ("host", "friend")])
def test_within_a_connection_of_another(
    site: Site, server: Server, listener: Listener, who: str, path: str
) -> None:
    """A request within another's connection, with all the right numbers, is not that one's either: neither a new one
    nor what it has asked itself.
    """
    listener.client = getattr(site, who)
    for peers in ("from: []", _FRONT):
        site.force(peers)
        client = listener.dial()
        source, sport = client.getsockname()
        forger = Forger(site, server, listener, source, sport)
        accepted = listener.accept()
        for _ in range(2):
            client.sendall(get("/pub/a"))
            assert receive(accepted, len(get("/pub/a"))) == get("/pub/a")
            accepted.sendall(b"HTTP/1.1 204 Nothing\r\n\r\n")
            receive(client, 24)
        forger.join()
        forger.send(ACK | PSH, get(path))
        if peers == _FRONT:
            assert rest(accepted, 1).data == b""
        else:
            assert receive(accepted, len(get(path))) == get(path)


@pytest.mark.parametrize("site", ["bridged"], indirect=True)
@pytest.mark.parametrize("where", ["host"])
def test_while_a_port_does_not_tell(site: Site, listener: Listener) -> None:
    """While nothing tells by which port of a bridge a connection's packets come they are dropped; they pass when they come
    again and their port tells.
    """
    site.force(_FRONT)
    wire = listener.connect()
    wire.exchange(get("/pub/a"))
    before = site.guarded.denials().get("UNTOLD", 0)
    inside(site.host, lambda: tc.detach(tc.Point(socket.if_nametoindex("pod2"), port=True)))
    wire.client.sendall(get("/pub/b"))
    until(lambda: site.guarded.denials().get("UNTOLD", 0) > before, "it is dropped")
    inside(site.host, site.points.look)
    assert receive(wire.server, len(get("/pub/b"))) == get("/pub/b")
