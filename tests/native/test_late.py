"""Connections that are older than the programs: picked up at their next request."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.native import messages
from tests.native.machine import Ends, Machine, mapped
from tests.native.messages import Request, Response
from tests.native.scale import examples
from tests.native.talk import CLIENT, SERVER, Talk, check_counts, check_flows
from tests.native.tcp import Tcp


def plain(exchange: tuple[Request, Response]) -> bool:
    """Whether a request is known by its first packet."""
    request = exchange[0]
    return not request.lead and request.method not in {"OTHER", "CONNECT"}


@examples(200)
@given(
    exchanges=messages.conversations(6),
    role=st.sampled_from([SERVER, CLIENT]),
    before=st.integers(0, 4),
    during=st.sampled_from(["between", "asked", "answering"]),
    observed=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_an_older_connection_is_counted_from_its_next_request(
    machine: Machine,
    exchanges: list[tuple[Request, Response]],
    role: int,
    before: int,
    during: str,
    observed: bool,
    seed: int,
) -> None:
    """Wherever the programs come in, every request that begins after that is counted, and no other."""
    exchanges = [e for e in exchanges if plain(e)]
    before = min(before, len(exchanges) - 1)
    if before < 0 or exchanges[before][1].leaves:
        return
    machine.reset()
    if observed:
        machine.observe_all()
    with machine.sock() as sock:
        tcp = Tcp(sock)
        talk = Talk(tcp, role, exchanges, Random(seed), cut="message")
        tcp.attached = False
        talk.run(before)
        if during != "between":
            talk.ask()
        if during == "answering":
            talk.cut = "random"
            talk.run(before + 1, packets=1)
            talk.cut = "message"
        tcp.attached = True
        missed = max(before + (during != "between"), talk.finished)
        talk.run(missed)
        if talk.finished < missed:  # its response ends with the connection
            talk.close()
        else:
            talk.run()
            talk.close()
        assert machine.losses == {}
        expected = talk.expected[missed:]
        check_counts(machine, role, expected)
        if observed:
            check_flows(machine, role, expected)


def test_noise_is_waited_out(machine: Machine) -> None:
    """An older connection that is no HTTP is left after some turns."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.received = tcp.sent = tcp.acked = 1000
        for _ in range(10):
            tcp.arrive(tcp.received, b"\x00\x01question")
            tcp.leave(tcp.sent, b"\x00\x01answer")
        assert sock.kind == "OPAQUE"
        assert machine.stats["CONN_OTHER"] == 1
        assert machine.losses == {}


def test_a_response_that_was_under_way_is_passed_over(machine: Machine) -> None:
    """The rest of a response that began before us is no response to the next request."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.received = tcp.sent = tcp.acked = 1000
        tcp.arrive(1000, b"GET /pipelined HTTP/1.1\r\n\r\n")
        tcp.leave(1000, b"the rest of an earlier body\r\n\r\n")
        tcp.leave(1031, b"HTTP/1.1 204 No Content\r\n\r\n")
        ((key, cell),) = machine.series()
        assert (key["status"], cell["resp_wire"], machine.losses) == (204, 27, {})


def test_the_rest_of_a_response_may_have_no_line_end(machine: Machine) -> None:
    """What comes before the response to the first request that was seen is not joined to it."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.received = tcp.sent = tcp.acked = 1000
        tcp.arrive(1000, b"GET /pipelined HTTP/1.1\r\n\r\n")
        tcp.leave(1000, b"the rest of an earlier body")
        tcp.leave(1027, b"HTT")
        tcp.leave(1030, b"P/1.1 204 No Content\r\n\r\n")
        ((key, cell),) = machine.series()
        assert (key["status"], cell["resp_wire"], machine.losses) == (204, 27, {})


def test_a_client_that_waits_for_its_first_response_is_older(machine: Machine) -> None:
    """A response to a request that left before we came is no request, and the next one is counted."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.sent = 26
        tcp.arrive(0, b"HTTP/1.1 204 No Content\r\n\r\n")
        tcp.leave(26, b"GET /next HTTP/1.1\r\n\r\n")
        tcp.arrive(27, b"HTTP/1.1 204 No Content\r\n\r\n")
        assert [machine.route(key["route"]) for key, _ in machine.series()] == [b"/next"]
        assert machine.losses == {}


def test_a_keep_alive_probe_is_no_response(machine: Machine) -> None:
    """A byte that TCP has taken long ago does not stand where the first response is expected."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.received = tcp.sent = tcp.acked = 1000
        tcp.leave(1000, b"GET /next HTTP/1.1\r\n\r\n")
        tcp.arrive(999, b"H")
        tcp.arrive(1000, b"HTTP/1.1 204 No Content\r\n\r\n")
        assert machine.counted == 1
        assert machine.losses == {}


