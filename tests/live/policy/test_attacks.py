"""Segments that are written by hand do not carry a denied request past the gate."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.live.kit.emulated import FAMILIES
from tests.live.kit.gate import End, Guarded, forbidden, rest
from tests.live.kit.packet import ACK, FIN, PSH, RST, SYN
from tests.live.kit.raw import MSS, Raw, Segment
from tests.live.kit.wire import OK, Listener, get, head, receive
from tests.live.kit.world import World

PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'
SIZE = 100
URG, ECE, CWR = 32, 64, 128
each_family = pytest.mark.parametrize("make", ["4", "6"], indirect=True)
"""On every kernel: what IP itself does is another thing in each."""
SILENCE = 0.15
"""Seconds for which nothing comes where nothing will: what is let by is there in a few milliseconds."""


def sized(path: str, size: int = SIZE) -> bytes:
    """Return a GET of so many bytes."""
    short = len(get(path, "X: "))
    return get(path, "X: " + "x" * (size - short))


GOOD, OTHER, BAD = sized("/pub/a"), sized("/pub/bb"), sized("/secret")
Make = Callable[..., tuple[Raw, socket.socket]]


@pytest.fixture(params=FAMILIES)
def make(world: World, gate: Guarded, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Give a function that connects a raw client; it returns both ends."""
    listener = Listener(
        world, world.server, world.client, "", socket.AF_INET6, listen_family=socket.AF_INET6
    )
    gate.allow_everywhere(PUBLIC)
    gate.forged = True
    made: list[Raw] = []

    def connect(*, options: bytes = MSS, **how: object) -> tuple[Raw, socket.socket]:
        raw = Raw(world, listener.port, six=request.param == "6", **how)  # type: ignore[arg-type]
        made.append(raw)
        raw.connect(options)
        return raw, listener.accept()

    connect.listener = listener  # type: ignore[attr-defined]
    connect.made = made  # type: ignore[attr-defined]
    yield connect
    for raw in made:
        raw.close()
    listener.close()


def text(segments: list[Segment]) -> bytes:
    """Return the data of segments."""
    return b"".join(s.data for s in segments)


def exchange(raw: Raw, server: socket.socket, request: bytes = GOOD) -> None:
    """Ask and answer."""
    raw.send(request)
    assert receive(server, len(request)) == request
    raw.seq = (raw.seq + len(request)) % 2**32
    server.sendall(OK)
    got = raw.wait(lambda s: bool(s.data))
    raw.ack = (got.seq + len(got.data)) % 2**32
    raw.send(flags=ACK)


def expect_unread(server: socket.socket, *before: bytes) -> None:
    """Fail if a server reads anything but this, until it is reset or nothing more comes."""
    seen = rest(server, SILENCE)
    if seen.data != b"".join(before):
        pytest.fail(f"the server has read {seen}")


def damaged(raw: Raw) -> dict[str, object]:
    """Decoys with a wrong checksum."""
    return {"damaged": True}


def old(raw: Raw) -> dict[str, object]:
    """Decoys with an old time stamp (PAWS)."""
    return {"age": 100_000}


def bad_ack(raw: Raw) -> dict[str, object]:
    """Decoys that acknowledge what was never sent."""
    return {"ack": (raw.ack + 1_000_000) % 2**32}


def no_ack(raw: Raw) -> dict[str, object]:
    """Decoys without the ACK flag."""
    return {"flags": PSH}


DECOYS = [damaged, old, bad_ack, no_ack]
Decoy = Callable[[Raw], dict[str, object]]
Reasons = dict[str, int]


def counted(decoy: Decoy, judged: Reasons, unjudged: Reasons) -> Reasons:
    """Return what is counted where decoys are `judged`, as TCP might take them. Others are strays: nothing is decided by them."""
    return unjudged | {"STRAY": 1} if decoy in {bad_ack, no_ack} else judged


def test_plain(make: Make, gate: Guarded) -> None:
    """Without an attack: what is allowed passes, and what is denied gets a 403 and the end."""
    raw, server = make(stamps=True)
    with gate.denying(RULE=1):
        for _ in range(3):
            exchange(raw, server)
        raw.send(BAD)
        got = raw.wait(lambda s: bool(s.data))
        assert got.data == forbidden()
        assert got.flags & FIN
        assert got.ack == (raw.seq + len(BAD)) % 2**32
        expect_unread(server)


