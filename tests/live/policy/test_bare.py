"""A link without an Ethernet header (a tunnel): its short packets are judged as any others."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator

import pytest

from tests.live.kit.gate import Guarded, forbidden, rest
from tests.live.kit.packet import ACK
from tests.live.kit.raw import Raw, Segment
from tests.live.kit.waiting import readable
from tests.live.kit.wire import OK, Listener, get, head, receive
from tests.live.kit.world import World, ip

PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'
MINE, THEIRS = "10.90.0.2", "10.90.0.1"
SHORT = 8  # bytes: with headers without options 48, less than with an Ethernet header


class Bare(Raw):
    """A client that writes packets to the other end of a TUN device."""

    def __init__(self, fd: int, port: int) -> None:
        self._fd = fd
        self.six = False
        self.port = port
        self.sport = random.randrange(30_000, 60_000)
        self.seq = random.getrandbits(32)
        self.ack = 0
        self.stamp = self._echo = 0
        self._stamps = False
        self.seen: list[Segment] = []
        self._source, self._target = socket.inet_aton(MINE), socket.inet_aton(THEIRS)
        self._ethernet = b""

    def put(self, frame: bytes) -> None:
        """Send a packet."""
        os.write(self._fd, frame)

    def wait(self, good: object, seconds: float = 3.0) -> Segment:
        """Return the next segment that is good; raise TimeoutError."""
        assert callable(good)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not readable([self._fd], left):
                break
            packet = os.read(self._fd, 1 << 16)
            if packet[0] >> 4 == 4 and packet[9] == 6:
                self.seen.append(Segment.parse(packet[(packet[0] & 15) * 4 :]))
                if good(self.seen[-1]):
                    return self.seen[-1]
        raise TimeoutError("nothing good came")


@pytest.fixture
def bare(world: World, gate: Guarded) -> Iterator[tuple[Bare, Listener]]:
    """Give a client on a tunnel, and a server that it may ask for /pub/*."""
    fd = world.server.tun("bare")
    for command in ("addr add 10.90.0.1 peer 10.90.0.2", "link set up"):
        ip("-n", world.server.name, *command.split(), "dev", "bare")
    gate.attach("bare")
    gate.forged = True
    listener = Listener(world, world.server, world.client, THEIRS)
    gate.allow(listener.port, PUBLIC)
    yield Bare(fd, listener.port), listener
    listener.close()
    os.close(fd)


def in_pieces(client: Bare, data: bytes) -> None:
    """Send data in short segments."""
    for at in range(0, len(data), SHORT):
        client.send(data[at : at + SHORT], at=at)


def test_short_segments(bare: tuple[Bare, Listener]) -> None:
    """What is allowed passes in short segments, what is denied does not."""
    client, listener = bare
    client.connect(b"")
    server = listener.accept()
    request = get("/pub/a")
    in_pieces(client, request)
    assert receive(server, len(request)) == request
    server.sendall(OK)
    client.wait(lambda s: bool(s.data))
    client.seq += len(request)
    client.ack += len(OK)
    client.send(flags=ACK)
    denied = get("/secret")
    in_pieces(client, denied)
    seen = rest(server, 0.5)
    # what stands in front of the deciding segment may be read
    assert seen.how == "reset"
    assert denied.startswith(seen.data)
    assert len(seen.data) < len(denied)
    assert client.wait(lambda s: bool(s.data)).data == forbidden()


def test_short_segments_behind_a_decoy(bare: tuple[Bare, Listener]) -> None:
    """Nor behind a body that TCP has thrown away, which the gate takes to be still to come."""
    client, listener = bare
    client.connect(b"")
    server = listener.accept()
    client.send(head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 999999"), damaged=True)
    in_pieces(client, get("/secret"))
    assert b"/secret" not in rest(server, 0.5).data
