"""What came while nothing was denied does not let a request by afterwards that nothing has judged."""

from __future__ import annotations

import time

import pytest

from axon.policy.compiler.layout import HostMode
from tests.live.kit.gate import Guarded, rest
from tests.live.kit.packet import ACK, RST
from tests.live.kit.raw import Raw
from tests.live.kit.wire import head, receive
from tests.live.policy.test_attacks import (
    BAD,
    GOOD,
    SILENCE,
    SIZE,
    Make,
    expect_unread,
    fresh,
    make,
    sized,
)

__all__ = ["make"]

LONG = "Content-Length: 100000"


@pytest.mark.parametrize("before", [HostMode.OFF, HostMode.AUDIT])
def test_ahead_of_a_gap(make: Make, gate: Guarded, before: HostMode) -> None:
    """What TCP has kept, ahead of a gap, is not read when an allowed request fills the gap."""
    gate.gate.mode = before
    raw, server = make()
    raw.send(BAD, at=SIZE)
    time.sleep(0.1)
    gate.gate.mode = HostMode.ENFORCE
    for _ in range(
        3
    ):  # as a client's TCP would: the first one may only tell that the port is a selected one's
        raw.send(GOOD)
    assert b"/secret" not in rest(server, SILENCE).data


def test_in_a_body_that_was_not_taken(make: Make, gate: Guarded) -> None:
    """Nor what was let by as part of a body whose head TCP has discarded, when nothing was judged for a moment."""
    raw, server = make()
    raw.send(head("POST /pub/a HTTP/1.1", "Host: a", LONG), damaged=True)
    raw.send(BAD, at=SIZE)
    gate.gate.mode = HostMode.OFF
    gate.gate.mode = HostMode.ENFORCE
    raw.send(GOOD)
    assert b"/secret" not in rest(server, SILENCE).data


def test_in_front_of_the_beginning(make: Make, gate: Guarded) -> None:
    """First data that TCP has discarded says nothing of the connection, if other data was taken in its place."""
    gate.gate.mode = HostMode.AUDIT
    raw = fresh(make)
    decoy = head("POST /pub/a HTTP/1.1", "Host: a", LONG)
    raw.send(decoy, damaged=True)
    first = sized("/pub/a", len(decoy))
    raw.send(b"x" * 10 + first, seq=(raw.seq - 10) % 2**32)
    server = make.listener.accept()  # type: ignore[attr-defined]
    assert receive(server, len(decoy)) == first
    gate.gate.mode = HostMode.ENFORCE
    raw.send(BAD, at=len(decoy))
    expect_unread(server)
    raw.close()


@pytest.mark.parametrize("size", [SIZE, 700])
def test_first_data_that_was_not_taken(make: Make, gate: Guarded, size: int) -> None:
    """What a full queue has kept from being taken is served when it comes again; nothing else is taken for it."""
    listener = make.listener  # type: ignore[attr-defined]
    listener.socket.listen(0)
    raw = fresh(make)
    filler = Raw(listener.world, listener.port, six=raw.six).connect()
    request, other = sized("/pub/a", size), sized("/pub/bb", size)
    before = gate.verdicts().forwarded
    raw.send(request)
    listener.accept()
    raw.send(flags=ACK, at=size)
    server = listener.accept()
    if size == SIZE:
        assert gate.verdicts().forwarded - before == 1
    else:
        raw.send(request)  # too long to be compared: for a second nothing tells it from another one
        raw.send(other)
        time.sleep(1.2)
    raw.send(request)
    assert receive(server, size) == request
    raw.send(BAD, at=size)
    expect_unread(server)
    raw.close()
    filler.close()


def test_first_data_of_an_older_connection(make: Make, gate: Guarded) -> None:
    """Nor is first data that of a later connection with the same ports and numbers."""
    gate.gate.mode = HostMode.AUDIT
    listener = make.listener  # type: ignore[attr-defined]
    old = fresh(make)
    short = len(head("POST /pub/a HTTP/1.1", "Host: a", LONG, "X: "))
    decoy = head("POST /pub/a HTTP/1.1", "Host: a", LONG, "X: " + "x" * (2 * SIZE - short))
    old.send(decoy)
    listener.accept()
    old.send(flags=RST, at=len(decoy))
    raw = Raw(listener.world, listener.port, six=old.six, isn=(old.seq - 1) % 2**32)
    raw.sport = old.sport
    raw.connect()
    server = listener.accept()
    raw.send(GOOD)
    assert receive(server, SIZE) == GOOD
    for at in (SIZE + 50, SIZE + 50, SIZE):  # the first two come too early
        raw.send(GOOD[at - SIZE :][:50], at=at)
    assert receive(server, SIZE) == GOOD
    gate.gate.mode = HostMode.ENFORCE
    raw.send(BAD, at=2 * SIZE)
    expect_unread(server)
    old.close()
    raw.close()