@pytest.mark.parametrize("isn", [2**32 - 2, 2**32 - 50, 2**32 - 150, 2**31 - 50])
def test_sequence_numbers_wrap(make: Make, gate: Guarded, isn: int) -> None:
    """It all holds where sequence numbers begin anew."""
    raw, server = make(isn=isn)
    with gate.denying(RULE=1):
        exchange(raw, server)
        exchange(raw, server, OTHER)
        raw.send(BAD)
        assert raw.wait(lambda s: bool(s.data)).data == forbidden()
        expect_unread(server)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("decoy", DECOYS)
def test_decoy_and_another_request(make: Make, gate: Guarded, decoy: Decoy, first: bool) -> None:
    """An allowed request that TCP discards does not let a denied one in its place by."""
    raw, server = make(stamps=True)
    with gate.denying(**counted(decoy, {"RESENT": 1}, {"RULE": 1})):
        if not first:
            exchange(raw, server)
        raw.send(GOOD, **decoy(raw))
        raw.send(BAD)
        expect_unread(server)
        assert any(s.flags & RST or s.data for s in raw.all())


@pytest.mark.parametrize("decoy", DECOYS)
def test_decoy_and_the_same(make: Make, gate: Guarded, decoy: Decoy) -> None:
    """A decoy with the very bytes that come again does no harm."""
    raw, server = make(stamps=True)
    with gate.denying(**counted(decoy, {}, {})):
        exchange(raw, server)
        raw.send(GOOD, **decoy(raw))
        exchange(raw, server)
        exchange(raw, server, OTHER)


@pytest.mark.parametrize("decoy", DECOYS)
def test_decoy_with_a_later_segment(make: Make, gate: Guarded, decoy: Decoy) -> None:
    """A later segment that waits in TCP's queue does not let other bytes before it by."""
    raw, server = make(stamps=True)
    with gate.denying(**counted(decoy, {"RESENT": 1}, {"ORDER": 1, "RULE": 1})):
        exchange(raw, server)
        raw.send(GOOD, **decoy(raw))
        raw.send(OTHER, at=SIZE)
        raw.send(BAD)
        expect_unread(server)


@pytest.mark.parametrize("decoy", DECOYS)
def test_decoy_that_has_a_body(make: Make, gate: Guarded, decoy: Decoy) -> None:
    """A denied request that was judged as the body of a decoy is not read as a request."""
    raw, server = make(stamps=True)
    with gate.denying(**counted(decoy, {"RESENT": 1}, {"ORDER": 1})):
        exchange(raw, server)
        start = head("POST /pub/a HTTP/1.1", "Host: a", f"Content-Length: {SIZE}")
        start = head(
            "POST /pub/a HTTP/1.1",
            "Host: a",
            f"Content-Length: {SIZE}",
            "X: " + "x" * (SIZE - len(start) - 5),
        )
        assert len(start) == SIZE
        raw.send(start, **decoy(raw))
        raw.send(BAD, at=SIZE)
        raw.send(GOOD)
        seen = rest(server, SILENCE)
        assert seen.data in {b"", GOOD}


@pytest.mark.parametrize("cut", [1, 30, 60, 99])
@pytest.mark.parametrize("decoy", DECOYS)
def test_decoy_of_half_a_head(make: Make, gate: Guarded, decoy: Decoy, cut: int) -> None:
    """The same where the decoy is only the end, or the beginning, of a head."""
    raw, server = make(stamps=True)
    with gate.denying(**counted(decoy, {"RESENT": 1, "UNJUDGED": 1}, {"ORDER": 1, "RULE": 1})):
        exchange(raw, server)
        raw.send(GOOD[:cut], **decoy(raw))
        raw.send(GOOD[cut:], at=cut)
        raw.send(BAD[:cut])
        raw.send(BAD)
        seen = rest(server, SILENCE)
        assert len(seen.data) < SIZE or seen.data == GOOD


