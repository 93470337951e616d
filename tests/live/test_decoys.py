"""Segments that TCP discards count nothing, though the hooks see them before TCP does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.kit.books import Books, wait_for
from tests.live.kit.held import held_in_read
from tests.live.kit.packet import ACK, FIN, PSH, RST, Packet
from tests.live.kit.relay import Relay, forward
from tests.live.kit.waiting import until
from tests.live.kit.wire import Listener, Wire, acknowledged, answer, get, head, post, receive

QUESTION = post("/a", b"q" * 400)
REPLY = answer(200, b"r" * 400)
FORGED = {True: get("/forged", "X: " + "x" * 80), False: answer(500, b"forged" * 20)}


def damaged(packet: Packet, data: bytes) -> bytes:
    """Return a segment in a packet's place with other data and a wrong checksum."""
    return packet.change(data=data).raw(damaged=True)


def too_old(packet: Packet, data: bytes) -> bytes:
    """Return one with a time stamp from before (PAWS, RFC 7323 section 5)."""
    return packet.change(data=data).aged(10_000).raw()


def bad_ack(packet: Packet, data: bytes) -> bytes:
    """Return one that acknowledges what was never sent."""
    return packet.change(data=data, ack=(packet.ack + 1_000_000) % 2**32).raw()


def no_ack(packet: Packet, data: bytes) -> bytes:
    """Return one without the ACK flag."""
    return packet.change(data=data, flags=packet.flags & ~ACK).raw()


DECOYS = [damaged, too_old, bad_ack, no_ack]


class Before:
    """A rule that sends a decoy before the next segment with data of one direction."""

    def __init__(self, decoy: object, *, to_server: bool) -> None:
        self._decoy = decoy
        self._to_server = to_server
        self.done = False

    def __call__(self, packet: Packet) -> list[bytes]:
        """Decide about one packet."""
        if self.done or not packet.data or packet.to_server != self._to_server:
            return forward(packet)
        self.done = True
        assert callable(self._decoy)
        return [self._decoy(packet, FORGED[self._to_server]), packet.raw()]


class Behind:
    """A rule for the client's next segments with data: they arrive as `order` says, a damaged copy behind each."""

    def __init__(self, *order: int) -> None:
        self._order = order
        self._kept: list[Packet] = []
        self._done = False

    def __call__(self, packet: Packet) -> Iterator[bytes]:
        """Decide about one packet."""
        if not packet.data or not packet.to_server:
            yield from forward(packet)
            return
        if any(packet.seq == kept.seq for kept in self._kept):
            return  # a slow machine's TCP sends it again
        self._kept.append(packet)
        if len(self._kept) != len(self._order):
            return
        for i in self._order:
            came = self._kept[i]
            yield came.raw()
            yield damaged(came, bytes(b ^ 1 for b in came.data))
        self._done = True

    def over(self) -> bool:
        """Tell whether all has been sent on."""
        return self._done


@pytest.mark.parametrize("decoy", DECOYS)
def test_forged_request(far: Listener, relay: Relay, books: Books, decoy: object) -> None:
    """A request that TCP discards is not counted; the one that comes in its place is."""
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    for _ in range(2):
        relay.rule = rule = Before(decoy, to_server=True)
        wire.exchange(QUESTION, REPLY)
        assert rule.done
    wire.exchange(get("/after"))
    books.expect(far.port, {"POST /a 200": 3, "GET /after 200": 1})


@pytest.mark.parametrize("decoy", DECOYS)
def test_forged_first_request(far: Listener, relay: Relay, books: Books, decoy: object) -> None:
    """The same for the first bytes of a connection."""
    relay.rule = rule = Before(decoy, to_server=True)
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    assert rule.done
    wire.exchange(get("/after"))
    books.expect(far.port, {"POST /a 200": 1, "GET /after 200": 1})


@pytest.mark.parametrize("decoy", DECOYS)
def test_forged_response_and_the_true_one(
    far: Listener, relay: Relay, books: Books, decoy: object
) -> None:
    """A whole response is counted when it is seen, and counters never fall: so of a forged one and
    the true one behind it one is counted, and what follows is as it should be.
    """
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    for _ in range(2):
        relay.rule = rule = Before(decoy, to_server=False)
        wire.exchange(QUESTION, REPLY)
        assert rule.done
    for _ in range(3):
        wire.exchange(get("/after"))
    # Which of the two is counted is the machine's business: a slow one's client may not have asked when the first comes.
    wait_for(lambda: books.tally(far.port, "client").total(), (6).__eq__)
    client = books.tally(far.port, "client")
    assert 0 <= client["POST /a 500"] <= 2
    books.expect(
        far.port,
        server={"POST /a 200": 3, "GET /after 200": 3},
        client={
            "POST /a 200": 3 - client["POST /a 500"],
            "POST /a 500": client["POST /a 500"],
            "GET /after 200": 3,
        },
    )


def test_damaged_copy_of_what_waits(far: Listener, relay: Relay, books: Books) -> None:
    """What waits for its process is what TCP will take, and not a damaged copy that comes behind it."""
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    for first in (1, 30):
        wire.client.sendall(QUESTION[:first])
        acknowledged(wire.client)
        with held_in_read(wire.server):
            relay.rule = rule = Behind(0)
            wire.client.sendall(QUESTION[first:])
            until(rule.over, "the segment and its copy have come")
        relay.rule = forward
        assert receive(wire.server, len(QUESTION) - 1) == QUESTION[1:]
        wire.answer(REPLY)
    wire.exchange(get("/after"))
    books.expect(far.port, {"POST /a 200": 3, "GET /after 200": 1})


