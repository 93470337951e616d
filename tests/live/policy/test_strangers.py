"""What TCP throws away, cuts off or takes out of the stream is not what a server reads: nothing is decided by it."""

from __future__ import annotations

import pytest

from axon.policy.compiler.layout import HostMode
from tests.live.kit.gate import Guarded, rest
from tests.live.kit.packet import ACK, PSH, SYN
from tests.live.kit.raw import Raw
from tests.live.kit.wire import OK, Listener, get, head, post, receive
from tests.live.kit.world import World
from tests.live.policy.test_attacks import (
    BAD,
    GOOD,
    URG,
    Make,
    exchange,
    expect_unread,
    fresh,
    make,
    read_by_all,
    sized,
)

__all__ = ["make"]


def test_an_answer_that_nobody_waits_for(make: Make) -> None:
    """A server does not become a client by a SYN with an acknowledgement."""
    raw, server = make()
    raw.send(flags=SYN | ACK)
    exchange(raw, server)
    raw.send(BAD)
    expect_unread(server)


def test_an_answer_for_what_listens(make: Make, world: World) -> None:
    """Nor does what listens."""
    listener = make.listener  # type: ignore[attr-defined]
    raw, server = make()
    stranger = Raw(world, listener.port, six=raw.six)
    stranger.send(flags=SYN | ACK)
    stranger.close()
    raw, server = make()
    raw.send(BAD)
    expect_unread(server)


def test_first_data_from_before_the_beginning(make: Make) -> None:
    """What TCP cuts off the front of first data is no part of the first request."""
    raw = fresh(make)
    front = b"GET /pub/a HTTP/1.1\r\nX: "
    raw.send(front + BAD, seq=(raw.seq - len(front)) % 2**32)
    seen = read_by_all(make)
    assert b"/secret" not in seen
    raw.close()


def test_audited_decoy_and_then_enforced(make: Make, gate: Guarded) -> None:
    """What an audit has let by, and TCP has not taken, is not let by in mode enforce."""
    raw, server = make()
    gate.gate.mode = HostMode.AUDIT
    exchange(raw, server)
    raw.send(BAD, damaged=True)
    gate.gate.mode = HostMode.ENFORCE
    raw.send(BAD)
    expect_unread(server)


@pytest.mark.parametrize("first", [False, True])
def test_audited_other_bytes_and_then_enforced(make: Make, gate: Guarded, first: bool) -> None:
    """Other bytes in the place of those that were audited: what was decided of those is nothing."""
    raw, server = make()
    gate.gate.mode = HostMode.AUDIT
    if not first:
        exchange(raw, server)
    decoy = post("/pub/a", b"b" * 50000)[:150]
    raw.send(decoy, damaged=True)
    exchange(raw, server, GOOD)
    exchange(raw, server, get("/pub/ccc"))
    gate.gate.mode = HostMode.ENFORCE
    raw.send(BAD)
    expect_unread(server)


def test_audited_in_doubt_found_again(gate: Guarded, anywhere: Listener) -> None:
    """A position that was found while an audit looked on does not hold in mode enforce."""
    gate.allow(anywhere.port, '{method: ["GET", "POST"], path: /pub/*}', mode=HostMode.AUDIT)
    wire = anywhere.connect()
    wire.exchange(
        b"POST /pub/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"
    )
    wire.exchange(get("/pub/a"))
    wire.exchange(get("/pub/a"))
    gate.gate.mode = HostMode.ENFORCE
    wire.client.sendall(get("/pub/a"))
    seen = rest(wire.server, 1)
    assert seen.data == b"", seen


def test_audited_decoy_that_ends_the_handshake(make: Make, gate: Guarded) -> None:
    """Nor where the decoy was first data."""
    gate.gate.mode = HostMode.AUDIT
    raw = fresh(make)
    decoy = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 100000")
    raw.send(decoy, damaged=True)
    raw.send(sized("/pub/a", len(decoy)))
    listener = make.listener  # type: ignore[attr-defined]
    server = listener.accept()
    receive(server, len(decoy))
    gate.gate.mode = HostMode.ENFORCE
    raw.send(BAD, at=len(decoy))
    expect_unread(server)
    raw.close()


def test_urgent_data_and_then_enforced(make: Make, gate: Guarded) -> None:
    """A byte that its server reads apart does not shift where requests begin."""
    raw, server = make()
    gate.gate.mode = HostMode.AUDIT
    front = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 20")
    raw.send(front + b"b" * 10 + GOOD[:10], flags=ACK | PSH | 32, urgent=len(front) + 5)
    assert rest(server, 0.3).data == front + b"b" * 9 + GOOD[:10]
    raw.seq = (raw.seq + len(front) + 20) % 2**32
    gate.gate.mode = HostMode.ENFORCE
    raw.send(get("/pub/a"))
    expect_unread(server)


def test_urgent_first_data(make: Make) -> None:
    """A byte of first data that its server reads apart does not change what the server reads."""
    raw = fresh(make)
    front = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 110")
    # a pointer is to the byte behind the urgent one
    raw.send(front + b"b" * 10 + BAD, flags=ACK | PSH | 32, urgent=front.index(b"110") + 1)
    assert b"/secret" not in read_by_all(make)
    raw.close()


