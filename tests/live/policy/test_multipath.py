"""Multipath TCP (RFC 8684) may put bytes into another order than TCP's: selected servers speak it with nobody."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from axon.policy.compiler.layout import HostMode
from tests.live.kit.gate import Guarded, expect_403, expect_nothing, rest
from tests.live.kit.packet import ACK, FIN
from tests.live.kit.raw import MSS, Raw
from tests.live.kit.wire import Listener, get, head, receive
from tests.live.kit.world import World
from tests.live.policy.test_attacks import GOOD, exchange
from tests.live.policy.test_early_data import cookies

__all__ = ["cookies"]

PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'
IPPROTO_MPTCP, SOL_MPTCP, MPTCP_INFO = 262, 284, 1
FALLBACK = 1  # MPTCP_INFO_FLAG_FALLBACK
CAPABLE = bytes.fromhex("1e040101")  # version 1 with HMAC-SHA256, RFC 8684 section 3.1
ANSWERED = b"\x1e\x0c"  # the option by which a server agrees
DENIED = b"GET /secret HTTP/1.1\r\nHost: a\r\n\r\n"
FRONT = head("POST /pub/a HTTP/1.1", "Host: a", f"Content-Length: {len(DENIED)}")


class Sender:
    """The options of a client's Multipath TCP (RFC 8684 section 3)."""

    def __init__(self) -> None:
        self.key = os.urandom(8)
        token = hashlib.sha256(self.key).digest()
        self.start = int.from_bytes(token[-8:], "big") + 1

    def capable(self, theirs: bytes) -> bytes:
        """Return the option that ends the handshake."""
        return bytes.fromhex("1e140101") + self.key + theirs

    def data(self, at: int, subflow: int, size: int) -> bytes:
        """Return the mapping of so many bytes, by their places in the stream and on this connection."""
        number = (self.start + at) % 2**64
        return struct.pack("!BBBBQIH", 30, 18, 0x20, 0x0C, number, subflow, size) + b"\1\1"

    def first(self, theirs: bytes, at: int, size: int) -> bytes:
        """Return both, in the place of the one that first data has."""
        capable = bytes.fromhex("1e160101") + self.key + theirs + struct.pack("!H", size)
        return capable + self.data(at, 1, size)[:18]


def their_key(raw: Raw) -> bytes:
    """Return the server's key, from its answer to a SYN."""
    options = raw.seen[-1].options
    at = options.index(ANSWERED)
    return options[at + 4 : at + 12]


@pytest.fixture
def multipath(world: World, gate: Guarded, request: pytest.FixtureRequest) -> Iterator[Listener]:
    """Give a server that takes Multipath TCP, by IPv4 unless a test says otherwise."""
    six = getattr(request, "param", False)

    class Both(Listener):
        """A listener and clients of that protocol."""

        def __post_init__(self) -> None:
            self.port = self.world.port()
            self.socket = self.keep(self.server.socket(self.family, proto=IPPROTO_MPTCP))
            self.socket.bind(("::" if six else "0.0.0.0", self.port))
            self.socket.listen(64)

        def dial(self) -> socket.socket:
            sock = self.keep(self.client.socket(self.family, proto=IPPROTO_MPTCP))
            sock.connect((self.address, self.port))
            return sock

    address, family = world.server.ip4, socket.AF_INET
    if six:
        address, family = world.server.ip6, socket.AF_INET6
    made = Both(world, world.server, world.client, address, family)
    yield made
    made.close()


each_family = pytest.mark.parametrize("multipath", [False, True], indirect=True, ids=["4", "6"])


def is_six(listener: Listener) -> bool:
    """Return whether a server is reached by IPv6."""
    return listener.family == socket.AF_INET6


def fell_back(sock: socket.socket) -> bool:
    """Return whether a connection is plain TCP after all."""
    try:
        info = sock.getsockopt(SOL_MPTCP, MPTCP_INFO, 64)
    except OSError:
        return True
    return bool(int.from_bytes(info[8:12], "little") & FALLBACK)


@each_family
def test_not_selected(gate: Guarded, multipath: Listener) -> None:
    """A server that is not selected takes Multipath TCP as ever."""
    assert not fell_back(multipath.connect().client)


@each_family
def test_selected(gate: Guarded, multipath: Listener) -> None:
    """Connections to a selected server are plain, from the first one on, and judged."""
    gate.allow(multipath.port, PUBLIC)
    for i in range(3):
        wire = multipath.connect()
        assert fell_back(wire.client), i
        wire.exchange(get("/pub/a"))
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)


@each_family
@pytest.mark.parametrize("asked", [CAPABLE, CAPABLE * 2, b"\1" + CAPABLE * 2 + b"\1\1\1"])
def test_asked_for(gate: Guarded, world: World, multipath: Listener, asked: bytes) -> None:
    """However often a SYN asks a selected server for Multipath TCP, and where in the header, it is not heard."""
    for selected in (False, True):
        if selected:
            gate.allow(multipath.port, PUBLIC)
        with closing(Raw(world, multipath.port, six=is_six(multipath))) as raw:
            raw.connect(MSS + asked, last=False)
            assert (ANSWERED in raw.seen[-1].options) is not selected