def test_damaged_copy_of_what_is_early(far: Listener, relay: Relay, books: Books) -> None:
    """The same for what waits behind a gap."""
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    for first in (1, 30):
        relay.rule = rule = Behind(1, 0)
        wire.client.sendall(QUESTION[:first])
        wire.client.sendall(QUESTION[first:])
        until(rule.over, "both segments have come")
        relay.rule = forward
        assert receive(wire.server, len(QUESTION)) == QUESTION
        wire.answer(REPLY)
    wire.exchange(get("/after"))
    books.expect(far.port, {"POST /a 200": 3, "GET /after 200": 1})


@pytest.mark.parametrize("to_server", [True, False])
def test_garbage(far: Listener, relay: Relay, books: Books, to_server: bool) -> None:
    """Damage that is no HTTP does not make a connection be given up."""
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    relay.rule = Before(
        lambda packet, _: damaged(packet, bytes(b ^ 0x15 * (b > 32) for b in packet.data)),
        to_server=to_server,
    )
    for _ in range(3):
        wire.exchange(QUESTION, REPLY)
    books.expect(far.port, {"POST /a 200": 4})


def test_forged_bytes_in_a_chunk_header(far: Listener, relay: Relay, books: Books) -> None:
    """A damaged segment in the middle of a message does not lead its framing astray."""
    body = b"190\r\n" + b"c" * 400 + b"\r\n0\r\n\r\n"
    start = head("POST /chunks HTTP/1.1", "Host: h", "Transfer-Encoding: chunked")
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    wire.ask(start)
    relay.rule = Before(lambda packet, _: damaged(packet, b"f" + packet.data[1:]), to_server=True)
    wire.ask(body)
    wire.answer(REPLY)
    wire.exchange(get("/after"))
    books.expect(far.port, ["POST /a 200", "POST /chunks 200", "GET /after 200"])


@pytest.mark.parametrize("to_server", [True, False])
def test_damaged_end_of_a_body(
    far: Listener,
    relay: Relay,
    books: Books,
    to_server: bool,
) -> None:
    """Damage in a body is nobody's loss, also in its last segment."""
    wire = far.connect()
    for _ in range(3):
        wire.ask(QUESTION[:-100])
        relay.rule = Before(
            lambda packet, _: damaged(packet, b"!" * len(packet.data)), to_server=to_server
        )
        wire.ask(QUESTION[-100:])
        wire.answer(REPLY[:-100])
        wire.answer(REPLY[-100:])
    books.expect(far.port, {"POST /a 200": 3})


def test_out_of_window(far: Listener, relay: Relay, books: Books) -> None:
    """Data far ahead of the window, where the stream then arrives, is not the stream's."""
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    filler = post("/filler", b"f" * 2_000_000)

    def ahead(packet: Packet, _: bytes) -> bytes:
        seq = (packet.seq + len(filler)) % 2**32
        return packet.change(seq=seq, data=FORGED[True]).raw()

    relay.rule = rule = Before(ahead, to_server=True)
    wire.ask(filler, step=50_000)
    wire.answer(REPLY)
    assert rule.done
    wire.exchange(QUESTION, REPLY)
    wire.exchange(QUESTION, REPLY)
    books.expect(far.port, {"POST /filler 200": 1, "POST /a 200": 3})


@pytest.mark.parametrize("to_server", [True, False])
def test_blind_reset(far: Listener, relay: Relay, books: Books, to_server: bool) -> None:
    """A RST out of the window ends nothing (RFC 5961), and is no reason of a later end."""
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    last = [p for p in relay.seen if p.to_server == to_server][-1]
    for seq in (last.seq - 100_000, last.seq + 50_000_000):
        decoy = last.change(seq=seq % 2**32, flags=RST | ACK, data=b"")
        relay.send(decoy.raw(), to_server=to_server)
    wire.exchange(QUESTION, REPLY)
    wire.ask(get("/b"))
    wire.server.close()
    assert wire.client.recv(1) == b""
    books.expect(far.port, ["POST /a 200", "POST /a 200", "GET /b - no_response"])


def test_forged_end(far: Listener, relay: Relay, books: Books) -> None:
    """A FIN that TCP discards ends no connection, and what it cuts off is counted once."""
    wire = far.connect()
    wire.exchange(QUESTION, REPLY)
    wire.ask(get("/b"))

    def ending(packet: Packet, _: bytes) -> bytes:
        start = head("HTTP/1.1 500 Forged", "Connection: close", "X: " + "x" * 80)
        return packet.change(flags=FIN | PSH | ACK, data=start).raw(damaged=True)

    relay.rule = rule = Before(ending, to_server=False)
    wire.answer(REPLY)
    assert rule.done
    wire.exchange(get("/c"))
    books.expect(
        far.port,
        server=["POST /a 200", "GET /b 200", "GET /c 200"],
        client=["POST /a 200", "GET /b 500", "GET /c 200"],
    )


def test_old_data_again(far: Listener, relay: Relay, books: Books) -> None:
    """Segments that were read and accepted long ago count nothing when they come once more."""
    wire: Wire = far.connect()
    for _ in range(3):
        wire.exchange(QUESTION, REPLY)
    for packet in list(relay.seen):
        relay.send(packet.raw(), to_server=packet.to_server)
    wire.exchange(QUESTION, REPLY)
    books.expect(far.port, {"POST /a 200": 4})
