"""Whole conversations, cut anywhere: what is counted is what was said."""

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

_SEQ = st.sampled_from([0, 1000, 0x7FFFFFF0, 0xFFFFFF00, 0xFFFFFFFF])
_ROLES = st.sampled_from([SERVER, CLIENT])


@examples(400)
@given(
    exchanges=messages.conversations(),
    role=_ROLES,
    cut=st.sampled_from(["message", "random", "mixed", "all", "mtu", "byte"]),
    window=st.sampled_from([1, 1, 2, 32]),
    early=st.booleans(),
    observed=st.booleans(),
    seqs=st.tuples(_SEQ, _SEQ),
    seed=st.integers(0, 2**32),
)
def test_every_exchange_is_counted_as_it_was(
    machine: Machine,
    exchanges: list[tuple[Request, Response]],
    role: int,
    cut: str,
    window: int,
    early: bool,
    observed: bool,
    seqs: tuple[int, int],
    seed: int,
) -> None:
    """Method, route, status, sizes, times and pairing are exact however the streams are cut."""
    machine.reset()
    if observed:
        machine.observe_all()
    if sum(len(a.raw) + len(b.raw) for a, b in exchanges) > 20_000 and cut == "byte":
        cut = "mixed"
    with machine.sock() as sock:
        tcp = Tcp(sock, in_at=seqs[0], out_at=seqs[1])
        talk = Talk(tcp, role, exchanges, Random(seed), cut=cut, window=window, early=early)
        talk.run()
        talk.close()
        assert machine.losses == {}
        check_counts(machine, role, talk.expected)
        if observed:
            check_flows(machine, role, talk.expected)
        assert sock.kind == ("UPGRADED" if exchanges[-1][1].leaves else "HTTP")
        assert machine.idle
