"""A denial outlives the connection that it ended, until the client knows of it."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from tests.live.kit.gate import End, Guarded, expect_403, expect_nothing, forbidden, rest
from tests.live.kit.nginx import nginx
from tests.live.kit.packet import FIN, RST, Packet
from tests.live.kit.relay import Chaos, Relay, forward
from tests.live.kit.wire import OK, Listener, acknowledged, get, head
from tests.live.kit.world import World, ip

PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'
LARGE = 100 << 20
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27


class LoseAnswers:
    """A rule that loses the first packets with data, or an end, towards the client."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.answers: list[Packet] = []

    def __call__(self, packet: Packet) -> Iterable[bytes]:
        """Decide about one packet."""
        if not packet.to_server and (packet.data or packet.flags & FIN):
            self.answers.append(packet)
            if self.left:
                self.left -= 1
                return []
        return forward(packet)


@pytest.mark.parametrize("lost", [1, 2, 4])
def test_a_lost_403(guarded: Guarded, far: Listener, relay: Relay, lost: int) -> None:
    """A 403 that was lost comes again, the same at the same place, when its request does."""
    guarded.allow(far.port, PUBLIC)
    wire = far.connect()
    wire.exchange(get("/pub/a"))
    relay.rule = rule = LoseAnswers(lost)
    wire.client.sendall(get("/secret"))
    assert rest(wire.client, 15) == End(forbidden(), "eof")
    expect_nothing(wire.server)
    first = rule.answers[0]
    for again in rule.answers[1 : lost + 1]:
        assert (again.seq, again.data, again.flags) == (first.seq, first.data, first.flags)


@pytest.mark.parametrize("seed", range(8))
def test_denied_on_a_bad_path(guarded: Guarded, far: Listener, relay: Relay, seed: int) -> None:
    """Where packets are lost, doubled and delayed, what is allowed passes and what is denied does
    not; the client reads a whole 403 or a reset.
    """
    guarded.allow(far.port, PUBLIC)
    relay.rule = Chaos(seed, loss=0.05, double=0.1, delay=0.1, damage=0.0)
    for _ in range(4):
        wire = far.connect()
        for i in range(15):
            wire.exchange(get(f"/pub/{'a' * (i * 7 % 50)}", "X: " + "x" * (i * 300)))
        wire.client.sendall(get("/secret"))
        seen = rest(wire.client, 10)
        assert seen in {End(forbidden(), "eof"), End(b"", "reset")}
        assert rest(wire.server, 10).data == b""


def test_the_client_s_end_is_acknowledged(gate: Guarded, anywhere: Listener) -> None:
    """A client that closes after its 403 is done with: it does not wait for an acknowledgement."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    local = wire.client.getsockname()[1]
    wire.client.close()
    time.sleep(0.1)
    left = anywhere.client.run("ss", "-Htan", f"sport = {local}")
    assert not left.strip()


def upload(sock: socket.socket, request: bytes, total: int, how: list[str]) -> None:
    """Send a head and so many bytes; note how that ended."""
    piece = b"u" * (1 << 20)
    try:
        sock.sendall(request)
        for _ in range(total >> 20):
            sock.sendall(piece)
        how.append("sent")
    except OSError as e:
        how.append(type(e).__name__)


def test_a_denied_upload(gate: Guarded, anywhere: Listener) -> None:
    """A client that sends 100 MB before it reads finds its 403 there."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.client.settimeout(60)
    request = head("POST /secret HTTP/1.1", "Host: a", f"Content-Length: {LARGE}")
    how: list[str] = []
    upload(wire.client, request, LARGE, how)
    assert how == ["sent"]
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_a_denied_upload_with_a_reader(gate: Guarded, anywhere: Listener) -> None:
    """One that reads while it sends has its 403 at once, and can go on sending."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    request = head("POST /secret HTTP/1.1", "Host: a", f"Content-Length: {LARGE}")
    how: list[str] = []
    sender = threading.Thread(target=upload, args=(wire.client, request, 8 << 20, how))
    sender.start()
    expect_403(wire.client)
    sender.join(30)
    assert how == ["sent"]
    expect_nothing(wire.server)


def test_the_server_starts_anew(gate: Guarded, anywhere: Listener) -> None:
    """What a denied client still sends is acknowledged also where a new server listens, of which nothing is known yet."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.client.sendall(head("POST /secret HTTP/1.1", "Host: a", f"Content-Length: {LARGE}"))
    expect_403(wire.client)
    before = gate.denials().get("UNJUDGED", 0)
    anywhere.socket.close()
    anywhere.listen()
    wire.client.sendall(bytes(100_000))
    acknowledged(wire.client)
    assert gate.denials().get("UNJUDGED", 0) == before


def test_an_upload_by_curl(gate: Guarded, world: World, tmp_path: object) -> None:
    """Curl reads a 403 for a denied upload of 100 MB, with and without asking first."""
    assert hasattr(tmp_path, "joinpath")
    file = tmp_path.joinpath("large")
    with file.open("wb") as f:
        f.truncate(LARGE)
    with nginx(world, world.server, tmp_path.joinpath("n")) as server:
        gate.allow(server.port, PUBLIC)
        for expect in ("100-continue", ""):
            command = ["curl", "-s", "-m", "60", "-o", "/dev/null", "-w", "%{http_code}"]
            command += ["-H", f"Expect: {expect}", "-T", str(file), server.url("/secret")]
            assert world.client.run(*command) == "403"