@each_family
def test_older_than_the_policy(gate: Guarded, multipath: Listener) -> None:
    """A multipath connection that is older than its server's policy carries no denied request."""
    wire = multipath.connect()
    assert not fell_back(wire.client)
    wire.exchange(get("/pub/a"))
    gate.allow(multipath.port, PUBLIC)
    wire.client.sendall(get("/secret"))
    assert rest(wire.server, 1.0).data == b""


@pytest.mark.parametrize("selected", [True, False])
def test_asked_for_in_time_wait(
    gate: Guarded, world: World, multipath: Listener, selected: bool
) -> None:
    """A SYN by which TCP ends an older connection's TIME_WAIT (RFC 6191) is heard as little, or as ever."""
    gate.allow(multipath.port if selected else world.port(), PUBLIC)
    with closing(Raw(world, multipath.port)) as raw:
        raw.connect()
        server = multipath.accept()
        exchange(raw, server)
        server.close()
        got = raw.wait(lambda s: bool(s.flags & FIN))
        raw.ack = (got.seq + len(got.data) + 1) % 2**32
        raw.send(flags=ACK | FIN)
        raw.all(0.2)
        raw.seq = (raw.seq + 100_000) % 2**32
        raw.ack = 0
        raw.connect(MSS + CAPABLE, last=False)
        assert (ANSWERED in raw.seen[-1].options) is not selected


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_not_by_a_cookie(
    gate: Guarded, world: World, multipath: Listener, cookies: None, asked: bool, bare: bool
) -> None:
    """Where a server sends cookies it believes who ends the handshake that Multipath TCP was asked for."""
    gate.allow(multipath.port, PUBLIC)
    wire = multipath.connect()
    wire.exchange(get("/pub/a"))
    sender, theirs = Sender(), os.urandom(8)
    before = gate.denials()
    whole = FRONT + DENIED
    with closing(Raw(world, multipath.port)) as raw:
        raw.connect(MSS + (CAPABLE if asked else b""), last=False)
        assert ANSWERED not in raw.seen[-1].options
        if bare:
            raw.send(flags=ACK, options=sender.capable(theirs))
        else:
            raw.send(whole, options=sender.first(theirs, -len(FRONT), len(whole)))
        multipath.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            multipath.socket.accept()
    gate.expect_denials(before, MULTIPATH=1)


@each_family
def test_begun_before(gate: Guarded, world: World, multipath: Listener) -> None:
    """A handshake that was under way when its server was selected does not end in Multipath TCP."""
    gate.gate.mode = HostMode.OFF
    sender, whole = Sender(), FRONT + DENIED
    with closing(Raw(world, multipath.port, six=is_six(multipath))) as raw:
        raw.connect(MSS + CAPABLE, last=False)
        theirs = their_key(raw)
        gate.allow(multipath.port, PUBLIC)
        for _ in range(3):
            raw.send(whole, options=sender.first(theirs, -len(FRONT), len(whole)))
        multipath.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            multipath.socket.accept()


def test_mapped_under_audit(gate: Guarded, world: World, multipath: Listener) -> None:
    """What a mapping said while nothing was denied is not believed afterwards."""
    gate.allow(multipath.port, PUBLIC)
    gate.gate.mode = HostMode.AUDIT
    sender = Sender()
    front = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 60000")
    with closing(Raw(world, multipath.port)) as raw:
        raw.connect(MSS + CAPABLE, last=False)
        theirs = their_key(raw)
        raw.send(flags=ACK, options=sender.capable(theirs))
        server = multipath.accept()
        at = len(GOOD)
        raw.send(GOOD, options=sender.capable(theirs) + sender.data(0, 1, at))
        assert receive(server, at) == GOOD
        # the head is in the place of what was read before, and discarded; what follows is not its body
        raw.send(front, at=at, options=sender.data(at - len(front), 1 + at, len(front)))
        at += len(front)
        raw.send(DENIED[:1], at=at, options=sender.data(len(GOOD), 1 + at, 5000))
        assert receive(server, 1) == DENIED[:1]
        gate.gate.mode = HostMode.ENFORCE
        raw.send(DENIED[1:], at=at + 1)
        assert rest(server, 0.5).data == b""


def test_deferred_accept(gate: Guarded, multipath: Listener) -> None:
    """A request that ends the handshake is judged where the server takes Multipath TCP as it is elsewhere."""
    gate.allow(multipath.port, PUBLIC)
    multipath.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    for _ in range(2):
        client = multipath.keep(multipath.client.socket(socket.AF_INET))
        client.connect((multipath.address, multipath.port))
        begun = time.monotonic()
        client.sendall(get("/pub/a"))
        assert receive(multipath.accept(), len(get("/pub/a"))) == get("/pub/a")
        assert time.monotonic() - begun < 0.9
        # nothing was dropped, or it would have taken TCP a second to send it again
