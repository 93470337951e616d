"""Slots change hands: what a connection remembers of its series must not outlive it."""

from __future__ import annotations

from tests.native.machine import Machine
from tests.native.tcp import Tcp

_ASK = b"GET /all HTTP/1.1\r\n\r\n"
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


def test_a_series_that_was_retired_is_looked_up_again(machine: Machine) -> None:
    """A connection whose slot was taken back counts under a slot of its series' own, and that is counted."""
    with machine.sock() as sock:
        tcp = Tcp(sock)
        for i in range(3):
            tcp.arrive(i * len(_ASK), _ASK)
            tcp.leave(i * len(_ANSWER), _ANSWER)
            if i == 1:
                ((key, _),) = machine.series()
                machine.delete("ax_series", key.tobytes())
                machine.array("ax_slots", "ax_slot")["gen"] += 1
        assert machine.stats["INFO_STALE_SLOT"] == 1
        assert [int(cell["hist"].sum()) for _, cell in machine.series()] == [2, 1]
