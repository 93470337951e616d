"""Where segments are cut, and what a server has room for, makes no difference to what is judged; and what passes is what came."""

from __future__ import annotations

import socket

import pytest

from tests.live.kit.gate import End, Guarded, forbidden, rest
from tests.live.kit.packet import ACK, RST
from tests.live.kit.raw import Raw
from tests.live.kit.wire import OK, head, receive
from tests.live.kit.world import World
from tests.live.policy.test_attacks import (
    BAD,
    GOOD,
    OTHER,
    SILENCE,
    SIZE,
    Make,
    another,
    exchange,
    expect_unread,
    make,
)

__all__ = ["make"]

SHORT = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 3") + b"abc"
DENIED = head("POST /secret HTTP/1.1", "Host: a", "Content-Length: 3") + b"abc"


def in_pieces(raw: Raw, server: socket.socket, request: bytes, *cuts: int) -> None:
    """Send a request in segments, each of which the server reads before the next comes."""
    for at, to in zip((0, *cuts), (*cuts, len(request)), strict=True):
        raw.send(request[at:to], at=at)
        assert receive(server, to - at) == request[at:to]


def answered(raw: Raw, server: socket.socket, size: int) -> None:
    """Go on behind a request that is answered now."""
    raw.seq = (raw.seq + size) % 2**32
    server.sendall(OK)
    got = raw.wait(lambda s: bool(s.data))
    raw.ack = (got.seq + len(got.data)) % 2**32
    raw.send(flags=ACK)


def test_cut_at_every_byte(make: Make, gate: Guarded) -> None:
    """An allowed request passes wherever it is cut, also into bytes."""
    raw, server = make()
    with gate.denying(RULE=1):
        for cut in range(1, len(SHORT)):
            in_pieces(raw, server, SHORT, cut)
            answered(raw, server, len(SHORT))
        in_pieces(raw, server, SHORT, *range(1, len(SHORT)))
        answered(raw, server, len(SHORT))
        raw.send(BAD)
        expect_unread(server)


def test_denied_and_cut_at_every_byte(make: Make, gate: Guarded) -> None:
    """A denied one does not: the segment in which its head ends never arrives."""
    end = DENIED.index(b"\r\n\r\n") + 4
    with gate.denying(RULE=end - 1):
        for cut in range(1, end):
            raw, server = make()
            in_pieces(raw, server, DENIED[:cut])
            raw.send(DENIED[cut:], at=cut)
            assert raw.wait(lambda s: bool(s.data)).data == forbidden()
            assert rest(server) == End(b"", "reset"), cut


def test_denied_byte_by_byte(make: Make, gate: Guarded) -> None:
    """Nor does the last byte of its head."""
    raw, server = make()
    with gate.denying(RULE=1):
        end = DENIED.index(b"\r\n\r\n") + 4
        in_pieces(raw, server, DENIED[: end - 1], *range(1, end - 1))
        raw.send(DENIED[end - 1 :], at=end - 1)
        assert raw.wait(lambda s: bool(s.data)).data == forbidden()
        assert rest(server) == End(b"", "reset")


stamped = pytest.mark.parametrize("stamps", [False, True], ids=["plain", "stamps"])


@stamped
@pytest.mark.parametrize("queued", [False, True])
def test_beyond_the_window(make: Make, gate: Guarded, stamps: bool, queued: bool) -> None:
    """A request behind a body that is longer than the window is discarded: other bytes do not get by in its place."""
    raw, server = make(stamps=stamps)
    exchange(raw, server)
    piece, pieces = b"b" * 1000, 100
    front = head("POST /pub/a HTTP/1.1", "Host: a", f"Content-Length: {len(piece) * pieces}")
    raw.send(front)
    assert receive(server, len(front)) == front
    end = len(front) + len(piece) * pieces
    before = gate.denials().get("RESENT", 0)
    raw.send(GOOD, at=end)
    if queued:
        raw.send(OTHER, at=end + SIZE)
    for i in range(pieces):
        raw.send(piece, at=len(front) + i * len(piece))
    raw.send(BAD, at=end)
    assert b"/secret" not in rest(server, SILENCE).data
    assert gate.denials()["RESENT"] > before


