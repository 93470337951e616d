"""Where connections come from: before Axon, deferred, with their SYN, or through a full queue."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.live.kit.axon import Attacher, Axon
from tests.live.kit.books import Books, wait_for
from tests.live.kit.emulated import share
from tests.live.kit.packet import SYN, Packet
from tests.live.kit.relay import Relay, forward
from tests.live.kit.wire import OK, Listener, Wire, get, head, post
from tests.live.kit.world import World

FAST_OPEN_CONNECT = 30  # TCP_FASTOPEN_CONNECT of linux/tcp.h


@pytest.fixture
def quiet(world: World) -> Iterator[Listener]:
    """Give a listening socket whose connections are not in the books of the Axon of all tests."""
    made = Listener(world, world.server, world.client, world.server.ip4)
    yield made
    made.close()


def after(attach_live: Attacher) -> tuple[Axon, Books]:
    """Attach another Axon, now; return it and its books."""
    late = attach_live()
    return late, Books(late)


def test_older_connections(quiet: Listener, attach_live: Attacher) -> None:
    """Connections older than Axon are read from their next request on, wherever they stood."""
    idle, used, asked, halfway, upload = (quiet.connect() for _ in range(5))
    used.exchange(get("/before"))
    asked.ask(get("/before"))
    halfway.ask(get("/before"))
    halfway.answer(head("HTTP/1.1 200 OK", "Content-Length: 3000") + b"x" * 1000)
    upload.ask(post("/before", b"u" * 3000)[:-2000])
    late, books = after(attach_live)
    try:
        idle.exchange(get("/idle"))
        used.exchange(get("/used"))
        asked.answer(OK)
        asked.exchange(get("/asked"))
        halfway.answer(b"x" * 2000)
        halfway.exchange(get("/halfway"))
        upload.ask(b"u" * 2000)
        upload.answer(OK)
        upload.exchange(get("/upload"))
        names = ["idle", "used", "asked", "halfway", "upload"]
        books.expect(quiet.port, [f"GET /{name} 200" for name in names])
        for wire in (idle, used, asked, halfway, upload):
            for _ in range(3):
                wire.exchange(get("/more"))
        more = {"GET /more 200": 15}
        books.expect(quiet.port, {f"GET /{name} 200": 1 for name in names} | more)
        books.close()
    finally:
        late.close()


def test_older_connection_ends(quiet: Listener, attach_live: Attacher) -> None:
    """An older connection that ends without a response is closed in the books, too."""
    by_client, by_server = quiet.connect(), quiet.connect()
    for wire in (by_client, by_server):
        wire.exchange(get("/before"))
    late, books = after(attach_live)
    try:
        by_client.ask(get("/a"))
        by_client.finish()
        by_server.ask(get("/b"))
        by_server.server.close()
        assert by_server.client.recv(1) == b""
        by_server.client.close()
        books.expect(quiet.port, ["GET /a - no_response", "GET /b - no_response"])
        books.close()
    finally:
        late.close()


def test_older_tls_connection(quiet: Listener, attach_live: Attacher) -> None:
    """An older connection of TLS is known by its records, and one of anything else is given up before long."""
    secured, other = quiet.connect(), quiet.connect()
    record, noise = b"\x17\x03\x03\0\x05hello", b"\x17\x02hello"
    secured.exchange(record, record)
    other.exchange(noise, noise)
    late, books = after(attach_live)
    try:
        secured.exchange(record, record)
        books.expect_stat("CONN_TLS", 2)
        for _ in range(30):
            secured.exchange(record, record)
            other.exchange(noise, noise)
        books.expect(quiet.port, [])
        books.expect_stat("CONN_TLS", 2)
        books.expect_stat("CONN_OTHER", 2)
        books.close()
    finally:
        late.close()


def test_older_bulk(quiet: Listener, attach_live: Attacher) -> None:
    """Hundreds of megabytes one way, begun before Axon, leave an older connection open for its next request."""
    download, upload = quiet.connect(), quiet.connect()
    size = share(256) << 20
    piece = b"b" * (1 << 20)
    download.ask(get("/before"))
    download.answer(head("HTTP/1.1 200 OK", f"Content-Length: {size}"))
    upload.ask(head("POST /before HTTP/1.1", "Host: h", f"Content-Length: {size}"))
    late, books = after(attach_live)
    try:
        for _ in range(size // len(piece)):
            download.answer(piece)
            upload.ask(piece)
        upload.answer(OK)
        for wire, path in (download, "/after-download"), (upload, "/after-upload"):
            wire.exchange(get(path))
        books.expect(quiet.port, ["GET /after-download 200", "GET /after-upload 200"])
        books.expect_stat("CONN_OTHER", 0)
        books.close()
    finally:
        late.close()


def test_deferred_accept(listener: Listener, books: Books) -> None:
    """A request that meets the listener, because the connection is made with it, is read."""
    listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    for i in range(3):
        client = listener.dial()
        client.sendall(post("/deferred", b"x" * (10 + 5000 * i)))
        wire = Wire(client, listener.accept(), listener.port)
        size = len(post("/deferred", b"x" * (10 + 5000 * i)))
        while size:
            size -= len(wire.server.recv(65536))
        wire.answer(OK)
        wire.exchange(get("/next"))
        wire.finish()
    books.expect(listener.port, {"POST /deferred 200": 3, "GET /next 200": 3})
    assert books.since("INFO_EARLY_DATA") >= 3


def test_deferred_accept_of_pieces(listener: Listener, books: Books) -> None:
    """The same if the request's first bytes come alone."""
    listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    client = listener.dial()
    client.sendall(get("/deferred")[:10])
    server = listener.accept()
    assert server.recv(10) == get("/deferred")[:10]
    client.sendall(get("/deferred")[10:])
    wire = Wire(client, server, listener.port)
    assert wire.server.recv(4096) == get("/deferred")[10:]
    wire.answer(OK)
    wire.exchange(get("/next"))
    books.expect(listener.port, ["GET /deferred 200", "GET /next 200"])


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_fast_open(world: World, books: Books, family: socket.AddressFamily) -> None:
    """A request in the SYN itself is read (RFC 7413)."""
    address = world.server.ip6 if family == socket.AF_INET6 else world.server.ip4
    for place in (world.server, world.client):
        place.sysctl("net.ipv4.tcp_fastopen", "3")
    listener = Listener(world, world.server, world.client, address, family)
    listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
    in_syn = 0
    for _ in range(5):
        client = listener.keep(world.client.socket(family))
        client.setsockopt(socket.IPPROTO_TCP, FAST_OPEN_CONNECT, 1)
        client.connect((address, listener.port))
        client.sendall(get("/fast"))
        wire = Wire(client, listener.accept(), listener.port)
        assert wire.server.recv(4096) == get("/fast")
        in_syn += syn_data_acked(client)
        wire.answer(OK)
        wire.exchange(get("/next"))
        wire.finish()
    assert in_syn >= 4  # the first fetches the cookie
    books.expect(listener.port, {"GET /fast 200": 5, "GET /next 200": 5})
    listener.close()


