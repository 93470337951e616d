"""Segments that are lost, late, doubled or damaged: what TCP makes of them is what is counted."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.live.kit.books import Books, wait_for
from tests.live.kit.emulated import share
from tests.live.kit.nginx import Nginx, nginx
from tests.live.kit.packet import SYN, Packet, fragments
from tests.live.kit.relay import Chaos, Relay, forward
from tests.live.kit.wire import (
    OK,
    Listener,
    acknowledged,
    answer,
    get,
    head,
    post,
    receive,
    reset,
)
from tests.live.kit.world import World

QUESTION = post("/a", b"q" * 400, "X-Fill: " + "f" * 300)
REPLY = answer(200, b"r" * 400, "X-Fill: " + "f" * 300)


class Nth:
    """A rule for the n-th segment with data of one direction; the others pass."""

    def __init__(self, n: int, *, to_server: bool, change: object = None) -> None:
        self._left = n
        self._to_server = to_server
        self._change = change
        self.done = False

    def __call__(self, packet: Packet) -> list[bytes]:
        """Decide about one packet."""
        if packet.data and packet.to_server == self._to_server:
            self._left -= 1
            if not self._left:
                self.done = True
                return self._change(packet) if callable(self._change) else []
        return forward(packet)


class Gather:
    """A rule that keeps some segments with data of one direction, to send them in another order. A slow machine's TCP
    sends them again meanwhile, and afterwards: none of that goes through.
    """

    def __init__(self, order: list[int], *, to_server: bool) -> None:
        self._order = order
        self._to_server = to_server
        self._kept: list[Packet] = []
        self.done = False

    def _is_kept(self, packet: Packet) -> bool:
        return any((packet.seq - p.seq) % 2**32 < len(p.data) for p in self._kept)

    def __call__(self, packet: Packet) -> list[bytes]:
        """Decide about one packet."""
        if not packet.data or packet.to_server != self._to_server:
            return forward(packet)
        if self._is_kept(packet):
            return []
        if self.done:
            return forward(packet)
        self._kept.append(packet)
        if len(self._kept) < len(self._order):
            return []
        self.done = True
        return [self._kept[i].raw() for i in self._order]


def swallow(_: Packet) -> list[bytes]:
    """Let nothing through."""
    return []


def burst(source: socket.socket, sink: socket.socket, pieces: list[bytes]) -> None:
    """Send pieces as a segment each without waiting, then receive all of them."""
    for piece in pieces:
        source.sendall(piece)
    data = b"".join(pieces)
    assert receive(sink, len(data)) == data


def thirds(data: bytes) -> list[bytes]:
    """Cut in three."""
    n = len(data) // 3
    return [data[:n], data[n : 2 * n], data[2 * n :]]


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("to_server", [True, False])
def test_lost_segment(far: Listener, relay: Relay, books: Books, nth: int, to_server: bool) -> None:
    """A segment that is lost and sent again is read once, whatever came before it."""
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    relay.rule = rule = Nth(nth, to_server=to_server)
    burst(wire.client, wire.server, thirds(QUESTION))
    burst(wire.server, wire.client, thirds(REPLY))
    wire.exchange(QUESTION, REPLY)
    assert rule.done
    books.expect(far.port, {"POST /a 200": 3})
    for row in books.rows(far.port, "POST /a 200"):
        assert (row.req_wire, row.resp_wire) == (3 * len(QUESTION), 3 * len(REPLY))


@pytest.mark.parametrize("order", [[1, 0, 2], [2, 1, 0], [0, 2, 1], [2, 0, 1], [1, 2, 0]])
@pytest.mark.parametrize("to_server", [True, False])
def test_reordered_segments(
    far: Listener,
    relay: Relay,
    books: Books,
    order: list[int],
    to_server: bool,
) -> None:
    """Segments that overtake one another are read in the stream's order."""
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    relay.rule = rule = Gather(order, to_server=to_server)
    burst(wire.client, wire.server, thirds(QUESTION))
    burst(wire.server, wire.client, thirds(REPLY))
    wire.exchange(QUESTION, REPLY)
    assert rule.done
    books.expect(far.port, {"POST /a 200": 3})
    assert books.since("INFO_REORDERED") > 0


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [2, 3, 0, 1], [1, 3, 0, 2]])
def test_reordered_messages(far: Listener, relay: Relay, books: Books, order: list[int]) -> None:
    """Whole messages that overtake one another are paired as they were sent."""
    wire = far.connect()
    wire.exchange(get("/first"))
    relay.rule = rule = Gather(order, to_server=True)
    burst(wire.client, wire.server, [get(f"/{name}") for name in "abcd"])
    relay.rule = back = Gather(order, to_server=False)
    burst(wire.server, wire.client, [answer(status, b"x") for status in (200, 201, 202, 203)])
    assert rule.done
    assert back.done
    books.expect(
        far.port,
        ["GET /first 200", "GET /a 200", "GET /b 201", "GET /c 202", "GET /d 203"],
    )


