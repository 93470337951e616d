"""A helper of the kernel may fail at any call: nothing breaks, and what is not counted is counted as lost."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_uint64

import pytest

from tests.native.machine import FIN, Ends, Machine, Sock, mapped
from tests.native.tcp import Tcp
from tests.native.test_listener import WAYS, early

_ASK = b"GET /a/1 HTTP/1.1\r\nHost: h\r\n\r\n"
_PUT = b"PUT /b HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_MOST_CALLS = 4000


def plain(machine: Machine, sock: Sock) -> int:
    """One request after another, the second like the first; return how many."""
    tcp = Tcp(sock)
    for request in (_ASK, _ASK, _PUT, _ASK):
        tcp.arrive(tcp.received, request)
        tcp.leave(tcp.sent, _OK)
    return 4


def pipelined(machine: Machine, sock: Sock) -> int:
    """Requests one behind the other, cut in the middle of lines."""
    tcp = Tcp(sock)
    stream = _ASK * 3 + _PUT + _ASK
    for at in range(0, len(stream), 37):
        tcp.arrive(at, stream[at : at + 37])
    tcp.leave(0, _OK * 5)
    return 5


def disordered(machine: Machine, sock: Sock) -> int:
    """Packets out of order, one of them damaged."""
    tcp = Tcp(sock)
    stream = _ASK * 3
    tcp.arrive(0, stream[:20])
    tcp.arrive(60, stream[60:])
    tcp.arrive(20, b"x" * 40, fate="dropped")
    tcp.arrive(20, stream[20:60])
    tcp.leave(0, _OK * 3)
    return 3


def aborted(machine: Machine, sock: Sock) -> int:
    """Two requests, of which one is answered before the connection is closed."""
    tcp = Tcp(sock)
    tcp.arrive(0, _ASK * 2)
    tcp.leave(0, _OK)
    tcp.leave(len(_OK), b"", flags=FIN)
    sock.state(7)
    return 2


def deferred(machine: Machine, sock: Sock) -> int:
    """A request that met the listener."""
    early(machine, WAYS["v4"], 1000, _ASK, now=machine.now)
    tcp = Tcp(sock)
    tcp.received = len(_ASK)
    tcp.leave(0, _OK)
    return 1


@pytest.mark.parametrize("scene", [plain, pipelined, disordered, aborted, deferred])
@pytest.mark.parametrize("fails", ["once", "from then on"])
def test_every_call_may_fail(
    machine: Machine, scene: Callable[[Machine, Sock], int], fails: str
) -> None:
    """Whichever call of a helper fails, once or from then on, the books add up and the rest goes on."""
    for call in range(1, _MOST_CALLS):
        machine.reset(peers=2)
        machine.observe_all()
        machine.fail_from(call, call + 1 if fails == "once" else 2**63)
        with machine.sock(WAYS["v4"]) as sock:
            asked = scene(machine, sock)
            reached = machine.calls >= call
            machine.fail_from(0)
        lost = sum(machine.losses.values())
        assert machine.counted <= asked
        assert machine.counted == asked or lost, f"call {call}"
        assert machine.idle, f"call {call}"
        other = Ends(mapped("10.0.0.1"), mapped("10.0.0.9"), 8080, 40001)
        with machine.sock(other) as sock:
            before = machine.counted
            assert plain(machine, sock) == machine.counted - before
        if not reached:
            return
    pytest.fail("the scene makes more calls than are tried")


def test_no_memory_for_a_connection(machine: Machine) -> None:
    """A connection whose state finds no memory is lost, packet by packet, until there is some."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        with machine.failing("nx_storage"):
            tcp.arrive(0, _ASK)
        assert (machine.losses, sock.kind) == ({"LOST_MEMORY": 1}, "NEW")
        tcp.leave(0, _OK)
        tcp.arrive(tcp.received, _ASK)
        tcp.leave(tcp.sent, _OK)
        assert (machine.losses, machine.counted) == ({"LOST_MEMORY": 1}, 1)


def test_no_memory_for_a_request_behind_another(machine: Machine) -> None:
    """A pipelined request whose place finds no memory is lost, and only that one."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, _ASK)
        with machine.failing("nx_storage"):
            tcp.arrive(tcp.received, _ASK)
        assert machine.losses == {"LOST_MEMORY": 1}
        tcp.leave(0, _OK * 2)
        assert (machine.losses, machine.counted) == ({"LOST_MEMORY": 1}, 1)


@pytest.mark.parametrize(
    ("asked", "packet"), [(0, _ASK), (1, _PUT)], ids=["the first", "not the first"]
)
def test_bytes_that_are_not_handed_over(machine: Machine, asked: int, packet: bytes) -> None:
    """A packet whose bytes the kernel keeps to itself is a loss by that name."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        for _ in range(asked):
            tcp.arrive(tcp.received, _ASK)
            tcp.leave(tcp.sent, _OK)
        with machine.failing("bpf_skb_load_bytes"):
            tcp.arrive(tcp.received, packet)
        assert machine.losses == {"LOST_LOAD": 1}
        assert machine.counted == asked


@pytest.mark.parametrize(
    ("helper", "lost"), [("nx_update", "LOST_EARLY"), ("bpf_skb_load_bytes", "LOST_LOAD")]
)
def test_first_data_at_a_listener_that_is_not_kept(
    machine: Machine, helper: str, lost: str
) -> None:
    """First data that finds no place, or cannot be read, is a loss; its connection's next request is counted."""
    with machine.failing(helper):
        early(machine, WAYS["v4"], 1000, _ASK, now=machine.now)
    assert machine.losses == {lost: 1}
    with machine.sock(WAYS["v4"]) as sock:
        tcp = Tcp(sock)
        tcp.received = len(_ASK)
        tcp.leave(0, _OK)
        tcp.arrive(tcp.received, _ASK)
        tcp.leave(tcp.sent, _OK)
    assert (machine.losses, machine.counted) == ({lost: 1}, 1)


_NEST = 4  # AX_NEST


def test_a_run_too_deep_is_a_loss(machine: Machine) -> None:
    """Of runs that interrupt one another four have a work area; the fifth's packet is lost, and nothing else."""
    ways = [Ends(mapped("10.0.0.1"), mapped("10.0.0.2"), 8080, 40000 + i) for i in range(_NEST + 1)]
    socks = [machine.sock(way) for way in ways]
    tcps = [Tcp(sock) for sock in socks]

    def nest(depth: int) -> None:
        if depth < _NEST:
            with machine.beside(10, lambda: nest(depth + 1), cpu=0):
                tcps[depth].arrive(0, _ASK)
        else:
            tcps[depth].arrive(0, _ASK)

    nest(0)
    assert machine.losses == {"LOST_NESTED": 1}
    assert machine.stats["INFO_NEST"] == _NEST - 1
    for tcp in tcps:
        tcp.leave(0, _OK)
    assert machine.counted == _NEST
    for sock in socks:
        sock.close()


def test_a_work_area_that_another_run_has_taken(machine: Machine) -> None:
    """A run whose area another has written over, as a task that preempts it may, gives its connection up."""
    owner = c_uint64.from_address(machine.map("ax_work").contents.data)

    def overwrite() -> None:
        assert owner.value
        owner.value += 1

    with machine.sock() as sock:
        tcp = Tcp(sock)
        with machine.beside(10, overwrite):
            tcp.arrive(0, _ASK)
        assert (sock.kind, machine.losses) == ("BROKEN", {"LOST_NESTED": 1})
        tcp.leave(0, _OK)
        assert machine.counted == 0