def syn_data_acked(sock: socket.socket) -> int:
    """Return 1 if the data that went with the SYN was taken: TCPI_OPT_SYN_DATA of tcpi_options."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[5] >> 5 & 1


class LoseThird:
    """A rule that loses the ACKs that end handshakes: all before a client's first data."""

    def __init__(self) -> None:
        self.lost: set[int] = set()
        """Ports of the clients."""
        self._talking: set[int] = set()

    def __call__(self, packet: Packet) -> list[bytes]:
        """Decide about one packet."""
        if not packet.to_server or packet.flags & SYN:
            return forward(packet)
        if packet.data:
            self._talking.add(packet.sport)
        elif packet.sport not in self._talking:
            self.lost.add(packet.sport)
            return []
        return forward(packet)


@pytest.mark.parametrize("cookies", ["1", "2"])
def test_lost_third_acknowledgement(
    far: Listener, relay: Relay, world: World, books: Books, cookies: str
) -> None:
    """Data that ends the handshake itself is read, also of a connection that was kept in a cookie."""
    world.server.sysctl("net.ipv4.tcp_syncookies", cookies)
    relay.rule = rule = LoseThird()
    for _ in range(3):
        client = far.dial()
        port = client.getsockname()[1]
        assert wait_for(lambda p=port: p in rule.lost, bool)  # type: ignore[misc]
        client.sendall(get("/early"))
        wire = Wire(client, far.accept(), far.port)
        assert wire.server.recv(4096) == get("/early")
        wire.answer(OK)
        wire.exchange(get("/next"))
        wire.finish()
    world.server.sysctl("net.ipv4.tcp_syncookies", "1")
    books.expect(far.port, {"GET /early 200": 3, "GET /next 200": 3})
    assert books.since("INFO_EARLY_DATA") >= 3


def test_full_accept_queue(far: Listener, relay: Relay, books: Books) -> None:
    """Requests that come again and again while the accept queue is full are counted once."""
    far.socket.listen(1)
    relay.rule = rule = LoseThird()
    clients = [far.dial() for _ in range(5)]
    assert wait_for(lambda: len(rule.lost) == len(clients), bool)
    for i, client in enumerate(clients):
        client.sendall(get("/queued", f"X-Number: {i}"))
    enough = 9  # the first time of each, and some again that found the queue full
    wait_for(lambda: sum(p.to_server for p in relay.seen), lambda n: n >= enough)
    for _ in clients:
        server = far.accept()
        assert b"X-Number" in server.recv(4096)
        server.sendall(OK)
    for client in clients:
        assert client.recv(4096) == OK
    books.expect(far.port, {"GET /queued 200": 5})


def test_many_connections(listener: Listener, books: Books) -> None:
    """A connection for each request is read like one connection for all."""
    for _ in range(300):
        wire = listener.connect()
        wire.exchange(get("/one"))
        wire.finish()
    books.expect(listener.port, {"GET /one 200": 300})
    books.expect_stat("CONN_HTTP1", 600)
