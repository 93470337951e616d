"""Several packets may wait between the gate and TCP: what is judged of one is not another's."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.live.kit.axon import Axon
from tests.live.kit.gate import Guarded, rest
from tests.live.kit.raw import Raw
from tests.live.kit.wire import Listener, get, head
from tests.live.kit.world import World

SIZE = 200
SLOW = ("tbf", "rate", "100kbit", "burst", "1600", "latency", "900ms")
JUNK = b"\x88\xb5" + bytes(1400)  # of a protocol for experiments (IEEE 802)


def padded(line: str, *fields: str) -> bytes:
    """Return a head of SIZE bytes."""
    short = len(head(line, *fields, "X: "))
    return head(line, *fields, "X: " + "x" * (SIZE - short))


GOOD = padded("GET /pub/a HTTP/1.1", "Host: a")
BODY = padded("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 99999")
PART = b"GET /pub/a HTTP/1.1\r\nHost: a\r\nX: ".ljust(SIZE, b"x")
BAD = get("/secret")


def busy(raw: Raw) -> None:
    """Give the cable so much to send that what comes next waits for a tenth of a second."""
    for _ in range(2):
        raw.put(raw.frame(b"")[:12] + JUNK)


@pytest.fixture(scope="module")
def ahead(world: World, judging: Axon) -> Iterator[Guarded]:
    """Give a gate on the client's end of the cable, as on a container's: packets wait behind it."""
    made = Guarded(judging, world.client)
    with made.everywhere():
        world.client.run("tc", "qdisc", "add", "dev", "cable1", "root", *SLOW)
        yield made
        world.client.run("tc", "qdisc", "del", "dev", "cable1", "root")


@pytest.mark.parametrize("six", [False, True], ids=["4", "6"])
@pytest.mark.parametrize("second", [BODY, PART], ids=["body", "part"])
@pytest.mark.parametrize("swapped", [False, True])
def test_two_first_segments(
    world: World, ahead: Guarded, second: bytes, swapped: bool, six: bool
) -> None:
    """Of two first segments of a connection only one gets there, so what follows is judged behind it."""
    listener = Listener(
        world, world.server, world.client, "", socket.AF_INET6, listen_family=socket.AF_INET6
    )
    raw = Raw(world, listener.port, six=six)
    try:
        ahead.allow(listener.port, '{method: ["GET", "POST"], path: /pub/*}')
        raw.connect(last=False)
        busy(raw)
        first = (second, GOOD) if swapped else (GOOD, second)
        raw.send(first[0])
        for segment, at in ((first[1], 0), (BAD, SIZE)):
            # where it is sent, its sender hears that it is dropped
            with suppress(OSError):
                raw.send(segment, at=at)
            time.sleep(0.5)
        seen = rest(listener.accept(), 0.5).data
        assert seen[:SIZE] == first[0]
        behind = seen[SIZE:]
        # behind a head without a body it is a request, else it is the body's or the head's
        assert behind == (b"" if first[0] == GOOD else BAD) or not behind
    finally:
        raw.close()
        listener.close()


def test_a_body_behind_its_head(world: World, ahead: Guarded) -> None:
    """A body that comes behind its head, before there is a connection, gets there with it."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    raw = Raw(world, listener.port)
    start = padded("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 600")
    try:
        ahead.allow(listener.port, '{method: ["GET", "POST"], path: /pub/*}')
        raw.connect(last=False)
        busy(raw)
        raw.send(start)
        for part in range(3):
            raw.send(b"b" * 200, at=SIZE + part * 200)
        with suppress(OSError):  # where it is sent, its sender hears that it is dropped
            raw.send(GOOD, at=SIZE + 600)
        assert rest(listener.accept(), 0.5).data == start + b"b" * 600
    finally:
        raw.close()
        listener.close()


def test_a_first_segment_again(world: World, ahead: Guarded) -> None:
    """The same first segment, sent again while the first one waits, passes as often as it comes."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    raw = Raw(world, listener.port)
    try:
        ahead.allow(listener.port, "{path: /pub/*}")
        raw.connect(last=False)
        busy(raw)
        for _ in range(3):
            raw.send(GOOD)
        assert rest(listener.accept(), 0.5).data == GOOD
    finally:
        raw.close()
        listener.close()