@pytest.mark.parametrize("cut", [1, 5, 9])
@pytest.mark.parametrize("decoy", DECOYS)
def test_decoy_of_the_second_half(make: Make, gate: Guarded, decoy: Decoy, cut: int) -> None:
    """The same where the first half is accepted, and the second one is a decoy."""
    raw, server = make(stamps=True)
    with gate.denying(**counted(decoy, {"RESENT": 1}, {"PATH": 1})):
        exchange(raw, server)
        allowed, denied = sized("/pub/aaa"), sized("/pub/a.a").replace(b"/pub/a.a", b"/pub/../")
        raw.send(allowed[:cut])
        assert receive(server, cut) == allowed[:cut]
        raw.send(allowed[cut:], at=cut, **decoy(raw))
        raw.send(denied[cut:], at=cut)
        expect_unread(server)


CHUNKED = head("POST /pub/a HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")


@pytest.mark.parametrize("decoy", DECOYS)
def test_decoy_of_chunks(make: Make, gate: Guarded, decoy: Decoy) -> None:
    """Chunk framing that TCP discards does not let a request be taken for data."""
    raw, server = make(stamps=True)
    with gate.denying(**counted(decoy, {"RESENT": 1}, {"RULE": 1})):
        exchange(raw, server)
        raw.send(CHUNKED)
        assert receive(server, len(CHUNKED)) == CHUNKED
        data = b"0\r\n\r\n" + BAD
        fake = b"%x\r\n" % (len(data) - 6)
        fake += b"y" * (len(data) - len(fake) - 2) + b"\r\n"
        raw.send(fake, at=len(CHUNKED), **decoy(raw))
        raw.send(data, at=len(CHUNKED))
        expect_unread(server)


@pytest.mark.parametrize("decoy", DECOYS)
def test_decoy_of_chunks_in_the_head_s_packet(make: Make, gate: Guarded, decoy: Decoy) -> None:
    """The same where chunks come in one packet with their head, and are judged with it."""
    raw, server = make(stamps=True)
    with gate.denying(**counted(decoy, {"RESENT": 1, "UNJUDGED": 1}, {"RULE": 1, "UNJUDGED": 1})):
        exchange(raw, server)
        data = b"0\r\n\r\n" + BAD
        fake = b"%x\r\n" % (len(data) - 6)
        fake += b"y" * (len(data) - len(fake) - 2) + b"\r\n"
        raw.send(CHUNKED + fake, **decoy(raw))
        raw.send(CHUNKED + data)
        raw.send(data, at=len(CHUNKED))
        seen = rest(server, SILENCE)
        assert BAD not in seen.data


@pytest.mark.parametrize("decoy", DECOYS)
def test_decoy_of_a_chunk_s_size(make: Make, gate: Guarded, decoy: Decoy) -> None:
    """The same where the size alone is the decoy, and its data is accepted first."""
    raw, server = make(stamps=True)
    with gate.denying(**counted(decoy, {"RESENT": 1}, {"ORDER": 1})):
        exchange(raw, server)
        raw.send(CHUNKED)
        assert receive(server, len(CHUNKED)) == CHUNKED
        at = len(CHUNKED)
        raw.send(b"00100\r\n", at=at, **decoy(raw))
        raw.send(BAD, at=at + 7)
        raw.send(b"000\r\n\r\n", at=at)
        seen = rest(server, SILENCE)
        assert BAD not in seen.data


@pytest.mark.parametrize("decoy", DECOYS)
def test_decoy_of_an_upgrade(make: Make, gate: Guarded, decoy: Decoy) -> None:
    """Bytes behind an upgrade that TCP has discarded are judged as requests."""
    raw, server = make(stamps=True)
    with gate.denying(**counted(decoy, {"RESENT": 1, "UNJUDGED": 1}, {"RULE": 1})):
        exchange(raw, server)
        short = get("/pub/a", "Connection: Upgrade", "Upgrade: websocket")
        raw.send(short, **decoy(raw))
        raw.send(sized("/pub/a", len(short)))
        raw.send(BAD, at=len(short))
        seen = rest(server, SILENCE)
        assert b"/secret" not in seen.data


