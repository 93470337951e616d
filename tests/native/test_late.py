"""Connections that are older than the programs: picked up at their next request."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.native import messages
from tests.native.machine import Machine
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
