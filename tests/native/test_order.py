"""What a hook sees is not yet what TCP accepts: only what was accepted is counted, and all of it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.native import messages
from tests.native.accidents import DAMAGED, HARMFUL, HARMLESS, RoughTalk
from tests.native.machine import FIN, Machine
from tests.native.messages import Request, Response
from tests.native.scale import examples
from tests.native.talk import CLIENT, SERVER, Expected, check_counts, check_flows
from tests.native.tcp import Tcp

_CUTS = st.sampled_from(["message", "random", "mixed", "all", "mtu"])
_SEQS = st.sampled_from([(1000, 5000), (0xFFFFFF00, 0xFFFFFFF0)])


def untimed(expected: list[Expected]) -> list[Expected]:
    """Say nothing of times: they depend on which of several packets brought a byte."""
    for each in expected:
        each.start = each.duration = each.ttfb = None
    return expected


@examples(300)
@given(
    exchanges=messages.conversations(),
    role=st.sampled_from([SERVER, CLIENT]),
    cut=_CUTS,
    window=st.sampled_from([1, 3]),
    seqs=_SEQS,
    observed=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_order_does_not_matter(
    machine: Machine,
    exchanges: list[tuple[Request, Response]],
    role: int,
    cut: str,
    window: int,
    seqs: tuple[int, int],
    observed: bool,
    seed: int,
) -> None:
    """Packets sent again, overlapping, out of order or waiting for the socket change nothing."""
    machine.reset()
    if observed:
        machine.observe_all()
    with machine.sock() as sock:
        tcp = Tcp(sock, in_at=seqs[0], out_at=seqs[1])
        talk = RoughTalk(
            tcp, role, exchanges, Random(seed), cut=cut, window=window, accidents=HARMLESS
        )
        talk.run()
        talk.close()
        assert machine.losses == {}
        check_counts(machine, role, untimed(talk.expected))
        if observed:
            check_flows(machine, role, untimed(talk.expected))


@examples(300)
@given(
    exchanges=messages.conversations(),
    cut=_CUTS,
    window=st.sampled_from([1, 3]),
    seqs=_SEQS,
    seed=st.integers(0, 2**32),
)
def test_what_tcp_discards_moves_nothing(
    machine: Machine,
    exchanges: list[tuple[Request, Response]],
    cut: str,
    window: int,
    seqs: tuple[int, int],
    seed: int,
) -> None:
    """Damaged packets, whatever they hold, leave no trace at a server once the true ones have come."""
    machine.reset()
    with machine.sock() as sock:
        tcp = Tcp(sock, in_at=seqs[0], out_at=seqs[1])
        talk = RoughTalk(
            tcp,
            SERVER,
            exchanges,
            Random(seed),
            cut=cut,
            window=window,
            accidents=HARMLESS + DAMAGED,
        )
        talk.run()
        talk.close()
        assert machine.losses == {}
        check_counts(machine, SERVER, untimed(talk.expected))


@examples(300)
@given(
    exchanges=messages.conversations(),
    role=st.sampled_from([SERVER, CLIENT]),
    cut=_CUTS,
    window=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32),
)
def test_what_cannot_be_undone_is_counted(
    machine: Machine,
    exchanges: list[tuple[Request, Response]],
    role: int,
    cut: str,
    window: int,
    seed: int,
) -> None:
    """Where bytes are missing or damage cannot be undone, what is not counted is counted as lost.

    A client counts a response when it has come, taken or not: damage is a matter of servers here.
    """
    machine.reset()
    accidents = HARMFUL if role == SERVER else ("unseen", "wait-resend")
    with machine.sock() as sock:
        talk = RoughTalk(
            Tcp(sock), role, exchanges, Random(seed), cut=cut, window=window, accidents=HARMLESS
        )
        talk.run(1)
        talk.accidents = accidents
        talk.run()
        talk.close()
        if not machine.losses:
            check_counts(machine, role, untimed(talk.expected))
        # a forged request is counted at most once for each loss that says so
        forged = machine.losses.get("LOST_TENTATIVE", 0)
        assert machine.counted <= len(exchanges) + forged
        assert machine.idle


_ANSWERS = pytest.mark.parametrize(
    ("answer", "end"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil its end", "HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "UPGRADED"),
    ],
    ids=["no-body", "length", "close", "upgrade"],
)


@_ANSWERS
def test_a_body_whose_last_bytes_no_hook_showed_is_counted_whole(
    machine: Machine, answer: bytes, end: str
) -> None:
    """What TCP has taken of a body of known length counts, though no packet behind it tells of it."""
    head = b"POST /all HTTP/1.1\r\nContent-Length: 100000\r\n\r\n"
    stream = head + b"b" * 100_000
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, stream[:60_000])
        tcp.arrive(60_500, stream[60_500:90_000])
        tcp.arrive(60_000, stream[60_000:60_500])
        tcp.arrive(90_000, stream[90_000:], seen=False)
        tcp.leave(0, answer)
        tcp.leave(len(answer), b"", flags=FIN)
        ((_, cell),) = machine.series()
        assert (cell["req_body"], cell["req_wire"]) == (100_000, len(stream))
        assert (sock.kind, machine.losses) == (end, {})


@_ANSWERS
def test_a_chunked_body_whose_end_no_hook_showed_is_lost(
    machine: Machine, answer: bytes, end: str
) -> None:
    """Where it is not known what the missing bytes were, a request is not counted with the rest: it is lost."""
    stream = b"POST /all HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n3\r\nfgh\r\n0\r\n\r\n"
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, stream[:-15])
        tcp.arrive(len(stream) - 15, stream[-15:], seen=False)
        tcp.leave(0, answer)
        tcp.leave(len(answer), b"", flags=FIN)
        assert (machine.counted, machine.losses) == (0, {"LOST_GAP": 1})
        assert sock.kind == ("SYNC" if end == "HTTP" else end)


def test_an_early_answer_counts_what_was_taken_of_a_chunk(machine: Machine) -> None:
    """Within a chunk the bytes that no hook showed are known to be content, though the request has not ended."""
    stream = b"POST /all HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + b"c" * 90
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, stream[:-40])
        tcp.arrive(len(stream) - 40, stream[-40:], seen=False)
        tcp.leave(0, b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        ((_, cell),) = machine.series()
        assert (cell["req_body"], cell["req_wire"]) == (90, len(stream))
        assert machine.losses == {}


def test_an_end_among_what_was_left_out_is_lost_for_that_reason(machine: Machine) -> None:
    """More stretches before their turn than are kept, and then the answer: the buffer was too small."""
    head = b"POST /all HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    stream = head + b"1\r\nc\r\n" * 20 + b"0\r\n\r\n"
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, head)
        for at in range(len(head) + 6, len(stream), 12):
            tcp.arrive(at, stream[at : at + 6])
        tcp.arrive(len(head), stream[len(head) :], seen=False)
        tcp.leave(0, b"HTTP/1.1 204 No Content\r\n\r\n")
        assert (machine.counted, machine.losses) == (0, {"LOST_REORDER": 1})


@pytest.mark.parametrize("coding", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
def test_an_end_within_a_body_is_no_byte_of_it(machine: Machine, coding: bytes) -> None:
    """A client that ends its stream too soon is answered: its FIN takes a number, and no byte is missing."""
    stream = b"POST /all HTTP/1.1\r\n" + coding + b"\r\n\r\n5\r\na"
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, stream)
        tcp.arrive(len(stream), b"", flags=FIN)
        tcp.leave(0, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        ((_, cell),) = machine.series()
        assert cell["req_body"] == (1 if coding.endswith(b"chunked") else 4)
        assert machine.losses == {}


def test_a_split_line_survives_the_packet_that_follows_it(machine: Machine) -> None:
    """A line's kept beginning is still there when the packet behind it turns out to be discarded."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, b"GET /al")
        tcp.arrive(7, b"l HTTP/1.1\r\nHo", fate="dropped")
        tcp.arrive(7, b"ways HTTP/1.1\r\nHost: h\r\n\r\n")
        tcp.leave(0, b"HTTP/1.1 204 No Content\r\n\r\n")
        assert [machine.route(key["route"]) for key, _ in machine.series()] == [b"/always"]
        assert machine.losses == {}