def test_a_method_of_its_own_is_known_by_its_whole_line(machine: Machine) -> None:
    """An older connection is picked up at any method, if the line ends as a request line does."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.received = tcp.sent = tcp.acked = 1000
        tcp.arrive(1000, b"the rest of a body, which\r\nends here\r\n")
        tcp.leave(1000, b"HTTP/1.1 204 No Content\r\n\r\n")
        assert sock.kind == "SYNC"
        tcp.arrive(1038, b"PROPFIND /dav HTTP/1.1\r\n\r\n")
        tcp.leave(1027, b"HTTP/1.1 204 No Content\r\n\r\n")
        assert [machine.route(key["route"]) for key, _ in machine.series()] == [b"/dav"]
        assert machine.losses == {}


_OTHER = Ends(mapped("10.0.0.1"), mapped("10.0.0.3"), 8080, 40000)


def older(tcp: Tcp) -> None:
    """Have a connection carried something before the hooks came."""
    tcp.received = tcp.sent = tcp.acked = 1000


@pytest.mark.parametrize("role", [SERVER, CLIENT])
@pytest.mark.parametrize("rest", ["request", "response"])
def test_what_goes_one_way_costs_no_more_than_what_is_left(
    machine: Machine, role: int, rest: str
) -> None:
    """Behind a turn's first packet, each is passed over as those of a connection that is no HTTP.

    However long the turn is: the next request is read.
    """
    piece = b"b" * 60_000

    def calls(run: Callable[[], None]) -> int:
        before = machine.calls
        run()
        return machine.calls - before

    with machine.sock() as sock, machine.sock(_OTHER) as given_up:
        tcp, left = Tcp(sock), Tcp(given_up)
        left.arrive(0, b"\x16\x03\x01\x02\0")
        assert given_up.kind == "TLS"
        least = calls(lambda: left.arrive(5, piece))
        older(tcp)
        requests, responses = (tcp.arrive, tcp.leave) if role == SERVER else (tcp.leave, tcp.arrive)

        def at(send: Callable[..., None]) -> int:
            return tcp.received if send == tcp.arrive else tcp.sent

        way = requests if rest == "request" else responses
        first = calls(lambda: way(at(way), piece))
        assert first > least
        for _ in range(5000):
            assert calls(lambda: way(at(way), piece)) == least
        assert (sock.kind, machine.stats) == ("SYNC", {"CONN_TLS": 1})
        if rest == "request":
            responses(at(responses), b"HTTP/1.1 204 No Content\r\n\r\n")
        requests(at(requests), b"GET /next HTTP/1.1\r\n\r\n")
        responses(at(responses), b"HTTP/1.1 204 No Content\r\n\r\n")
        assert [machine.route(key["route"]) for key, _ in machine.series()] == [b"/next"]
        assert machine.losses == {}


_RECORDS = {
    "data": b"\x17\x03\x03\0\x05hello",
    "alert": b"\x15\x03\x03\0\x13" + b"a" * 19,
    "handshake": b"\x16\x03\x01\0\x05hello",
    "change": b"\x14\x03\x03\0\x01\x01",
    "the longest": b"\x17\x03\x03\x48\0" + b"x" * 100,
}


@pytest.mark.parametrize("record", _RECORDS.values(), ids=_RECORDS)
@pytest.mark.parametrize("way", ["arrive", "leave"])
def test_an_older_connection_of_tls_is_known_by_its_records(
    machine: Machine, record: bytes, way: str
) -> None:
    """Any record at the beginning of a turn tells TLS, at once."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        older(tcp)
        getattr(tcp, way)(1000, record)
        assert sock.kind == "TLS"
    assert machine.stats == {"CONN_TLS": 1}


def test_an_older_connection_may_be_in_the_middle_of_a_record(machine: Machine) -> None:
    """If a turn's first bytes are none of a record's beginning, a later turn's are."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        older(tcp)
        tcp.arrive(1000, b"the rest of a record")
        tcp.arrive(1020, _RECORDS["data"])
        assert sock.kind == "SYNC"
        tcp.leave(1000, _RECORDS["data"])
        assert sock.kind == "TLS"
    assert machine.stats == {"CONN_TLS": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"\x17\x03\x03\0",  # too short to tell
        b"\x17\x03\x03\0\0empty",
        b"\x17\x03\x03\x48\x01long",
        b"\x13\x03\x03\0\x05hello",
        b"\x18\x03\x03\0\x05hello",
        b"\x17\x02\x03\0\x05hello",
        b"\x17\x03\0\0\x05hello",
        b"\x17\x03\x05\0\x05hello",
    ],
)
def test_what_only_resembles_a_record_is_waited_out(machine: Machine, data: bytes) -> None:
    """The rest of a body that no record begins with leaves the connection open for its next request."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        older(tcp)
        tcp.arrive(1000, data)
        assert (sock.kind, machine.stats) == ("SYNC", {})


def test_a_connection_that_was_http_is_not_taken_for_tls(machine: Machine) -> None:
    """Where bytes were missed behind a request, the rest of its body may look like anything."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, b"PUT /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        tcp.arrive(tcp.received, b"x" * 500, seen=False)
        tcp.arrive(tcp.received, _RECORDS["data"])
        assert (sock.kind, machine.losses) == ("SYNC", {"LOST_GAP": 1})
        tcp.leave(0, b"HTTP/1.1 204 No Content\r\n\r\n")
        tcp.arrive(tcp.received, _RECORDS["data"])
        assert sock.kind == "SYNC"
        tcp.leave(tcp.sent, b"HTTP/1.1 204 No Content\r\n\r\n")
        tcp.arrive(tcp.received, b"GET /next HTTP/1.1\r\n\r\n")
        tcp.leave(tcp.sent, b"HTTP/1.1 204 No Content\r\n\r\n")
        assert b"/next" in [machine.route(key["route"]) for key, _ in machine.series()]
    assert "CONN_TLS" not in machine.stats