def test_more_gaps_than_are_kept(far: Listener, relay: Relay, books: Books) -> None:
    """When more comes out of order than is kept, what is missed is counted, and reading goes on."""
    wire = far.connect()
    wire.exchange(get("/first"))
    late = [*range(1, 24, 2), *range(0, 24, 2)]
    relay.rule = rule = Gather(late, to_server=True)
    burst(wire.client, wire.server, [get("/p")] * 24)
    wire.answer(OK * 24)
    assert rule.done
    wire.exchange(get("/next"))
    wire.exchange(get("/next"))
    seen = books.tally(far.port, "server")
    assert seen["GET /first 200"] == 1
    assert seen["GET /next 200"] == 2
    assert books.since("LOST_REORDER") > 0
    assert seen["GET /p 200"] + books.since("LOST_ORPHAN") == 24
    books.accept("LOST_GAP", "LOST_REORDER", "LOST_TENTATIVE", "LOST_ORPHAN")


def test_doubled_segments(far: Listener, relay: Relay, books: Books) -> None:
    """Segments that come twice are read once."""
    relay.rule = lambda packet: [packet.raw(), packet.raw()]
    wire = far.connect()
    for _ in range(5):
        burst(wire.client, wire.server, thirds(QUESTION))
        burst(wire.server, wire.client, thirds(REPLY))
    wire.finish()
    books.expect(far.port, {"POST /a 200": 5})


def test_lost_acknowledgements(far: Listener, relay: Relay, books: Books) -> None:
    """What was received, but is sent again because nobody said so, is read once."""
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    relay.rule = lambda packet: forward(packet) if packet.to_server else []
    wire.ask(QUESTION)
    wait_for(lambda: sum(p.to_server for p in relay.seen), lambda seen: seen >= 5)
    relay.rule = forward
    wire.answer(REPLY)
    books.expect(far.port, {"POST /a 200": 2})


def test_resent_as_one_segment(far: Listener, relay: Relay, books: Books) -> None:
    """Segments that are sent again as one, of which a part was received before."""
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    kept: list[Packet] = []

    def keep(packet: Packet) -> list[bytes]:
        if not packet.data:
            return forward(packet)
        if all(packet.seq != one.seq for one in kept):
            kept.append(packet)
            return forward(packet) if len(kept) == 1 else []
        if len(kept) < 3:  # a slow machine's TCP has not sent all of them yet
            return []
        relay.rule = forward
        joined = kept[0].change(data=kept[0].data + kept[1].data + kept[2].data)
        return [joined.raw()]

    relay.rule = keep
    burst(wire.client, wire.server, thirds(QUESTION))
    wire.answer(REPLY)
    books.expect(far.port, {"POST /a 200": 2})
    assert books.row(far.port, "server", "POST /a 200").req_wire == 2 * len(QUESTION)


def test_fragments(far: Listener, relay: Relay, books: Books) -> None:
    """A request in IP fragments is read when they have been put together."""
    wire = far.connect()
    relay.rule = lambda packet: fragments(packet, 104) if packet.data else forward(packet)
    wire.exchange(QUESTION, REPLY)
    wire.exchange(QUESTION, REPLY)
    books.expect(far.port, {"POST /a 200": 2})


def test_sequence_numbers_wrap(far: Listener, relay: Relay, books: Books) -> None:
    """Sequence numbers begin again at 0 in the middle of a message."""
    shift = {True: 0, False: 0}

    def turn(packet: Packet) -> list[bytes]:
        way = packet.to_server
        if packet.flags & SYN:
            shift[way] = (2**32 - 1500 - packet.seq) % 2**32
        return [
            packet.change(
                seq=(packet.seq + shift[way]) % 2**32, ack=(packet.ack - shift[not way]) % 2**32
            ).raw()
        ]

    relay.rule = turn
    wire = far.connect()
    for _ in range(6):
        wire.exchange(QUESTION, REPLY)
    books.expect(far.port, {"POST /a 200": 6})


def test_late_end(far: Listener, relay: Relay, books: Books) -> None:
    """A FIN that overtakes the response's last bytes ends nothing before they have come."""
    wire = far.connect()
    wire.ask(get("/a"))
    relay.rule = rule = Gather([1, 0], to_server=False)
    wire.server.sendall(head("HTTP/1.1 200 OK", "Connection: close") + b"x" * 500)
    wire.server.sendall(b"y" * 500)
    wire.server.close()
    while wire.client.recv(65536):
        pass
    assert rule.done
    books.expect(far.port, ["GET /a 200"])
    assert [r.resp_body for r in books.rows(far.port, "GET /a 200")] == [1000, 1000]


