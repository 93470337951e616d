"""How a connection begins does not carry a denied request past the gate: by a cookie, by first data, while others wait."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.live.kit.gate import Guarded, forbidden
from tests.live.kit.packet import ACK, SYN
from tests.live.kit.raw import MSS, Raw
from tests.live.kit.waiting import readable
from tests.live.kit.wire import Listener, head, receive
from tests.live.kit.world import World
from tests.live.policy.test_attacks import (
    BAD,
    GOOD,
    OTHER,
    PUBLIC,
    SIZE,
    Decoy,
    Make,
    another,
    damaged,
    exchange,
    expect_unread,
    make,
    old,
    read_by_all,
    read_by_each,
    sized,
)

__all__ = ["make"]

JOIN = bytes.fromhex("1e0c1001") + bytes(8)  # MP_JOIN, RFC 8684 section 3.2
BODY = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 100000")
PLAIN = sized("/pub/a", len(BODY))


@pytest.mark.parametrize("selected", [False, True])
def test_a_further_path(make: Make, gate: Guarded, world: World, selected: bool) -> None:
    """A SYN that would add a path to a connection of Multipath TCP is not answered by a selected server."""
    raw = another(make)
    if not selected:
        gate.allow(world.port(), PUBLIC)
    before = gate.denials()
    raw.send(flags=SYN, seq=raw.seq, options=MSS + JOIN)
    assert any(s.flags & SYN for s in raw.all(0.5)) is not selected
    gate.expect_denials(before, MULTIPATH=int(selected))


@pytest.mark.parametrize("selected", [False, True])
def test_data_with_a_syn(make: Make, gate: Guarded, world: World, selected: bool) -> None:
    """A SYN with data is answered by a selected server when it comes again without; that it was dropped is counted."""
    raw = another(make)
    if not selected:
        gate.allow(world.port(), PUBLIC)
    before = gate.denials()
    raw.send(GOOD, flags=SYN, seq=raw.seq, options=MSS)
    assert any(s.flags & SYN for s in raw.all(0.5)) is not selected
    gate.expect_denials(before, ORDER=int(selected))


class Late:
    """A server whose connections do not begin with the handshake alone."""

    def __init__(self, make: Make, world: World, way: str) -> None:
        self.make = make
        self._world = world
        self._way = way
        self._listener: Listener = make.listener  # type: ignore[attr-defined]
        make()
        listening = self._listener.socket
        if way == "cookies":
            world.server.sysctl("net.ipv4.tcp_syncookies", "2")
        elif way == "deferred":
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        else:
            listening.listen(0)

    def begin(self, *, stamps: bool = False) -> Raw:
        """Return a client whose handshake lacks its last acknowledgement; a queue has been filled behind it."""
        raw = another(self.make, stamps=stamps).connect(last=False)
        if self._way == "full":
            another(self.make).connect()
            assert readable([self._listener.socket.fileno()], 5)
        return raw

    def accept(self) -> socket.socket:
        """Return the server's end of the next connection."""
        return self._listener.accept()

    def room(self) -> None:
        """Let a connection begin."""
        if self._way == "full":
            self.accept()

    def close(self) -> None:
        """Leave the place as it was."""
        self._world.server.sysctl("net.ipv4.tcp_syncookies", "1")


@pytest.fixture
def late(make: Make, world: World, way: str) -> Iterator[Late]:
    """Give a server that is reached in this way."""
    made = Late(make, world, way)
    yield made
    made.close()


def expect_nothing_denied(late: Late) -> None:
    """Fail if a server has read a denied request other than as a body: the same cookie may begin one connection more."""
    for data in read_by_each(late.make):
        assert data.startswith(BODY) or b"/secret" not in data


# cookies are made otherwise for each address family
every_way = pytest.mark.parametrize(
    ("make", "way"),
    [("4", "cookies"), ("6", "cookies"), ("6", "deferred"), ("4", "full")],
    indirect=["make"],
    ids=["cookies4", "cookies6", "deferred", "full"],
)


@every_way
def test_allowed(late: Late) -> None:
    """What is allowed begins the connection, and the next requests are judged."""
    raw = late.begin()
    raw.send(GOOD)
    late.room()
    raw.send(GOOD)
    server = late.accept()
    assert receive(server, SIZE) == GOOD
    raw.seq = (raw.seq + SIZE) % 2**32
    exchange(raw, server, OTHER)
    raw.send(BAD)
    expect_unread(server)


@every_way
def test_denied(late: Late) -> None:
    """A denied request that would end the handshake is answered, and never read, however often it comes."""
    raw = late.begin()
    raw.send(BAD)
    assert raw.wait(lambda s: bool(s.data)).data == forbidden()
    raw.send(BAD)
    raw.send(flags=ACK)
    late.room()
    raw.send(BAD)
    assert read_by_all(late.make) == b""


@every_way
@pytest.mark.parametrize(
    ("first", "again"), [(GOOD, BAD), (BODY, PLAIN)], ids=["denied", "no body"]
)
def test_sent_again_with_other_bytes(late: Late, first: bytes, again: bytes) -> None:
    """What comes in the place of first data that was allowed lets nothing by that is denied."""
    raw = late.begin()
    raw.send(first)
    raw.send(again)
    late.room()
    for data in (again, first, again):
        raw.send(data)
        raw.send(BAD, at=len(again))
    expect_nothing_denied(late)


@every_way
@pytest.mark.parametrize("decoy", [damaged, old])
def test_decoys(late: Late, decoy: Decoy) -> None:
    """First data that TCP discards lets nothing by in its place, nor behind it."""
    for first, real in ((GOOD, BAD), (BODY, PLAIN)):
        raw = late.begin(stamps=True)
        raw.send(first, **decoy(raw))
        raw.send(BAD, at=len(real))
        late.room()
        for _ in range(2):
            raw.send(real)
            raw.send(BAD, at=len(real))
        expect_nothing_denied(late)