def test_the_end_of_a_response_may_come_twice(machine: Machine) -> None:
    """A client that reads a response's last packet again, before TCP has taken it, counts it once."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.leave(0, b"GET / HTTP/1.1\r\n\r\n")
        tcp.arrive(0, b"HTTP/1.1 204 No Content\r\n\r")
        tcp.arrive(26, b"\n", fate="waits")
        tcp.arrive(26, b"\n")
        assert machine.counted == 1
        assert machine.losses == {}


def test_noise_in_place_of_the_first_packet_is_forgotten(machine: Machine) -> None:
    """A connection whose first packet was damaged is HTTP all the same, and no loss is counted."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, b"\x00\xff\n\n noise", fate="dropped")
        tcp.arrive(0, b"GET /all HTTP/1.1\r\n\r\n")
        tcp.leave(0, b"HTTP/1.1 204 No Content\r\n\r\n")
        assert machine.counted == 1
        assert machine.losses == {}
        assert "CONN_OTHER" not in machine.stats


def test_noise_that_tcp_takes_ends_the_reading(machine: Machine) -> None:
    """What is no HTTP is left, and counted, as soon as TCP is seen to have taken it."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, b"\x00\xff\n\n noise")
        assert sock.kind == "NEW"
        tcp.leave(0, b"\x00")
        assert sock.kind == "OPAQUE"
        assert machine.stats["CONN_OTHER"] == 1


def test_a_bad_request_behind_good_ones_is_counted_once_taken(machine: Machine) -> None:
    """What came before the noise is answered and counted; the noise is one loss."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, b"GET /all HTTP/1.1\r\n\r\nnoise\r\n")
        tcp.leave(0, b"HTTP/1.1 204 No Content\r\n\r\n")
        tcp.leave(27, b"HTTP/1.1 400 Bad Request\r\n\r\n", flags=FIN)
        assert machine.counted == 1
        assert machine.losses == {"LOST_BAD_REQUEST": 1, "LOST_ORPHAN": 1}


