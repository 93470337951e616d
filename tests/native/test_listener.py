"""First data that meets a listener, because the connection does not exist yet: its child adopts it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.native import messages
from tests.native.machine import LISTEN, V4, V6, Ends, Machine, mapped
from tests.native.messages import Request, Response
from tests.native.scale import examples
from tests.native.talk import SERVER, Talk, check_counts, check_flows
from tests.native.tcp import Tcp

_SIX = bytes.fromhex("20010db8000000000000000000000001")
_OTHER = bytes.fromhex("20010db8000000000000000000000002")
WAYS = {
    "v4": Ends(mapped("10.0.0.1"), mapped("10.0.0.2"), 8080, 40000, V4),
    "v6": Ends(_SIX, _OTHER, 8080, 40000, V6, packets_v4=False),
    "mapped": Ends(mapped("10.0.0.1"), mapped("10.0.0.2"), 8080, 40000, V6),
}


def early(machine: Machine, ends: Ends, at: int, data: bytes, *, now: int) -> None:
    """Let a listener's hook see a segment of a connection that it has not accepted yet."""
    anyone = Ends(bytes(16), bytes(16), ends.lport, 0, ends.family)
    with machine.sock(anyone, LISTEN) as listener:
        listener.packet(0, at, data, ends=ends, now=now)


@pytest.mark.parametrize("way", WAYS)
def test_the_child_adopts_what_its_listener_was_sent(machine: Machine, way: str) -> None:
    """A request that the listener was sent begins when it came, and is answered by the child."""
    machine.observe_all()
    request, response = b"GET /deferred HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"
    early(machine, WAYS[way], 1000, request, now=machine.now)
    start = machine.now
    machine.now += 5_000
    with machine.sock(WAYS[way]) as child:
        tcp = Tcp(child)
        tcp.received = len(request)
        tcp.leave(0, response)
        (flow,) = machine.flows()
        assert (flow["start"], flow["duration"], flow["status"]) == (start, 5_000, 204)
        assert machine.route(flow["route"]) == b"/deferred"
        assert bytes(flow["raddr"]) == WAYS[way].remote
    assert machine.stats["INFO_EARLY_DATA"] == 1
    assert machine.losses == {}


@examples(120)
@given(
    exchanges=messages.conversations(4),
    way=st.sampled_from(list(WAYS)),
    share=st.floats(0, 1),
    pieces=st.integers(1, 6),
    again=st.booleans(),
    window=st.sampled_from([1, 4]),
    seq=st.sampled_from([0, 1000, 0xFFFFFFF0]),
    seed=st.integers(0, 2**32),
)
def test_any_part_of_a_conversation_may_begin_at_the_listener(
    machine: Machine,
    exchanges: list[tuple[Request, Response]],
    way: str,
    share: float,
    pieces: int,
    again: bool,
    window: int,
    seq: int,
    seed: int,
) -> None:
    """However much of the requests the listener was sent, in whatever pieces, all is counted exactly."""
    machine.reset()
    machine.observe_all()
    rnd = Random(seed)
    ends = WAYS[way]
    with machine.sock(ends) as child:
        talk = Talk(Tcp(child, in_at=seq), SERVER, exchanges, rnd, cut="mixed", window=window)
        talk.begin_at_listener(
            lambda at, data: early(machine, ends, seq + at & 0xFFFFFFFF, data, now=machine.now),
            share,
            pieces,
            again=again,
        )
        talk.run()
        talk.close()
        assert machine.losses == {}
        check_counts(machine, SERVER, talk.expected)
        check_flows(machine, SERVER, talk.expected)


def test_one_listener_keeps_connections_apart(machine: Machine) -> None:
    """Data of connections that wait together is adopted by the one that it belongs to."""
    ways = [
        Ends(mapped("10.0.0.1"), mapped("10.0.0.2"), 8080, port) for port in range(40000, 40020)
    ]
    for i, ends in enumerate(ways):
        early(machine, ends, 1000, b"GET /path%c HTTP/1.1\r\n\r\n" % (97 + i), now=machine.now)
    for ends in reversed(ways):
        with machine.sock(ends) as child:
            tcp = Tcp(child)
            tcp.received = 23
            tcp.leave(0, b"HTTP/1.1 204 No Content\r\n\r\n")
    routes = [machine.route(key["route"]) for key, _ in machine.series()]
    assert sorted(routes) == [b"/path%c" % (97 + i) for i in range(20)]
    assert machine.losses == {}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", ["arrives", "leaves"])
def test_a_handshake_that_met_the_listener_is_known_for_one(
    machine: Machine, way: str, first: str
) -> None:
    """A connection whose first data, at the listener, begins TLS is counted as TLS, whatever its child sees first."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2
    early(machine, WAYS[way], 1000, hello, now=machine.now)
    with machine.sock(WAYS[way]) as child:
        tcp = Tcp(child)
        tcp.received = len(hello)
        if first == "leaves":
            tcp.leave(0, b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03")
        tcp.arrive(tcp.received, b"\x14\x03\x03\x00\x01\x01")
        tcp.leave(tcp.sent, b"\x17\x03\x03\x00\x10")
        assert child.kind == "TLS"
    assert machine.stats["CONN_TLS"] == 1
    assert "CONN_OTHER" not in machine.stats
    assert machine.losses == {}