def test_large_bodies_on_a_bad_path(far: Listener, relay: Relay, books: Books) -> None:
    """Bodies of megabytes that come with losses and out of order are counted to the byte."""
    wire = far.connect()
    relay.rule = chaos = Chaos(5, loss=0.003, double=0.01, delay=0.02, damage=0.003)
    body = b"d" * 2_000_000
    wire.exchange(post("/up", body), answer(201, body))
    wire.exchange(get("/a"))
    assert all(chaos.done.values()), chaos.done
    books.expect(far.port, {"POST /up 201": 1, "GET /a 200": 1})
    for row in books.rows(far.port, "POST /up 201"):
        assert (row.req_body, row.resp_body) == (len(body), len(body))
    books.accept("LOST_TENTATIVE")


def ask_over(address: str, world: World, site: Nginx) -> Counter[str]:
    """Ask nginx at an address thousands of times; return what was asked."""
    (site.www / "file").write_bytes(b"GET /fake HTTP/1.1\r\n\r\n" * 1000)
    asked = {"/small": share(3000), "/file": share(300)}
    for path, count in asked.items():
        url = f"http://{address}:{site.port}{path}"
        output = world.client.run("h2load", "--h1", "-n", str(count), "-c", "20", url)
        assert f"{count} succeeded" in output
    assert site.requests() == sum(asked.values())
    return Counter({f"GET {path} 200": count for path, count in asked.items()})


def test_requests_on_a_bad_path(world: World, relay: Relay, books: Books, tmp_path: Path) -> None:
    """Thousands of requests with losses, doubles and delays are counted exactly."""
    relay.rule = chaos = Chaos(9, loss=0.01, double=0.02, delay=0.05, damage=0)
    with nginx(world, world.server, tmp_path / "nginx", kept=100) as site:
        books.expect(site.port, ask_over(relay.address, world, site))
        for row in books.rows(site.port, "GET /file 200"):
            assert row.resp_body == share(300) * 22_000
    assert all(n for what, n in chaos.done.items() if what != "damaged"), chaos.done
    books.accept("LOST_TENTATIVE")


def test_requests_on_a_damaging_path(
    world: World, relay: Relay, books: Books, tmp_path: Path
) -> None:
    """With damage as well the server's side is exact. The client's, where long responses arrive,
    may lose its place until the next request, which is told.
    """
    relay.rule = chaos = Chaos(9, loss=0.01, double=0.02, delay=0.05, damage=0.01)
    with nginx(world, world.server, tmp_path / "nginx", kept=100) as site:
        asked = ask_over(relay.address, world, site)
        assert books.tally(site.port, "server") == asked
        client = books.tally(site.port, "client")
        missing = (asked - client).total()
        assert client.keys() <= {*asked, *(f"{line[:-3]}- no_response" for line in asked)}
        assert missing <= asked.total() // 100
        assert missing <= books.since("LOST_TENTATIVE")
    assert all(chaos.done.values()), chaos.done
    books.accept("LOST_TENTATIVE", "LOST_GAP", "LOST_PIPELINE", "LOST_ORPHAN", "LOST_REORDER")


def test_peer_vanishes(far: Listener, relay: Relay, books: Books) -> None:
    """A connection whose peer falls silent is closed in the books when TCP gives it up."""
    asking, answering = far.connect(), far.connect()
    for wire in (asking, answering):
        wire.exchange(get("/a"))
        for sock in (wire.client, wire.server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
    answering.ask(get("/b"))
    acknowledged(answering.client)
    relay.rule = swallow
    asking.client.sendall(get("/lost"))
    answering.server.sendall(head("HTTP/1.1 200 OK", "Content-Length: 9") + b"x")
    for sock in (asking.client, answering.server):
        with pytest.raises(TimeoutError) as given_up:
            sock.recv(1)
        assert given_up.value.errno == errno.ETIMEDOUT
    served = ["GET /a 200", "GET /a 200", "GET /b 200 incomplete"]
    asked = ["GET /a 200", "GET /a 200", "GET /lost - timeout"]
    books.expect(far.port, server=served, client=asked)
    reset(answering.client)
    books.expect(far.port, server=served, client=[*asked, "GET /b - reset"])


def test_idle_peer_vanishes(far: Listener, relay: Relay, books: Books) -> None:
    """A client that waits for a server which is gone is told by its keep-alive probes."""
    wire = far.connect()
    sock = wire.client
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
        sock.setsockopt(socket.IPPROTO_TCP, option, 1)
    wire.ask(get("/a"))
    acknowledged(wire.client)
    relay.rule = swallow
    with pytest.raises(TimeoutError) as given_up:
        sock.recv(1)
    assert given_up.value.errno == errno.ETIMEDOUT
    books.expect(far.port, client=["GET /a - timeout"], server=[])
    reset(wire.server)
    books.expect(far.port, client=["GET /a - timeout"], server=["GET /a - reset"])