@pytest.mark.parametrize("last", [False, True])
def test_urgent_mark_without_data(make: Make, last: bool) -> None:
    """Nor does a mark that comes alone, for a byte that comes without one: `last`, as the end of the handshake."""
    raw = fresh(make)
    front = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 110")
    if not last:
        raw.send(flags=ACK)
    raw.send(flags=ACK | 32, urgent=front.index(b"110") + 1)
    raw.send(flags=ACK)
    raw.send(front + b"b" * 10 + BAD)
    assert read_by_all(make) in {b"", front + b"b" * 10 + BAD}
    raw.close()


def test_an_answer_that_is_not_counted_yet(make: Make, gate: Guarded) -> None:
    """A client on this host may have an answer, and ask again, before TCP has counted that as sent: TCP decides on it."""
    raw, server = make()
    exchange(raw, server)
    before = gate.denials().get("STRAY", 0)
    raw.send(GOOD, ack=(raw.ack + 1000) % 2**32)
    assert gate.denials().get("STRAY", 0) == before
    exchange(raw, server)
    raw.send(BAD, ack=(raw.ack + 1000) % 2**32)
    expect_unread(server)


@pytest.mark.parametrize("early", [False, True])
def test_decoy_and_off_for_a_while(make: Make, gate: Guarded, early: bool) -> None:
    """What came while nothing was judged may not be what was judged before and TCP has not taken."""
    decoy = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 100000")
    raw, server = (fresh(make), None) if early else make()
    if server is not None:
        exchange(raw, server)
    raw.send(decoy, damaged=True)
    gate.gate.mode = HostMode.OFF
    raw.send(sized("/pub/a", len(decoy)))
    server = server or make.listener.accept()  # type: ignore[attr-defined]
    receive(server, len(decoy))
    gate.gate.mode = HostMode.ENFORCE
    raw.send(BAD, at=len(decoy))
    expect_unread(server)
    if early:
        raw.close()


def behind(raw: Raw, sent: bytes) -> None:
    """Go on behind what was sent."""
    raw.seq = (raw.seq + len(sent)) % 2**32


def test_a_switch_that_is_another_answer(make: Make) -> None:
    """Who has the observer lose its place cannot have the answer to a CONNECT taken for that to an upgrade: a body in more
    pieces than are kept, and then requests in such packets that the observer reads what is a field's value.
    """
    raw, server = make()
    front = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 2000")
    raw.send(front)
    assert receive(server, len(front)) == front
    behind(raw, front)
    for k in (*range(1, 20, 2), *range(0, 20, 2)):
        raw.send(b"b" * 100, at=k * 100)
    receive(server, 2000)
    raw.seq = (raw.seq + 2000) % 2**32
    inner = b"CONNECT a:1 HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
    for part in (
        b"GET /pub/a HTT",
        b"P/1.1\r\nHost: a\r\n\r\nGET /pub/b HTTP/1.1\r\nHost: a\r\nX: ",
        inner,
    ):
        raw.send(part)
        assert receive(server, len(part)) == part
        behind(raw, part)
        server.sendall(OK)
        got = raw.wait(lambda s: bool(s.data))
        raw.ack = (got.seq + len(got.data)) % 2**32
        raw.send(flags=ACK)
    raw.send(BAD)
    expect_unread(server)


@pytest.mark.parametrize("at", [-2000, -500, 100_000])
@pytest.mark.parametrize("kind", ["multipath", "urgent", "both"])
def test_forged_to_reset_another_s_connection(make: Make, kind: str, at: int) -> None:
    """What TCP has already, or would not take yet, does not end a connection: anybody may have sent it."""
    raw, server = make()
    for _ in range(20):
        exchange(raw, server)
    how: dict[str, object] = {}
    if kind != "urgent":
        how["options"] = b"\x1e\x0c\x20\x05" + bytes(8)
    if kind != "multipath":
        how |= {"flags": ACK | PSH | URG, "urgent": 1}
    raw.send(b"x", at=at, **how)
    expect_unread(server)
    exchange(raw, server)


@pytest.mark.parametrize("used", [False, True])
def test_urgent_mark_from_before(make: Make, gate: Guarded, used: bool) -> None:
    """A mark that came while nothing was judged takes no byte out of what is judged then; `used`: of a connection that was
    judged before.
    """
    raw, server = make() if used else (fresh(make), None)
    if server is not None:
        exchange(raw, server)
    gate.gate.mode = HostMode.OFF
    raw.send(flags=ACK)
    front = b"GET /pub/.x./secret HTTP/1.1\r\nHost: a\r\n\r\n"
    raw.send(flags=ACK | URG, urgent=front.index(b"x") + 1)
    gate.gate.mode = HostMode.ENFORCE
    raw.send(front)
    assert (rest(server, 0.3).data if server else read_by_all(make)) in {b"", front}
    if not used:
        raw.close()


def test_urgent_mark_behind_first_data(make: Make, gate: Guarded) -> None:
    """What is known of such a mark is not forgotten with what else is found of the connection."""
    raw = fresh(make)
    gate.gate.mode = HostMode.AUDIT
    raw.send(GOOD)
    server = make.listener.accept()  # type: ignore[attr-defined]
    assert receive(server, len(GOOD)) == GOOD
    behind(raw, GOOD)
    front = b"GET /pub/.x./secret HTTP/1.1\r\nHost: a\r\n\r\n"
    raw.send(flags=ACK | URG, urgent=len(GOOD) + front.index(b"x") + 1)
    raw.send(GOOD)
    assert receive(server, len(GOOD)) == GOOD
    behind(raw, GOOD)
    gate.gate.mode = HostMode.ENFORCE
    raw.send(front)
    expect_unread(server)
    raw.close()