def taken(raw: Raw, seconds: float) -> int:
    """Return how many bytes TCP has taken: it says so when a byte comes that it has."""
    raw.send(b"\0", at=-1)
    raw.wait(bool)
    raw.all(seconds)
    return (raw.seen[-1].ack - raw.seq) % 2**32


def filled(raw: Raw, server: socket.socket) -> int:
    """Send requests until TCP has no room; return behind how many bytes the one lies that it has discarded."""
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    for at in range(0, 1 << 20, SIZE):
        raw.send(GOOD, at=at)
        if taken(raw, 0.01) == at and taken(raw, 0.2) == at:
            return at
    pytest.fail("there is room for everything")


@stamped
@pytest.mark.parametrize("queued", [False, True])
def test_no_room(make: Make, gate: Guarded, stamps: bool, queued: bool) -> None:
    """Where the server's buffer was full, and its window shrunk, other bytes do not get by in the place of what was discarded."""
    raw, server = make(stamps=stamps)
    at = filled(raw, server)
    if queued:
        raw.send(OTHER, at=at + SIZE)
    assert receive(server, at) == GOOD * (at // SIZE)
    if queued:
        raw.send(OTHER, at=at + SIZE)
    before = gate.denials()
    raw.send(BAD, at=at)
    expect_unread(server)
    gate.expect_denials(before, RESENT=1)


@stamped
def test_room_again(make: Make, gate: Guarded, stamps: bool) -> None:
    """The same bytes pass in their place."""
    raw, server = make(stamps=stamps)
    with gate.denying(RULE=1):
        at = filled(raw, server)
        assert receive(server, at) == GOOD * (at // SIZE)
        raw.send(GOOD, at=at)
        assert receive(server, SIZE) == GOOD
        raw.send(BAD, at=at + SIZE)
        expect_unread(server)


def test_less_than_a_header(make: Make, gate: Guarded, world: World) -> None:
    """What has no whole header is dropped where it is for a selected server, and counted there alone."""
    raw, server = make()
    options = b"" if raw.six else b"\1" * 20
    before = gate.denials()
    other = another(make, world.port())
    for one in (raw, other):
        one.put(one.frame(one.tcp(GOOD)[:16], extension=options))
    gate.expect_denials(before, STRAY=1)
    exchange(raw, server)
    raw.send(BAD)
    expect_unread(server)
    # nor is it for a connection that has been denied
    short = bytearray(raw.tcp(GOOD))
    short[12] = 0
    raw.put(raw.frame(bytes(short)))
    gate.expect_denials(before, STRAY=2)


def test_the_newest_time_stamp_is_echoed(make: Make, gate: Guarded) -> None:
    """A 403 has the time stamps that the server's own next segment would have (RFC 7323)."""
    raw, server = make(stamps=True)
    with gate.denying(RULE=1):
        exchange(raw, server)
        theirs = raw.seen[-1].stamps[0]
        raw.stamp += 777
        raw.send(BAD)
        got = raw.wait(lambda s: bool(s.data))
        assert got.data == forbidden()
        assert got.stamps == (theirs, raw.stamp)
        expect_unread(server)


def test_unmodified(make: Make, gate: Guarded, world: World) -> None:
    """What is allowed arrives as it was sent, with every header; in the place of what is denied comes a reset."""
    raw, server = make(stamps=True)
    with gate.denying(RULE=1):
        family = socket.AF_INET6 if raw.six else socket.AF_INET
        # gets each packet of TCP that has passed, by IPv6 without its header
        with world.server.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as behind:
            behind.settimeout(3)
            mine = raw.tcp()[:4]

            def arrived() -> bytes:
                while True:
                    packet = behind.recv(1 << 17)
                    tcp = packet if raw.six else packet[(packet[0] & 15) * 4 :]
                    if tcp[:4] == mine:
                        return packet

            more = b"\1\1\5\x0a" + bytes(8)
            for options in (None, b"\1" * 12, raw.tcp()[20:32] + more):
                segment = raw.tcp(GOOD, options=options)
                raw.put(raw.frame(segment))
                assert arrived() == (segment if raw.six else raw.frame(segment)[14:])
                assert receive(server, SIZE) == GOOD
                raw.seq = (raw.seq + SIZE) % 2**32
            raw.send(BAD)
            packet = arrived()
            assert packet[-20:][13] == RST
            assert BAD not in packet
