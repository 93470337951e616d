"""More data before its turn than is kept: what is left out is missed only when TCP has taken it."""

from __future__ import annotations

from random import Random

import pytest

from tests.native.machine import Machine
from tests.native.tcp import Tcp

_ASK = b"GET /all HTTP/1.1\r\n\r\n"
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_RUNS = 8  # AX_RUNS

Pieces = list[tuple[int, bytes]]


def cut(stream: bytes, size: int) -> Pieces:
    """Return the stream in pieces, each with its place."""
    return [(at, stream[at : at + size]) for at in range(0, len(stream), size)]


def ordered(pieces: Pieces, order: str) -> Pieces:
    """Put pieces into the order in which they arrive."""
    if order == "mixed":
        return Random(1).sample(pieces, len(pieces))
    return pieces if order == "nearest first" else pieces[::-1]


ORDERS = pytest.mark.parametrize("order", ["nearest first", "farthest first", "mixed"])


@ORDERS
def test_early_data_that_is_not_kept_is_no_request(machine: Machine, order: str) -> None:
    """Nothing beyond a gap is taken for a request, however much of it there is, and all true ones behind are counted."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, _ASK)
        tcp.leave(0, _ANSWER)
        decoys = [(100 * i, b"GET /decoy HTTP/1.1\r\n\r\n") for i in range(1, _RUNS + 2)]
        for at, data in ordered(decoys, order):
            tcp.arrive(tcp.received + at, data, fate="dropped")
        assert (sock.kind, sock.asked) == ("HTTP", 1)
        for _ in range(60):  # and through where the others lay
            tcp.arrive(tcp.received, b"GET /true HTTP/1.1\r\n\r\n")
            tcp.leave(tcp.sent, _ANSWER)
        got = {
            machine.route(key["route"]): int(cell["hist"].sum()) for key, cell in machine.series()
        }
        assert got == {b"/all": 1, b"/true": 60}
        assert machine.losses == {}


@ORDERS
def test_early_data_within_a_body_need_not_be_kept(machine: Machine, order: str) -> None:
    """Nine stretches inside a body whose length is known lose neither it nor the response behind it."""
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n" + b"b" * 30_000
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.leave(0, _ASK * 2)
        pieces = cut(body + _ANSWER, 1000)
        islands = pieces[2 : 2 * _RUNS + 4 : 2]
        assert len(islands) == _RUNS + 1
        tcp.arrive(*pieces[0])
        for piece in ordered(islands, order):
            tcp.arrive(*piece)
        for piece in pieces[1:]:
            if piece not in islands:
                tcp.arrive(*piece)
        got = [(int(key["status"]), int(cell["resp_body"])) for key, cell in machine.series()]
        assert sorted(got) == [(200, 30_000), (204, 0)]
        assert machine.losses == {}


@ORDERS
def test_the_nearest_early_data_is_kept(machine: Machine, order: str) -> None:
    """Of nine stretches the farthest gives way: all before it is read, and it alone is a loss, once TCP has taken it."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        pieces = cut(_ASK * (2 * _RUNS + 4), len(_ASK))
        tcp.arrive(*pieces[0])
        for piece in ordered(pieces[2 : 2 * _RUNS + 4 : 2], order):
            tcp.arrive(*piece)
        for piece in pieces[1 : 2 * _RUNS + 2 : 2]:
            tcp.arrive(*piece)
        assert sock.asked == 2 * _RUNS + 2
        tcp.leave(0, _ANSWER * (2 * _RUNS + 2))
        assert machine.counted == 2 * _RUNS + 2
        assert machine.losses == {}
        tcp.arrive(*pieces[-1])
        assert machine.losses == {"LOST_REORDER": 1}


@pytest.mark.parametrize(("ahead", "kept"), [(1 << 30, 1), ((1 << 30) + 1, 0), ((1 << 31) - 1, 0)])
def test_what_is_beyond_any_window_is_not_kept(machine: Machine, ahead: int, kept: int) -> None:
    """Data farther ahead than the largest window, which TCP discards, is not kept either."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, _ASK)
        tcp.leave(0, _ANSWER)
        tcp.arrive(tcp.received + ahead, _ASK, fate="dropped")
        assert machine.stats.get("INFO_REORDERED", 0) == kept
        assert machine.map("ax_stash").contents.used == kept
        tcp.arrive(tcp.received, _ASK)
        tcp.leave(tcp.sent, _ANSWER)
        assert machine.counted == 2
        assert machine.losses == {}


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_long_message_may_have_its_gap_at_its_beginning(machine: Machine, role: str) -> None:
    """A chunked message in 200 packets of which the second comes last is counted whole, and what follows it as well."""
    chunked = b"Transfer-Encoding: chunked\r\n\r\n" + (b"3e8\r\n" + b"c" * 1000 + b"\r\n") * 287
    chunked += b"0\r\n\r\n"
    with machine.sock() as sock:
        tcp = Tcp(sock)
        if role == "client":
            tcp.leave(0, _ASK * 2)
            pieces = cut(b"HTTP/1.1 200 OK\r\n" + chunked, 1448)
        else:
            pieces = cut(b"POST /all HTTP/1.1\r\n" + chunked, 1448)
        assert len(pieces) == 200
        for piece in (pieces[0], *pieces[2:], pieces[1]):
            tcp.arrive(*piece)
        if role == "client":
            tcp.arrive(tcp.received, _ANSWER)
        else:
            tcp.leave(0, _ANSWER)
            tcp.arrive(tcp.received, _ASK)
            tcp.leave(tcp.sent, _ANSWER)
        field = "resp_body" if role == "client" else "req_body"
        assert sorted(int(cell[field]) for _, cell in machine.series()) == [0, 287_000]
        assert machine.losses == {}