def test_sent_again_with_other_bytes(make: Make, gate: Guarded) -> None:
    """Other bytes in the place of those that the server has do not reach it."""
    raw, server = make()
    with gate.denying():
        raw.send(GOOD)
        assert receive(server, SIZE) == GOOD
        raw.send(BAD)
        raw.send(BAD[20:], at=20)
        expect_unread(server)


@pytest.mark.parametrize("before", [1, 50, 99, 100])
def test_overlap_what_was_taken(make: Make, gate: Guarded, before: int) -> None:
    """A denied request is found where its segment begins within bytes that were taken."""
    raw, server = make()
    with gate.denying(RULE=1):
        exchange(raw, server)
        raw.send(GOOD[-before:] + BAD, at=-before)
        expect_unread(server)
        assert text(raw.all()) == forbidden() or any(s.flags & RST for s in raw.seen)


@pytest.mark.parametrize("before", [1, 50, 99, 100])
def test_overlap_allowed(make: Make, gate: Guarded, before: int) -> None:
    """An allowed one there passes."""
    raw, server = make()
    with gate.denying():
        exchange(raw, server)
        raw.send(b"z" * before + OTHER, at=-before)
        assert receive(server, SIZE) == OTHER


def test_overlap_ahead(make: Make, gate: Guarded) -> None:
    """Segments that overlap each other ahead of a gap do not fill it with what was not judged."""
    raw, server = make()
    with gate.denying(ORDER=2):
        exchange(raw, server)
        raw.send(BAD[50:], at=50)
        raw.send(GOOD[40:], at=40)
        raw.send(GOOD[:60])
        raw.send(GOOD[40:], at=40)
        seen = rest(server, SILENCE)
        assert seen.data in {GOOD[:60], GOOD}


def test_out_of_order(make: Make, gate: Guarded) -> None:
    """What comes ahead is dropped, and passes when it comes again behind the rest."""
    raw, server = make()
    with gate.denying(ORDER=1):
        raw.send(OTHER, at=SIZE)
        raw.send(GOOD)
        assert receive(server, SIZE) == GOOD
        expect_unread(server)
        raw.send(OTHER, at=SIZE)
        assert receive(server, SIZE) == OTHER


def test_denied_ahead(make: Make, gate: Guarded) -> None:
    """A denied request that comes ahead of an allowed one is not read when the gap is filled."""
    raw, server = make()
    with gate.denying(ORDER=1, RULE=1):
        raw.send(BAD, at=SIZE)
        raw.send(GOOD)
        expect_unread(server, GOOD)
        raw.send(BAD, at=SIZE)
        expect_unread(server)


def test_out_of_the_window(make: Make, gate: Guarded) -> None:
    """What lies outside of the window ends nothing and is not read."""
    raw, server = make()
    with gate.denying(ORDER=1):
        exchange(raw, server)
        for at in (10_000_000, -10_000_000, 2**31 - 1):
            raw.send(BAD, at=at)
        expect_unread(server)
        exchange(raw, server)


@pytest.mark.parametrize("decoy", [bad_ack, no_ack])
def test_forged_to_end_another_s_connection(make: Make, gate: Guarded, decoy: Decoy) -> None:
    """A segment that TCP discards, sent by somebody who has guessed a place up to 64 KiB before
    the connection's, does not end it.
    """
    raw, server = make(stamps=True)
    with gate.denying(STRAY=1):
        for _ in range(20):
            exchange(raw, server)
        raw.send(b"x" * 1400, at=-1000, **decoy(raw))
        expect_unread(server)
        exchange(raw, server)


@pytest.mark.parametrize("pointer", [1, 4, 100])
def test_urgent(make: Make, gate: Guarded, pointer: int) -> None:
    """Urgent data, which a server may read out of its stream, resets the connection."""
    raw, server = make()
    with gate.denying(URGENT=1):
        exchange(raw, server)
        raw.send(GOOD, flags=ACK | PSH | URG, urgent=pointer)
        assert rest(server) == End(b"", "reset")


