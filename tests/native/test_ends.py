"""The end of a connection, wherever it comes: what was asked and is not answered is counted with the reason."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.native import messages
from tests.native.machine import CLOSE, FIN, RST, Machine
from tests.native.messages import Request, Response
from tests.native.scale import examples
from tests.native.talk import CLIENT, SERVER, Talk, check_counts, check_flows
from tests.native.tcp import Tcp

_ASK = b"GET /all HTTP/1.1\r\n\r\n"


@examples(300)
@given(
    exchanges=messages.conversations(5),
    role=st.sampled_from([SERVER, CLIENT]),
    cut=st.sampled_from(["message", "random", "mixed"]),
    window=st.sampled_from([1, 3, 32]),
    packets=st.integers(1, 40),
    end=st.sampled_from(["fin", "reset", "own", "timeout", "release"]),
    again=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_a_conversation_may_end_anywhere(
    machine: Machine,
    exchanges: list[tuple[Request, Response]],
    role: int,
    cut: str,
    window: int,
    packets: int,
    end: str,
    again: bool,
    seed: int,
) -> None:
    """Requests without a whole answer are counted once, with how the connection ended, the rest as ever."""
    machine.reset()
    machine.observe_all()
    with machine.sock() as sock:
        tcp = Tcp(sock)
        talk = Talk(tcp, role, exchanges, Random(seed), cut=cut, window=window)
        talk.run(packets=packets)
        upgraded = sock.kind == "UPGRADED"
        machine.now += 1000
        if end == "fin":
            talk.break_off("NO_RESPONSE")
            talk.fin()
        elif end == "reset":
            tcp.arrive(tcp.received, b"", flags=RST)
            talk.break_off("RESET")
        elif end == "timeout":
            sock.timeout(last=False)
            sock.timeout()
            talk.break_off("TIMEOUT")
        else:
            talk.break_off("RESET" if end == "own" else "TIMEOUT")
        if end == "release":
            sock.set_state(CLOSE)
        else:
            sock.state(CLOSE)
        for _ in range(1 + again):
            sock.release()
        assert machine.losses == {}
        check_counts(machine, role, talk.expected)
        check_flows(machine, role, talk.expected)
        if end != "release":
            assert sock.kind in {"CLOSED", "NEW"}  # new: nothing had come
        else:
            assert sock.kind in ({"UPGRADED"} if upgraded else {"CLOSED", "HTTP", "NEW"})


def test_a_client_may_close_its_side_first(machine: Machine) -> None:
    """The end of the requests is not the end of the responses."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, _ASK, flags=FIN)
        tcp.leave(0, b"HTTP/1.1 200 OK\r\n\r\nbody")
        tcp.leave(23, b"", flags=FIN)
        ((key, cell),) = machine.series()
        assert (key["status"], key["error"], cell["resp_body"]) == (200, 0, 4)


@pytest.mark.parametrize("outstanding", [1, 2, 32])
def test_every_outstanding_request_is_settled(machine: Machine, outstanding: int) -> None:
    """All of up to 32 requests that a connection dies with are counted."""
    with machine.sock() as sock:
        Tcp(sock).arrive(0, _ASK * outstanding)
        sock.state(CLOSE)
    ((key, cell),) = machine.series()
    assert machine.btf.enum("ax_error")["AX_ERROR_RESET"] == key["error"]
    assert cell["hist"].sum() == outstanding
    assert machine.losses == {}


def test_more_than_32_requests_are_counted_as_lost(machine: Machine) -> None:
    """Requests beyond the queue are not paired: they are counted as lost, those behind them again."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, _ASK * 40)
        assert machine.losses == {"LOST_PIPELINE": 8}
        tcp.leave(0, b"HTTP/1.1 204 No Content\r\n\r\n" * 40)
        assert machine.counted == 32
        tcp.arrive(len(_ASK) * 40, _ASK)
        tcp.leave(27 * 40, b"HTTP/1.1 204 No Content\r\n\r\n")
        assert machine.counted == 33
    assert machine.losses == {"LOST_PIPELINE": 8}


@pytest.mark.parametrize(
    ("first", "kind", "counted"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS", "CONN_TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP2", "CONN_HTTP2"),
        (b"\x00\x03\x00\x00user\x00postgres\x00\x00", "OPAQUE", "CONN_OTHER"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "OPAQUE", "CONN_OTHER"),
        (b"*1\r\n$4\r\nPING\r\n", "OPAQUE", "CONN_OTHER"),
    ],
)
@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_what_is_no_http_is_left(
    machine: Machine, first: bytes, kind: str, counted: str, role: int
) -> None:
    """Other protocols are recognised, counted once by kind, and never looked at again."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        one, other = (tcp.arrive, tcp.leave) if role == SERVER else (tcp.leave, tcp.arrive)
        one(0, first)
        other(0, b"\x00 answer\n")
        one(len(first), b"\x00 question\n")
        assert sock.kind == kind
        parsed = machine.stats.get("INFO_PARSED")
        for i in range(5):
            one(len(first) + 11 + len(_ASK) * i, _ASK)
            other(9 + 27 * i, b"HTTP/1.1 204 No Content\r\n\r\n")
        assert machine.counted == 0
        assert machine.losses == {}
        assert machine.stats.get("INFO_PARSED") == parsed
        assert machine.stats.get(counted) == 1


