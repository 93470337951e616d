"""First data that meets a listener, and handshakes that would lead past the gate."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.live.kit.gate import End, Guarded, expect_403, expect_nothing, forbidden, rest
from tests.live.kit.wire import OK, Listener, Wire, get, receive
from tests.live.kit.world import World

PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'


@pytest.fixture
def cookies(world: World) -> Iterator[None]:
    """Let servers answer every SYN with a cookie."""
    world.server.sysctl("net.ipv4.tcp_syncookies", "2")
    yield
    world.server.sysctl("net.ipv4.tcp_syncookies", "1")


def accept_all(listener: Listener, seconds: float = 0.5) -> list[End]:
    """Accept what there is, and comes in so long; return what each connection reads."""
    listener.socket.settimeout(seconds)
    seen = []
    try:
        while True:
            sock = listener.keep(listener.socket.accept()[0])
            seen.append(rest(sock, 0.2))
    except TimeoutError:
        return seen


def expect_unread(listener: Listener) -> None:
    """Fail if an application that accepts now reads a byte."""
    seen = accept_all(listener)
    assert b"".join(end.data for end in seen) == b"", seen


def woken(listener: Listener) -> Wire:
    """Make a connection whose first request wakes its server, and answer that."""
    client = listener.dial()
    client.sendall(get("/pub/a"))
    wire = Wire(client, listener.accept(), listener.port)
    assert receive(wire.server, len(get("/pub/a"))) == get("/pub/a")
    wire.answer()
    return wire


def test_deferred_accept(gate: Guarded, anywhere: Listener) -> None:
    """A server that is woken by the first data gets what is allowed, and goes on."""
    anywhere.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    gate.allow(anywhere.port, PUBLIC)
    for _ in range(5):
        wire = woken(anywhere)
        wire.exchange(get("/pub/b"))
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)


def test_deferred_accept_denied(gate: Guarded, anywhere: Listener) -> None:
    """A denied request never wakes it; the client is told at once, by a 403."""
    anywhere.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    gate.allow(anywhere.port, PUBLIC)
    for _ in range(5):
        client = anywhere.dial()
        client.sendall(get("/secret"))
        assert rest(client) == End(forbidden(), "eof")
    expect_unread(anywhere)


@pytest.mark.parametrize("unread", [False, True])
def test_deferred_accept_of_what_is_no_http(
    gate: Guarded, anywhere: Listener, unread: bool
) -> None:
    """What may pass unread goes on doing so when its server has accepted it."""
    anywhere.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    if unread:
        gate.allow(anywhere.port)
    else:
        gate.allow(anywhere.port, PUBLIC, spec="nonHTTP: allow")
    client = anywhere.dial()
    client.sendall(b"\x16\x03\x01\0\0 hello")
    wire = Wire(client, anywhere.accept(), anywhere.port)
    receive(wire.server, 11)
    wire.answer()
    for _ in range(3):
        wire.exchange(b"\x17\x03\x03\0\0 and so on")


@pytest.mark.parametrize("cut", [1, 10, 25])
def test_deferred_accept_in_two_packets(gate: Guarded, anywhere: Listener, cut: int) -> None:
    """A head of which half wakes the server is judged when the rest comes."""
    anywhere.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    gate.allow(anywhere.port, PUBLIC)
    for path in ("/pub/abcdefghijklmnop", "/secret/abcdefghijk"):
        request = get(path)
        client = anywhere.dial()
        client.sendall(request[:cut])
        server = anywhere.accept()
        assert receive(server, cut) == request[:cut]
        client.sendall(request[cut:])
        if "pub" in path:
            assert receive(server, len(request) - cut) == request[cut:]
            server.sendall(OK)
            assert receive(client, len(OK)) == OK
        else:
            expect_403(client)
            expect_nothing(server)


def test_cookies(gate: Guarded, cookies: None, anywhere: Listener) -> None:
    """A connection that is made from a cookie is judged from its first request."""
    gate.allow(anywhere.port, PUBLIC)
    for _ in range(3):
        wire = anywhere.connect()
        wire.exchange(get("/pub/a"))
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)
        wire = anywhere.connect()
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)


def test_cookies_and_deferred_accept(gate: Guarded, cookies: None, anywhere: Listener) -> None:
    """The same where the first data itself makes the connection."""
    anywhere.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    gate.allow(anywhere.port, PUBLIC)
    wire = woken(anywhere)
    wire.exchange(get("/pub/b"))
    client = anywhere.dial()
    client.sendall(get("/secret"))
    assert rest(client).how in {"eof", "reset"}
    expect_unread(anywhere)


@pytest.mark.parametrize("with_cookies", [False, True])
def test_full_accept_queue(
    gate: Guarded, world: World, anywhere: Listener, with_cookies: bool
) -> None:
    """Requests that wait for a busy server to accept are judged: what is allowed passes when it
    accepts, what is denied is never read.
    """
    anywhere.socket.listen(1)
    gate.allow(anywhere.port, PUBLIC)
    world.server.sysctl("net.ipv4.tcp_syncookies", "2" if with_cookies else "1")
    try:
        clients = []
        for i in range(6):
            client = anywhere.keep(anywhere.client.socket(anywhere.family))
            client.setblocking(False)  # noqa: FBT003 - its only argument
            client.connect_ex((anywhere.address, anywhere.port))
            clients.append(client)
            time.sleep(0.02)
            try:
                client.send(get("/secret") if i % 2 else get("/pub/a"))
            except OSError:
                continue
        time.sleep(0.3)
        anywhere.socket.listen(64)
        seen = accept_all(anywhere, 1.5)
    finally:
        world.server.sysctl("net.ipv4.tcp_syncookies", "1")
    read = [end.data for end in seen]
    assert set(read) <= {b"", get("/pub/a")}
    assert read.count(get("/pub/a")) >= 1


def test_fast_open(gate: Guarded, world: World, anywhere: Listener) -> None:
    """A client that sends its request with the SYN is judged as any other."""
    places = {world.server, anywhere.client}
    for place in places:
        place.sysctl("net.ipv4.tcp_fastopen", "3")
    try:
        anywhere.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
        for known in (False, True):
            if known:
                gate.allow(anywhere.port, PUBLIC)
            for path in ["/pub/a"] * 3 + ["/secret"] * 2 * known:
                client = anywhere.keep(anywhere.client.socket(anywhere.family))
                client.settimeout(None)
                to = (anywhere.address, anywhere.port)
                if path == "/secret":
                    with suppress(ConnectionResetError):
                        client.sendto(get(path), socket.MSG_FASTOPEN, to)
                    expect_unread(anywhere)
                    anywhere.socket.settimeout(20)
                else:
                    client.sendto(get(path), socket.MSG_FASTOPEN, to)
                    server = anywhere.accept()
                    assert receive(server, len(get(path))) == get(path)
                    server.sendall(OK)
                    assert receive(client, len(OK)) == OK
    finally:
        for place in places:
            place.sysctl("net.ipv4.tcp_fastopen", "1")


def test_audit_of_first_data(gate: Guarded, anywhere: Listener) -> None:
    """Under audit, what would be denied of first data is counted as it is of any other, once."""
    anywhere.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    gate.allow(anywhere.port, PUBLIC, spec="mode: audit")
    before, denied = gate.verdicts(), gate.denials()
    for request in (get("/secret"), get("/pub//a"), get("/pub/a")):
        client = anywhere.dial()
        client.sendall(request)
        assert receive(anywhere.accept(), len(request)) == request
    after = gate.verdicts()
    assert after.audit - before.audit == 2
    assert after.forwarded - before.forwarded == 1
    gate.expect_denials(denied, PATH=1)


@pytest.mark.parametrize("others", [0, 1500])
def test_many_others_between_two_requests(gate: Guarded, loop: Listener, others: int) -> None:
    """However many connections begin with data after this one, its second request is judged as its first."""
    loop.socket.listen(4096)
    loop.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    gate.allow(loop.port, PUBLIC)
    wire = woken(loop)
    for _ in range(others):
        with loop.client.socket(loop.family) as other:
            other.connect((loop.address, loop.port))
            other.sendall(b"G")
            loop.socket.accept()[0].close()
    wire.exchange(get("/pub/b"))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_first_connection(gate: Guarded, world: World) -> None:
    """The very first packet of a server's first connection finds its policy in force."""
    for _ in range(10):
        listener = Listener(world, world.server, world.client, world.server.ip4)
        gate.allow(listener.port, PUBLIC)
        wire = listener.connect()
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)
        listener.close()