_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"b" * 1000
_AFTER = b"HTTP/1.1 204 No Content\r\n\r\n"


def asked(machine: Machine, times: int) -> Tcp:
    """Make a client that has sent some requests."""
    tcp = Tcp(machine.sock())
    tcp.leave(0, b"GET /all HTTP/1.1\r\n\r\n" * times)
    return tcp


def test_early_data_may_lie_partly_within_a_body(machine: Machine) -> None:
    """Of out-of-order packets those within a body are only measured, one that ends it is read."""
    stream = _BODY + _AFTER
    tcp = asked(machine, 2)
    tcp.arrive(0, stream[:200])
    for at, end in ((900, len(stream)), (600, 900), (400, 600), (200, 400)):
        tcp.arrive(at, stream[at:end])
    assert machine.counted == 2
    assert machine.losses == {}
    tcp.sock.close()


def test_early_packets_may_overlap(machine: Machine) -> None:
    """Out-of-order packets that were cut anew when they were sent again join without a seam."""
    stream = b"".join(
        b"HTTP/1.1 200 OK\r\nX: %d\r\nContent-Length: 0\r\n\r\n" % i for i in range(20)
    )
    tcp = asked(machine, 20)
    for at, end in (
        (300, 500),
        (450, 600),
        (300, 500),
        (350, 450),
        (590, 590 + 50),
        (640, len(stream)),
    ):
        tcp.arrive(at, stream[at:end])
    tcp.arrive(0, stream[:300])
    assert machine.counted == 20
    assert machine.losses == {}
    tcp.sock.close()


def test_the_end_of_a_stream_may_come_early(machine: Machine) -> None:
    """A FIN that overtakes data ends a response that has no other end, when the data has come."""
    stream = b"HTTP/1.1 200 OK\r\n\r\n" + b"b" * 1000
    tcp = asked(machine, 1)
    tcp.arrive(0, stream[:500])
    tcp.arrive(len(stream), b"", flags=FIN)
    assert machine.counted == 0
    tcp.arrive(500, stream[500:])
    ((_, cell),) = machine.series()
    assert (cell["resp_body"], machine.losses) == (1000, {})
    tcp.sock.close()


def test_a_response_ends_when_its_last_gap_is_closed(machine: Machine) -> None:
    """Data that comes early does not end a response early."""
    machine.observe_all()
    tcp = asked(machine, 1)
    start = machine.now
    machine.now += 1_000_000
    tcp.arrive(500, _BODY[500:])
    machine.now += 1_000_000
    tcp.arrive(0, _BODY[:500])
    (flow,) = machine.flows()
    assert (flow["start"], flow["ttfb"], flow["duration"]) == (start, 2_000_000, 2_000_000)
    tcp.sock.close()


def test_more_requests_than_can_be_undone_leave_none_behind(machine: Machine) -> None:
    """Of 300 requests in one packet that TCP discards and that comes again, none is outstanding ever after."""
    ask = b"GET /all HTTP/1.1\r\n\r\n"
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, ask * 300, fate="dropped")
        tcp.arrive(0, ask * 300)
        tcp.leave(0, _AFTER * 300)
        lost = {"LOST_PIPELINE": 268, "LOST_TENTATIVE": 1}
        assert (machine.counted, machine.losses) == (32, lost)
        for i in range(3):
            tcp.arrive(tcp.received, b"GET /later HTTP/1.1\r\n\r\n")
            tcp.leave(tcp.sent, b"HTTP/1.1 %d OK\r\nContent-Length: 0\r\n\r\n" % (210 + i))
        got = [int(key["status"]) for key, _ in machine.series() if key["status"] != 204]
        assert (sorted(got), machine.counted) == ([210, 211, 212], 35)
        assert machine.losses == lost


@pytest.mark.parametrize("before", [0, 10])
def test_more_responses_than_can_be_undone_are_not_counted_twice(
    machine: Machine, before: int
) -> None:
    """Of 300 responses in one packet that TCP discards and that comes again, none is read a second time."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.leave(0, b"GET /all HTTP/1.1\r\n\r\n" * 300)
        stream = _AFTER * 300
        tcp.arrive(0, stream[:before])
        tcp.arrive(before, stream[before:], fate="dropped")
        tcp.arrive(before, stream[before:])
        lost = {"LOST_PIPELINE": 268, "LOST_TENTATIVE": 1}
        assert (machine.counted, machine.losses) == (32, lost)
        for i in range(3):
            tcp.leave(tcp.sent, b"GET /later HTTP/1.1\r\n\r\n")
            tcp.arrive(tcp.received, b"HTTP/1.1 %d OK\r\nContent-Length: 0\r\n\r\n" % (210 + i))
        got = [int(key["status"]) for key, _ in machine.series() if key["status"] != 204]
        assert (sorted(got), machine.counted) == ([210, 211, 212], 35)
        assert machine.losses == lost