def test_flags(make: Make, gate: Guarded) -> None:
    """A denied request is not read whatever flags it has, nor where TCP has discarded an allowed one for its flags."""
    with gate.denying(RULE=4, RESENT=1, UNJUDGED=1):
        for flags in (ACK, ACK | FIN, ACK | RST, ACK | PSH | ECE | CWR):
            raw, server = make()
            raw.send(BAD, flags=flags)
            expect_unread(server)
        raw, server = make()
        raw.send(
            GOOD, flags=ACK | PSH | SYN
        )  # ends a byte further for the socket's hook than what was judged
        raw.send(BAD)
        expect_unread(server)


@each_family
@pytest.mark.parametrize("size", [8, 24, 64])
@pytest.mark.parametrize("decoyed", [False, True])
def test_fragments(make: Make, gate: Guarded, size: int, decoyed: bool) -> None:
    """A denied request in IP fragments is not read, also where a decoy was judged in its place."""
    raw, server = make()
    with gate.denying(FRAGMENT=2):
        exchange(raw, server)
        if decoyed:
            raw.send(GOOD, damaged=True)
        for frame in raw.fragments(raw.tcp(BAD), size):
            raw.put(frame)
        for frame in reversed(raw.fragments(raw.tcp(BAD), size)):
            raw.put(frame)
        expect_unread(server)


def test_fragments_after_a_denial_in_the_body(make: Make, gate: Guarded) -> None:
    """A request in fragments within what a body was said to be is the body's."""
    raw, server = make()
    with gate.denying(FRAGMENT=1):
        exchange(raw, server)
        start = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 100000")
        raw.send(start, damaged=True)
        plain = sized("/pub/a", len(start))
        for frame in raw.fragments(raw.tcp(plain + BAD), 64):
            raw.put(frame)
        seen = rest(server, SILENCE)
        assert b"/secret" not in seen.data


EXTENSIONS: dict[str, tuple[int, bytes, Reasons]] = {
    "hop by hop": (0, b"\x06\0\1\4\0\0\0\0", {"UNJUDGED": 1}),
    "destination": (60, b"\x06\0\1\4\0\0\0\0", {"UNJUDGED": 1}),
    "routing": (43, b"\x06\0\4\0\0\0\0\0", {}),  # which no host takes unasked
    "two": (60, b"\x3c\0\1\4\0\0\0\0\x06\0\1\4\0\0\0\0", {"UNJUDGED": 1}),
    "atomic fragment": (44, b"\x06\0\0\0\0\0\0\x4d", {"FRAGMENT": 1}),
}


@each_family
@pytest.mark.parametrize("decoyed", [False, True])
@pytest.mark.parametrize("name", EXTENSIONS)
def test_extension_headers(make: Make, gate: Guarded, name: str, decoyed: bool) -> None:
    """A denied request behind IPv6 extension headers, or IPv4 options, is not read."""
    raw, server = make()
    exchange(raw, server)
    if decoyed:
        raw.send(GOOD, damaged=True)
    kind, extension, denied = EXTENSIONS[name]
    if not raw.six:
        kind, extension = 6, b"\1" * (4 * (1 + len(name) % 10))
        denied = {"RESENT" if decoyed else "RULE": 1}
    with gate.denying(**denied):
        raw.put(raw.frame(raw.tcp(BAD), extension=extension, kind=kind))
        expect_unread(server)


def test_ip_options_allowed(make: Make, gate: Guarded) -> None:
    """An allowed request with IPv4 options is judged as any other; IPv6 has none."""
    raw, server = make()
    with gate.denying():
        exchange(raw, server)
        raw.put(raw.frame(raw.tcp(GOOD), extension=b"" if raw.six else b"\1" * 40))
        assert receive(server, SIZE) == GOOD


def test_padding(make: Make, gate: Guarded) -> None:
    """Bytes of a frame behind its packet are not judged as part of it."""
    raw, server = make()
    with gate.denying():
        exchange(raw, server)
        raw.put(raw.frame(raw.tcp(GOOD)) + b"GET /secret HTTP/1.1\r\n\r\n")
        assert receive(server, SIZE) == GOOD
        expect_unread(server)


