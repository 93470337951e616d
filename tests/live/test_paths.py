"""What lies under TCP's segments: large packets, several paths, other headers."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.live.kit.books import Books
from tests.live.kit.wire import OK, Listener, Wire, answer, get, head, receive
from tests.live.kit.world import Place, World, ip

ETH_P_IPV6 = 0x86DD
SO_RCVBUFFORCE = 33
IPPROTO_MPTCP = 262
IPV6_DSTOPTS = 59


@pytest.fixture
def broad(world: World) -> Iterator[tuple[Place, Place]]:
    """Give two places joined by a cable that takes packets far over 64 KiB (BIG TCP)."""
    with ExitStack() as undo:
        places = world.place("b1"), world.place("b2")
        for place in places:
            undo.callback(world.remove, place)
        cable = world.join(*places)
        for place in places:
            place.sysctl("net.ipv4.tcp_rmem", "4096 6000000 6000000")
            for size in ("gso_max_size", "gro_max_size"):
                ip("-n", place.name, "link", "set", cable, size, "180000")
        yield places


def test_big_packets(world: World, books: Books, broad: tuple[Place, Place]) -> None:
    """IPv6 packets over 64 KiB, which carry a header more, are read."""
    server, client = broad
    listener = Listener(world, server, client, server.ip6, socket.AF_INET6)
    watcher = client.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IPV6))
    watcher.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
    wire = listener.connect()
    for side in (wire.client, wire.server):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_000_000)
    piece = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    chunks = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + piece * 600 + b"0\r\n\r\n"
    for _ in range(3):
        wire.ask(get("/big"))
        stream(wire, chunks)
        wire.exchange(get("/small"))
    assert longest(watcher) > 65_536 + 100
    books.expect(listener.port, {"GET /big 200": 3, "GET /small 200": 3})
    for row in books.rows(listener.port, "GET /big 200"):
        assert row.resp_body == 3 * 600 * 0x2000
        assert row.resp_wire == 3 * len(chunks)
    watcher.close()
    listener.close()


def longest(watcher: socket.socket) -> int:
    """Return the length of the longest packet that a packet socket has seen."""
    watcher.setblocking(False)  # noqa: FBT003
    size = 0
    while True:
        try:
            size = max(size, watcher.recv_into(bytearray(1), flags=socket.MSG_TRUNC))
        except BlockingIOError:
            return size


def stream(wire: Wire, data: bytes) -> None:
    """Send from the server in large calls while the client receives."""
    sender = threading.Thread(target=wire.server.sendall, args=(data,))
    sender.start()
    assert receive(wire.client, len(data)) == data
    sender.join()


def _sent_again(world: World) -> int:
    """Return how many pieces Multipath TCP itself has sent again."""
    return sum(place.extended_counter("MPTCPRetrans") for place in (world.server, world.client))


def test_mptcp(world: World, books: Books) -> None:
    """A connection of Multipath TCP that has one path is read like any other, unless it sends again what was late: then the
    path's bytes are not the connection's.
    """
    port = world.port()
    before = _sent_again(world)
    with (
        world.server.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as listening,
        world.client.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as client,
    ):
        listening.bind(("", port))
        listening.listen()
        client.connect((world.server.ip4, port))
        server, _ = listening.accept()
        server.settimeout(10)
        with server:
            wire = Wire(client, server, port)
            for _ in range(3):
                wire.exchange(get("/multi"), answer(200, b"x" * 100_000))
            wire.exchange(get("/next"), OK)
    if _sent_again(world) > before:
        assert books.since("LOST_BAD_REQUEST") + books.since("LOST_BAD_RESPONSE") > 0
        books.accept("LOST_BAD_REQUEST", "LOST_BAD_RESPONSE")
    else:
        books.expect(port, {"GET /multi 200": 3, "GET /next 200": 1})


def test_extension_headers(world: World, books: Books) -> None:
    """What stands behind an IPv6 extension header is not read, which is told."""
    listener = Listener(world, world.server, world.client, world.server.ip6, socket.AF_INET6)
    wire = listener.connect()
    wire.exchange(get("/before"))
    padding = struct.pack("!BBBB4x", 0, 0, 1, 4)
    wire.client.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, padding)
    wire.exchange(get("/hidden"))
    wire.client.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, b"")
    wire.exchange(get("/after"))
    books.expect(listener.port, {"GET /before 200": 1, "GET /after 200": 1})
    books.expect_stat("LOST_GAP", 2)
    books.expect_stat("LOST_ORPHAN", 2)
    listener.close()