def test_an_answer_before_its_request_was_complete_does_not_shift_the_rest(
    machine: Machine,
) -> None:
    """A server that answers half a head: that one is lost, the next may be missed, those behind are paired rightly."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, b"GET /half HTTP/1.1\r\nX: y\r\n")
        tcp.leave(0, b"HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\n\r\n")
        tcp.arrive(tcp.received, b"\r\n")
        for i in range(3):
            tcp.arrive(tcp.received, b"GET /n%d HTTP/1.1\r\nHost: h\r\n\r\n" % i)
            tcp.leave(tcp.sent, b"HTTP/1.1 %d OK\r\nContent-Length: 0\r\n\r\n" % (210 + i))
        got = {machine.route(key["route"]): int(key["status"]) for key, _ in machine.series()}
        assert got == {b"/n1": 211, b"/n2": 212}
        assert machine.losses == {"LOST_ORPHAN": 1}


def test_all_that_is_outstanding_is_lost_with_a_connection(machine: Machine) -> None:
    """Giving a connection up counts every request that will not be counted any more."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        for _ in range(20):
            tcp.arrive(tcp.received, _ASK)
        tcp.leave(0, b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
        assert sock.kind == "BROKEN"
        assert machine.losses == {"LOST_BAD_LENGTH": 20}


def test_a_chunk_size_of_too_many_digits_is_refused(machine: Machine) -> None:
    """Digits behind the sixteenth are not passed over: the size would be another."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, _ASK)
        body = b"00000000000000005\r\nhello\r\n0\r\n\r\n"
        tcp.leave(0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        assert machine.losses == {"LOST_BAD_CHUNK": 1}


def test_a_long_pipeline_keeps_its_numbers(machine: Machine) -> None:
    """Request 65,536 of a connection that is never idle is not taken for the first."""
    ask = b"GET /p HTTP/1.1\r\n\r\n"
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, ask)
        for _ in range(65_540):
            machine.now += 1000
            tcp.arrive(tcp.received, ask)
            tcp.leave(tcp.sent, answer)
        ((_, cell),) = machine.series()
        assert int(cell["hist"].sum()) == 65_540
        assert int(cell["dur_sum"]) < 65_540 * 10_000


_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(
    ("asked", "answered", "counted"),
    [
        (_ASK, _NO_CONTENT, 1),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\x03\x03\x00\x7a", 0),
        (b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", 0),
    ],
    ids=["http", "tls", "other"],
)
def test_a_socket_may_be_connected_again(
    machine: Machine, asked: bytes, answered: bytes, counted: int
) -> None:
    """A connection on a socket that had one before, ended in order, is counted from its first request on."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.leave(0, asked)
        tcp.arrive(0, answered)
        tcp.leave(len(asked), b"", flags=FIN)
        tcp.arrive(len(answered), b"", flags=FIN)
        sock.state(CLOSE)
        sock.connected()
        tcp = Tcp(sock, in_at=0x70000000, out_at=0xFFFFFFF0)
        for _ in range(3):
            tcp.leave(tcp.sent, _ASK)
            tcp.arrive(tcp.received, _NO_CONTENT)
        assert machine.counted == counted + 3
        assert machine.losses == {}


@pytest.mark.parametrize(
    ("off", "error"), [(0, "RESET"), (-1, "TIMEOUT"), (1, "TIMEOUT"), (70_000, "TIMEOUT")]
)
@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_a_reset_that_tcp_does_not_take_ends_nothing(
    machine: Machine, off: int, error: str, role: int
) -> None:
    """Only a reset at the very next byte is what an outstanding request is said to have ended with."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        if role == SERVER:
            tcp.arrive(0, _ASK)
        else:
            tcp.leave(0, _ASK)
        tcp.arrive(tcp.received + off, b"", flags=RST, fate="dropped")
        sock.timeout()
        sock.state(CLOSE)
        ((key, _),) = machine.series()
        assert machine.btf.enum("ax_error")["AX_ERROR_" + error] == key["error"]


def test_nothing_is_missing_behind_the_end_of_a_stream(machine: Machine) -> None:
    """Data behind the end of the requests, which TCP discards, loses no request that is outstanding."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, _ASK, flags=FIN)
        tcp.arrive(tcp.received + 100, _ASK, fate="dropped")
        tcp.arrive(tcp.received, _ASK, fate="dropped")
        tcp.leave(0, _NO_CONTENT)
        assert machine.counted == 1
        assert machine.losses == {}
