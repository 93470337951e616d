"""What the search by coverage and a reading of the code have found, once each."""

from __future__ import annotations

import pytest

from tests.native.machine import FIN, Machine
from tests.native.talk import CLIENT, SERVER
from tests.native.tcp import Tcp

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("cut", [1, 4, 1000])
def test_requests_of_the_packet_that_breaks_a_connection_are_lost_too(
    machine: Machine, cut: int
) -> None:
    """As many requests are counted as lost with a connection as were outstanding, however they came."""
    stream = (
        b"GET / HTTP/1.1\r\n\r\nPUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n"
    )
    with machine.sock() as sock:
        tcp = Tcp(sock)
        for at in range(0, len(stream), cut):
            tcp.leave(at, stream[at : at + cut])
        assert machine.losses == {"LOST_BAD_CHUNK": 2}


@pytest.mark.parametrize("role", [SERVER, CLIENT])
@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_an_answer_before_its_request_is_a_loss_whatever_follows_it(
    machine: Machine, role: int, cut: int
) -> None:
    """A response to a request whose head is not complete ends the pairing, also with more behind it."""
    answer = _HEAD + b"HTTP/1.1 100 Continue\r\n\r\n"
    with machine.sock() as sock:
        tcp = Tcp(sock)
        ask, tell = (tcp.arrive, tcp.leave) if role == SERVER else (tcp.leave, tcp.arrive)
        ask(0, b"PUT /a HTTP/1.1\r\nHost:")
        for at in range(0, len(answer), cut):
            tell(at, answer[at : at + cut])
        assert machine.losses == {"LOST_ORPHAN": 1}
        assert sock.kind == "SYNC"


@pytest.mark.parametrize("end", [b"12345", b"123"])
def test_an_answer_that_began_before_its_request_has_no_time_to_first_byte(
    machine: Machine, end: bytes
) -> None:
    """A timeout's answer that a request crosses is never a time before zero."""
    machine.observe_all()
    answer = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 5\r\n\r\n"
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, b"\r\n")
        tcp.arrive(2, b"GET /a HTTP/1.1\r\n\r\n")
        tcp.leave(0, _HEAD)
        tcp.leave(len(_HEAD), answer)
        machine.now += 1000
        tcp.arrive(21, b"GET /b HTTP/1.1\r\n\r\n")
        machine.now += 1000
        tcp.leave(len(_HEAD + answer), end)
        sock.state(7)
        _, crossed = machine.flows()
        assert (crossed["status"], crossed["duration"], crossed["ttfb"]) == (408, 1000, 0)


def test_a_settled_request_is_not_undone(machine: Machine) -> None:
    """What was settled with the responses' end stays settled when TCP turns out to have discarded it."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, b"POST /a ")
        tcp.arrive(8, b"/decoy HTTP/1.1\r\n\r\n", fate="dropped")
        tcp.leave(0, b"", flags=FIN)
        tcp.arrive(8, b"HTTP/1.1\r\nHost: h\r\n")
        tcp.arrive(27, b"Content-Length: x\r\n\r\n")
        tcp.arrive(48, b"x")
        assert machine.losses == {"LOST_BAD_LENGTH": 1}


def test_the_other_side_may_turn_out_to_ask(machine: Machine) -> None:
    """If the side that spoke first sent only empty lines, the other side's request is read in its own place."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.leave(0, b"\r\n")
        tcp.arrive(0, b"GET /a HTTP/1.1\r\n\r\n")
        tcp.leave(2, _HEAD)
        assert machine.counted == 1
        assert machine.losses == {}


@pytest.mark.parametrize("role", [SERVER, CLIENT])
@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (b"GET /b HTTP/2.0\r\n\r\n", "LOST_BAD_REQUEST"),
        (b"POST /b HTTP/1.1\r\nContent-Length: x\r\n\r\n", "LOST_BAD_LENGTH"),
        (b"POST /b HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "LOST_BAD_LENGTH"),
    ],
)
def test_a_request_that_ends_the_reading_takes_no_other_along(
    machine: Machine, role: int, last: bytes, loss: str
) -> None:
    """A request before one that cannot be read, in the same packet, is counted with its answer; the other is a loss."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        ask, tell = (tcp.arrive, tcp.leave) if role == SERVER else (tcp.leave, tcp.arrive)
        ask(0, b"GET /a HTTP/1.1\r\n\r\n" + last)
        tell(0, _HEAD)
        got = [(machine.route(key["route"]), int(key["status"])) for key, _ in machine.series()]
        assert (got, machine.counted) == ([(b"/a", 200)], 1)
        assert machine.losses == {loss: 1}
        assert "CONN_HTTP2" not in machine.stats


@pytest.mark.parametrize("broken", ["request", "response", "body"])
def test_a_message_behind_a_gap_has_its_own_size(machine: Machine, broken: str) -> None:
    """After a connection was found again, what had been read of the broken message is in no size."""
    ask = b"POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    with machine.sock() as sock:
        tcp = Tcp(sock)
        if broken == "request":
            tcp.arrive(0, b"GET /a HTTP/1.1\r\nX-Long: and so on\r\n")
        else:
            tcp.arrive(0, b"GET /a HTTP/1.1\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
            tcp.leave(0, head + (b"\r\n20\r\nsome" if broken == "body" else b""))
        if broken == "request":
            tcp.arrive(tcp.received, b"x" * 500, seen=False)
        else:
            tcp.attached = False
            tcp.leave(tcp.sent, b"x" * 500)
            tcp.attached = True
            tcp.leave(tcp.sent, b"yy\r\n")
        tcp.arrive(tcp.received, ask)
        tcp.leave(tcp.sent, _HEAD)
        assert machine.losses == {"LOST_GAP": 1}
        ((_, cell),) = machine.series()
        assert (cell["req_wire"], cell["req_body"]) == (len(ask), 3)
        assert (cell["resp_wire"], cell["resp_body"]) == (len(_HEAD), 0)