def test_an_allowed_upload(gate: Guarded, anywhere: Listener) -> None:
    """An allowed upload passes whole, and what is denied behind it does not."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    size = 20 << 20
    got: list[int] = []

    def read() -> None:
        left = len(request) + size
        while left:
            left -= len(wire.server.recv(min(left, 1 << 20)))
        got.append(left)

    request = head("POST /pub/a HTTP/1.1", "Host: a", f"Content-Length: {size}")
    reader = threading.Thread(target=read)
    reader.start()
    how: list[str] = []
    upload(wire.client, request, size, how)
    reader.join(30)
    assert (how, got) == (["sent"], [0])
    wire.answer()
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_a_body_goes_on_over_the_path(guarded: Guarded, far: Listener, relay: Relay) -> None:
    """The client may send on for a while after a 403 that has reached it late."""
    guarded.allow(far.port, PUBLIC)
    relay.rule = lambda p: [(0.05, p.raw())] if not p.to_server else [p.raw()]
    wire = far.connect()
    request = head("POST /secret HTTP/1.1", "Host: a", f"Content-Length: {2 << 20}")
    how: list[str] = []
    upload(wire.client, request, 2 << 20, how)
    assert how == ["sent"]
    assert rest(wire.client, 10) == End(forbidden(), "eof")
    assert not any(p.flags & RST for p in relay.seen if not p.to_server)


def test_a_slow_reader(gate: Guarded, anywhere: Listener) -> None:
    """A server whose buffer is full for a while gets all that is allowed, in whatever packets it
    comes again.
    """
    anywhere.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    requests = b"".join(get(f"/pub/{i}", "X: " + "x" * (i % 400)) for i in range(400))
    problems: list[str] = []

    def send() -> None:
        at = 0
        try:
            while at < len(requests):
                at += wire.client.send(requests[at : at + 137])
        except OSError as e:
            problems.append(repr(e))

    sender = threading.Thread(target=send)
    sender.start()
    data = bytearray()
    wire.server.settimeout(10)
    while len(data) < len(requests):
        time.sleep(0.001)
        if len(data) % 7 == 0:
            time.sleep(0.02)
        piece = wire.server.recv(3000)
        assert piece
        data += piece
    sender.join(10)
    assert not problems
    assert bytes(data) == requests
    wire.server.sendall(OK)


def test_asked_again_by_another_interface(
    gate: Guarded, world: World, ways_in: tuple[str, str]
) -> None:
    """A 403 that was lost is known by the interface that it was asked for by: where the client's packet comes again by
    another one the client reads a reset, and the server still nothing.
    """
    address, source = "10.89.0.1", "10.89.0.2"
    listener = Listener(world, world.server, world.client, address)
    try:
        gate.allow(listener.port, PUBLIC)
        for moved in (False, True):
            towards(world, ways_in[0], address, source)
            wire = listener.connect()
            wire.exchange(get("/pub/a"))
            with deaf(wire.client):
                wire.client.sendall(get("/secret"))
                expect_nothing(wire.server)
                towards(world, ways_in[moved], address, source)
            seen = rest(wire.client, 10)
            assert seen == (End(b"", "reset") if moved else End(forbidden(), "eof"))
            assert rest(wire.server).data == b""
    finally:
        listener.close()


@contextmanager
def deaf(sock: socket.socket) -> Iterator[None]:
    """Have a socket discard all that comes for it meanwhile."""
    nothing = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))  # classic BPF
    program = struct.pack("@HP", 1, ctypes.addressof(nothing))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    yield
    sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def towards(world: World, cable: str, address: str, source: str) -> None:
    """Have client and server reach each other's further address by a cable."""
    for place, to, own in ((world.client, address, source), (world.server, source, address)):
        ip("-n", place.name, "route", "replace", f"{to}/32", "dev", cable, "src", own)


@pytest.fixture
def ways_in(world: World, guarded: Guarded) -> Iterator[tuple[str, str]]:
    """Give two cables between client and server, both judged, and an address on each side that is reached by either."""
    places = world.server, world.client
    ip(
        *("-n", world.server.name, "link", "add", "second"),
        *("type", "veth", "peer", "second", "netns", world.client.name),
    )
    for place, own in zip(places, ("10.89.0.1", "10.89.0.2"), strict=True):
        ip("-n", place.name, "addr", "add", f"{own}/32", "dev", "lo")
        ip("-n", place.name, "link", "set", "second", "up")
        for device in ("all", "second", "cable1"):
            place.sysctl(f"net.ipv4.conf.{device}.rp_filter", "0")
    guarded.attach("second")
    yield "cable1", "second"
    for place, own in zip(places, ("10.89.0.1", "10.89.0.2"), strict=True):
        ip("-n", place.name, "addr", "del", f"{own}/32", "dev", "lo")
    ip("-n", world.server.name, "link", "del", "second")
