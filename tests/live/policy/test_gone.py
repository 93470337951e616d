"""A caller on this host that is gone before its request is judged: unknown, as nothing says any more who it was."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from axon.policy.compiler.compile import Host
from axon.policy.language.labels import Party
from tests.live.kit.gate import End, Guarded, caller_cgroup, expect_nothing, for_front, rest
from tests.live.kit.packet import ACK, PSH, checksum
from tests.live.kit.wire import Listener, get, post, receive
from tests.live.kit.world import World

_REPAIR, _QUEUE, _SEQ = 19, 20, 21  # TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ
_RECEIVED, _SENT = 1, 2
_LARGE = 100_000
_WAYS = ["127.0.0.1", "::1", "own4", "own6"]


@dataclass
class Late:
    """What a client has sent, and the host has still to deliver when there is no client any more."""

    source: str
    target: str
    sport: int
    dport: int
    seq: int
    ack: int

    @classmethod
    def of(cls, client: socket.socket) -> Late:
        """Have a client vanish without a word to its server, as TCP_REPAIR allows."""
        source, sport = client.getsockname()[:2]
        target, dport = client.getpeername()[:2]
        client.setsockopt(socket.IPPROTO_TCP, _REPAIR, 1)
        numbers = []
        for queue in (_SENT, _RECEIVED):
            client.setsockopt(socket.IPPROTO_TCP, _QUEUE, queue)
            raw = client.getsockopt(socket.IPPROTO_TCP, _SEQ, 4)
            numbers.append(int.from_bytes(raw, sys.byteorder))
        client.close()
        return cls(source, target, sport, dport, *numbers)

    def arrive(self, world: World, data: bytes) -> None:
        """Have data arrive as the client would have sent it."""
        six = ":" in self.source
        family = socket.AF_INET6 if six else socket.AF_INET
        ends = socket.inet_pton(family, self.source) + socket.inet_pton(family, self.target)
        start = b"".join(
            number.to_bytes(size)
            for number, size in (
                (self.sport, 2), (self.dport, 2), (self.seq, 4), (self.ack, 4),
                (5 << 4, 1), (ACK | PSH, 1), (0xFFFF, 2),
            )
        )  # fmt: skip
        size = len(start) + 4 + len(data)
        pseudo = ends + size.to_bytes(4) + (6).to_bytes(4)
        check = checksum(pseudo + start + bytes(4) + data)
        tcp = start + check.to_bytes(2) + bytes(2) + data
        if six:
            packet = bytes((0x60, 0, 0, 0)) + size.to_bytes(2) + bytes((6, 64)) + ends + tcp
        else:
            header = bytes((0x45, 0)) + (20 + size).to_bytes(2) + bytes((0, 77, 0, 0, 64, 6))
            packet = header + checksum(header + bytes(2) + ends).to_bytes(2) + ends + tcp
        kind = b"\x86\xdd" if six else b"\x08\x00"
        with world.server.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
            link.bind(("lo", 0))
            link.send(bytes(12) + kind + packet)


@pytest.fixture(params=_WAYS)
def here(world: World, gate: Guarded, request: pytest.FixtureRequest) -> Iterator[Listener]:
    """Give a server that is asked on its own host, by a loopback address and by one of its own."""
    own = {"own4": world.server.ip4, "own6": world.server.ip6}
    address = own.get(request.param, request.param)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # nobody answers to what has no time stamp where there were some
    world.server.sysctl("net.ipv4.tcp_timestamps", "0")
    gate.forged = True
    made = Listener(world, world.server, world.server, address, family, socket.AF_INET6)
    yield made
    made.close()
    world.server.sysctl("net.ipv4.tcp_timestamps", "1")


def front(gate: Guarded, listener: Listener, text: str = "") -> None:
    """Allow who has the label, which this process has, to ask."""
    host = Host(cgroups={caller_cgroup(): Party.of({"app": "front"})})
    gate.force(text or for_front(listener.port), host=host)


def anybody(port: int) -> str:
    """Return the same policy for whoever asks."""
    text = for_front(port)
    return text.replace("- from: [{podSelector: {matchLabels: {app: front}}}]\n      ", "- ")


def test_while_it_is_there(gate: Guarded, here: Listener) -> None:
    """With its socket the same caller is known."""
    front(gate, here)
    here.connect().exchange(get("/pub/a"))


@pytest.mark.parametrize("known", [False, True])
def test_gone(gate: Guarded, world: World, here: Listener, known: bool) -> None:
    """What comes of a caller without a socket is denied where callers are named, and let by where they are not;
    also where policies have changed since it was known.
    """
    for text in (anybody(here.port), for_front(here.port)):
        front(gate, here, text)
        wire = here.connect()
        if known:
            wire.exchange(get("/pub/a"))
            front(gate, here, text)
        before = gate.verdicts()
        Late.of(wire.client).arrive(world, get("/pub/a"))
        if text == anybody(here.port):
            assert receive(wire.server, len(get("/pub/a"))) == get("/pub/a")
        else:
            expect_nothing(wire.server)
            after = gate.verdicts()
            assert (after.dropped - before.dropped, after.forwarded) == (1, before.forwarded)
        here.keep(wire.server)


def test_closed_with_a_request_to_send(gate: Guarded, here: Listener) -> None:
    """A socket that is closed while a full window keeps its last request back is its caller's until that is sent."""
    front(gate, here)
    here.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire = here.connect()
    wire.client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _LARGE)
    whole = post("/pub/a", bytes(_LARGE)) + get("/pub/b")
    wire.client.sendall(whole)
    wire.client.close()
    assert rest(wire.server) == End(whole, "eof")


def test_of_a_cgroup_that_is_gone(gate: Guarded, here: Listener) -> None:
    """A caller whose cgroup is not known any more is denied, though its socket is there."""
    front(gate, here)
    wire = here.connect()
    wire.exchange(get("/pub/a"))
    gate.force(for_front(here.port), host=Host(cgroups={1 << 40: Party.of({"app": "front"})}))
    wire.client.sendall(get("/pub/a"))
    expect_nothing(wire.server)
