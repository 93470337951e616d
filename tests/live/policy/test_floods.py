"""Who sends more than can be kept neither opens what is closed nor closes what is open: what has been forgotten is judged anew."""

from __future__ import annotations

import select
from collections.abc import Iterable

import pytest

from tests.live.kit.gate import Guarded, forbidden
from tests.live.kit.packet import ACK, FIN, RST, SYN
from tests.live.kit.raw import MSS, Raw
from tests.live.kit.wire import head, receive
from tests.live.policy.test_attacks import (
    BAD,
    GOOD,
    OTHER,
    SIZE,
    Make,
    another,
    exchange,
    expect_unread,
    make,
    read_by_all,
    sized,
)
from tests.live.policy.test_early_data import cookies

__all__ = ["cookies", "make"]

EARLY, TOMBS = 1024, 8192  # entries of ax_early and ax_tombs
SPARE = 600  # that each core may have taken for itself
BODY = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 100000")


class Crowd:
    """Clients that differ in nothing but their ports."""

    def __init__(self, make: Make) -> None:
        self.raw = another(make)
        self._isn = self.raw.seq

    def at(self, port: int) -> Raw:
        """Return the one at a port, before its handshake."""
        self.raw.sport = port
        self.raw.seq = self._isn
        self.raw.ack = 0
        return self.raw

    def begin(self, ports: Iterable[int]) -> dict[int, int]:
        """Let all have an answer to their SYN; return what they have to acknowledge."""
        return {port: self.at(port).connect(last=False).ack for port in ports}


def test_between_two_requests(make: Make, gate: Guarded) -> None:
    """Thousands of handshakes without an end, and of requests without a handshake, change nothing for other connections."""
    raw, server = make()
    exchange(raw, server)
    half, waits = make()
    half.send(BAD[:50])
    assert receive(waits, 50) == BAD[:50]
    denied, _ = make()
    denied.send(BAD)
    assert denied.wait(lambda s: bool(s.data)).data == forbidden()
    crowd, each = Crowd(make), 1000
    before = gate.denials()
    for port in range(2000, 2000 + each):
        crowd.at(port).send(flags=SYN, seq=crowd.raw.seq, options=MSS)
        crowd.at(port + 5000).send(GOOD, flags=SYN, seq=crowd.raw.seq, options=MSS)
        crowd.at(port + 10000).send((GOOD, BAD)[port % 2], ack=port)
    after = gate.denials()
    # with a SYN; and for a listener, in the place of no handshake's end
    for reason in ("ORDER", "UNJUDGED"):
        assert after[reason] - before.get(reason, 0) == each, reason
    for one in (raw, half, denied):
        one.all(0.2)  # what the others got
    exchange(raw, server, OTHER)
    half.send(BAD[50:], at=50)
    assert half.wait(lambda s: bool(s.data)).data == forbidden()
    expect_unread(waits)
    denied.send(BAD)
    assert denied.wait(lambda s: bool(s.data)).data == forbidden()
    raw.send(BAD)
    expect_unread(server)
    assert read_by_all(make) == b""


def test_of_first_data(make: Make, cookies: None) -> None:
    """What is known of first data may be forgotten before its server accepts: the data is judged when it comes again."""
    listener = make.listener  # type: ignore[attr-defined]
    plain = sized("/pub/a", len(BODY))
    allowed, decoyed, denied = (another(make).connect(last=False) for _ in range(3))
    crowd = Crowd(make)
    acks = crowd.begin(range(2000, 2000 + EARLY + SPARE))
    listener.socket.listen(0)
    another(make).connect()
    assert select.select([listener.socket], [], [], 5)[0]
    allowed.send(GOOD)
    decoyed.send(BODY)
    denied.all(0.2)
    denied.send(BAD)
    assert denied.wait(lambda s: bool(s.data)).data == forbidden()
    for port, ack in acks.items():
        crowd.at(port).send(GOOD, seq=(crowd.raw.seq + 1) % 2**32, ack=ack)
    listener.socket.listen(64)
    listener.accept()
    for client, first in ((allowed, GOOD), (decoyed, plain)):
        client.all(0.2)
        client.send(first)
        server = listener.accept()
        assert receive(server, len(first)) == first
        client.send(BAD, at=len(first))
        expect_unread(server)
    denied.send(BAD)
    assert read_by_all(make) == b""


@pytest.mark.parametrize("make", [False], indirect=True, ids=["4"])
def test_of_denials(make: Make, gate: Guarded, cookies: None) -> None:
    """A denial that has been forgotten for newer ones opens nothing: the kernel resets, and judges what comes again."""
    raw, server = make()
    exchange(raw, server)
    denied = another(make).connect(last=False)
    denied.send(BAD)
    assert denied.wait(lambda s: bool(s.data)).data == forbidden()
    crowd, before = Crowd(make), gate.verdicts().dropped
    for port in range(2000, 2000 + TOMBS + SPARE):
        crowd.at(port).connect(last=False).send(BAD)
    assert gate.verdicts().dropped == before + TOMBS + SPARE
    for one in (raw, denied):
        one.all(0.2)
    denied.send(flags=ACK | FIN, at=SIZE)
    assert denied.wait(bool).flags & RST
    denied.send(BAD)
    assert denied.wait(lambda s: bool(s.data)).data == forbidden()
    assert read_by_all(make) == b""
    exchange(raw, server, OTHER)
    raw.send(BAD)
    expect_unread(server)