def test_data_on_the_handshake(make: Make, gate: Guarded) -> None:
    """Data on a SYN is not read before it was judged: it comes again, and is denied or passes."""
    raw, server = make()
    with gate.denying(ORDER=4, RULE=1):
        exchange(raw, server)
        listener = make.listener  # type: ignore[attr-defined]
        listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
        for place in (listener.world.server,):
            place.sysctl("net.ipv4.tcp_fastopen", "1543")  # with and without cookies
        try:
            for request, fine in ((GOOD, True), (BAD, False)):
                other = Raw(listener.world, listener.port, six=raw.six)
                isn = other.seq
                for options in (MSS, MSS + b"\x22\x02\1\1"):
                    other.send(request, flags=SYN, seq=isn, options=options)
                listener.socket.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    listener.accept()
                other.connect(MSS + b"\x22\x02\1\1")
                assert other.ack
                if fine:
                    exchange(other, listener.accept(), request)
                else:
                    other.send(request)
                    expect_unread(listener.accept())
                other.close()
        finally:
            listener.socket.settimeout(20)
            listener.world.server.sysctl("net.ipv4.tcp_fastopen", "1")


def another(make: Make, port: int = 0, *, stamps: bool = False) -> Raw:
    """Return one more client, of a server of whose that is known, or of another port."""
    made: list[Raw] = make.made  # type: ignore[attr-defined]
    if not made:
        make()
    listener = make.listener  # type: ignore[attr-defined]
    made.append(Raw(listener.world, port or listener.port, six=made[0].six, stamps=stamps))
    return made[-1]


def fresh(make: Make, *, stamps: bool = False) -> Raw:
    """Return a connection whose handshake still lacks its last acknowledgement."""
    old, _ = make()
    listener = make.listener  # type: ignore[attr-defined]
    return Raw(listener.world, listener.port, six=old.six, stamps=stamps).connect(last=False)


def read_by_each(make: Make) -> list[bytes]:
    """Return what a server that accepts now reads on each connection."""
    listener = make.listener  # type: ignore[attr-defined]
    listener.socket.settimeout(0.3)
    data = []
    try:
        while True:
            data.append(rest(listener.keep(listener.socket.accept()[0]), 0.3).data)
    except TimeoutError:
        return data
    finally:
        listener.socket.settimeout(20)


def read_by_all(make: Make) -> bytes:
    """Return all of it."""
    return b"".join(read_by_each(make))


def test_data_that_ends_the_handshake(make: Make, gate: Guarded) -> None:
    """A request that comes in the place of the handshake's last acknowledgement is judged."""
    with gate.denying(RULE=2):
        raw = fresh(make)
        raw.send(GOOD)
        assert read_by_all(make) == GOOD
        raw.send(BAD, at=SIZE)
        assert read_by_all(make) == b""
        raw.close()
        raw = fresh(make)
        raw.send(BAD)
        raw.send(BAD)
        raw.send(flags=ACK)
        raw.send(BAD)
        assert read_by_all(make) == b""
        raw.close()


@pytest.mark.parametrize("decoy", DECOYS)
def test_decoy_that_ends_the_handshake(make: Make, gate: Guarded, decoy: Decoy) -> None:
    """A decoy there does not let another request, or what follows one, by."""
    with gate.denying(ORDER=2, RULE=2, RESENT=1, UNJUDGED=2):
        body = head("POST /pub/a HTTP/1.1", "Host: a", "Content-Length: 100000")
        for real, then in ((BAD, BAD), (GOOD, BAD), (sized("/pub/a", len(body)), BAD)):
            raw = fresh(make, stamps=True)
            raw.send(body if len(real) == len(body) else GOOD, **decoy(raw))
            raw.send(then, at=len(real))
            raw.send(real)
            raw.send(then, at=len(real))
            assert b"/secret" not in read_by_all(make)
            raw.close()


def test_forged_in_another_s_handshake(make: Make, gate: Guarded) -> None:
    """A denied request that somebody invents while another's handshake is open does not end that."""
    with gate.denying(ORDER=2):
        for request in (BAD, GOOD):
            raw = fresh(make)
            raw.send(
                request, seq=(raw.seq + 777_777_777) % 2**32, ack=(raw.ack + 1_000_000) % 2**32
            )
            raw.send(flags=ACK)
            listener = make.listener  # type: ignore[attr-defined]
            exchange(raw, listener.accept())
            raw.close()


