"""Who sends more than can be kept neither opens what is closed nor closes what is open: what has been forgotten is judged anew."""

from __future__ import annotations

import time
from itertools import islice

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

EARLY, TOMBS = 1024, 8192  # places for first data, and of ax_tombs
SPARE = 600  # that each core may have taken for itself


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
    # with a SYN; and for a listener, in the place of no handshake's end
    gate.expect_denials(before, ORDER=each, UNJUDGED=each)
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


def test_of_first_data(make: Make, gate: Guarded, cookies: None) -> None:
    """While first data may still be on its way to TCP, others' does not make it forgotten; for a second they wait."""
    body = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 100000")
    first = sized("/pub/a", len(body))
    listener = make.listener  # type: ignore[attr-defined]
    raw = another(make).connect(last=False)
    crowd, frames = Crowd(make), []
    for port in range(2000, 2000 + EARLY + 100):
        one = crowd.at(port).connect(last=False)
        frames.append(one.frame(one.tcp(GOOD, damaged=True)))
    before = gate.denials()
    raw.send(first, damaged=True)
    for frame in frames:
        raw.put(frame)
    raw.send(body)
    gate.expect_denials(before, RESENT=1)
    assert gate.denials()["EARLY"] - before.get("EARLY", 0) >= 100
    time.sleep(1.1)
    raw.send(first)
    server = listener.accept()
    assert receive(server, len(first)) == first
    raw.send(BAD, at=len(first))
    expect_unread(server)


@pytest.mark.parametrize("make", ["4"], indirect=True)
def test_of_denials(make: Make, gate: Guarded, cookies: None) -> None:
    """A denial that has been forgotten for newer ones opens nothing: the kernel resets, and judges what comes again. It
    is counted if its client had not acknowledged the answer.
    """
    raw, server = make()
    exchange(raw, server)
    denied, done = (another(make).connect(last=False) for _ in range(2))
    denied.send(BAD)
    assert denied.wait(lambda s: bool(s.data)).data == forbidden()
    done.send(BAD)
    answer = done.wait(lambda s: bool(s.data))
    done.send(flags=ACK, at=SIZE, ack=(answer.seq + len(answer.data) + 1) % 2**32)
    crowd, before = Crowd(make), gate.verdicts().dropped
    ports = iter(range(2000, 2000 + TOMBS - 2 + SPARE))
    for port in islice(ports, TOMBS - 2):
        crowd.at(port).connect(last=False).send(BAD)
    left = gate.axon.stats()["INFO_ANSWER_LEFT"]  # there are none but these any more
    for port in ports:
        crowd.at(port).connect(last=False).send(BAD)
    assert gate.verdicts().dropped == before + TOMBS - 2 + SPARE
    assert gate.axon.stats()["INFO_ANSWER_LEFT"] == left + SPARE - 1
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