@each_family
@pytest.mark.parametrize("size", [8, 24])
def test_fragments_of_a_syn(make: Make, gate: Guarded, size: int) -> None:
    """A SYN in IP fragments, whose options could not be taken out, begins no connection, and is counted."""
    other = another(make)
    before = gate.denials()
    segment = other.tcp(flags=SYN, seq=other.seq, options=MSS + bytes(16))
    for frame in other.fragments(segment, size):
        other.put(frame)
    with pytest.raises(TimeoutError):
        other.wait(lambda s: bool(s.flags & SYN), 0.5)
    gate.expect_denials(before, FRAGMENT=1)


def test_data_of_multipath_tcp(make: Make, gate: Guarded) -> None:
    """Data with a mapping to other places of the stream resets a connection; other options do not."""
    raw, server = make()
    with gate.denying(MULTIPATH=1):
        raw.send(GOOD, options=b"\1\1\5\x0a" + bytes(8))
        assert receive(server, SIZE) == GOOD
        raw.seq = (raw.seq + SIZE) % 2**32
        raw.send(GOOD, options=b"\x1e\x0c\x20\x05" + bytes(8))
        assert rest(server) == End(b"", "reset")


def test_a_full_buffer(make: Make, gate: Guarded) -> None:
    """What TCP has no room for and discards does not let other bytes in its place by."""
    raw, server = make()
    before = gate.denials()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    at = 0
    for _ in range(60):
        raw.send(GOOD, at=at)
        at += SIZE
    for back in range(at - 50 * SIZE, at, SIZE):
        raw.send(BAD, at=back)
    raw.send(BAD, at=at)
    assert b"/secret" not in rest(server, SILENCE).data
    gate.expect_denials(before, RESENT=1)


def test_many_small_windows(make: Make, gate: Guarded) -> None:
    """A zero-window probe of a byte, and a keep-alive one, change nothing."""
    raw, server = make()
    with gate.denying(RULE=1):
        exchange(raw, server)
        raw.send(b"", at=-1)
        raw.send(b"\0", at=-1)
        exchange(raw, server)
        raw.send(BAD[:1])
        assert receive(server, 1) == BAD[:1]
        raw.send(BAD)
        expect_unread(server)


def test_tomb_answers_again(make: Make, gate: Guarded) -> None:
    """The denied segment, sent again, gets the same 403 at the same place."""
    raw, server = make(stamps=True)
    with gate.denying(RULE=1):
        exchange(raw, server)
        raw.send(BAD)
        first = raw.wait(lambda s: bool(s.data))
        for _ in range(3):
            raw.send(BAD)
            again = raw.wait(lambda s: bool(s.data))
            assert (again.seq, again.ack, again.data, again.flags) == (
                first.seq,
                first.ack,
                first.data,
                first.flags,
            )
        expect_unread(server)


def test_tomb_takes_what_comes(make: Make, gate: Guarded) -> None:
    """What comes behind a denial is acknowledged and thrown away; the end is acknowledged too."""
    raw, server = make()
    with gate.denying(RULE=1):
        raw.send(BAD)
        got = raw.wait(lambda s: bool(s.data))
        raw.ack = (got.seq + len(got.data) + 1) % 2**32
        at = SIZE
        for _ in range(5):
            raw.send(b"z" * 1000, at=at)
            at += 1000
            assert raw.wait(bool).ack == (raw.seq + at) % 2**32
        raw.send(flags=ACK | FIN, at=at)
        last = raw.wait(bool)
        assert last.ack == (raw.seq + at + 1) % 2**32
        assert not last.flags & RST
        expect_unread(server)


def test_the_same_ports_again(make: Make, gate: Guarded, world: World) -> None:
    """A connection with the addresses of a denied one is a new one."""
    raw, server = make()
    with gate.denying(RULE=1):
        raw.send(BAD)
        got = raw.wait(lambda s: bool(s.data))
        raw.ack = (got.seq + len(got.data) + 1) % 2**32
        raw.send(flags=ACK | FIN, at=SIZE)
        expect_unread(server)
        listener = make.listener  # type: ignore[attr-defined]
        raw.seq = (raw.seq + 1_000_000) % 2**32
        raw.connect()
        exchange(raw, listener.accept())
