"""What TCP throws away because its server has the socket, and too much waits for that, lets nothing by in its place."""

from __future__ import annotations

import pytest

from tests.live.kit.gate import Guarded
from tests.live.kit.held import held_in_read
from tests.live.kit.wire import receive
from tests.live.kit.world import World
from tests.live.policy.test_attacks import BAD, GOOD, OTHER, SIZE, Make, expect_unread, make

__all__ = ["make"]

_MOST = 5_000


def _dropped(world: World) -> int:
    """Return how many segments TCP has thrown away for a full backlog."""
    return world.server.extended_counter("TCPBacklogDrop")


@pytest.mark.parametrize("queued", [False, True])
def test_full(world: World, make: Make, gate: Guarded, queued: bool) -> None:
    """Other bytes do not get by in the place of a request that the backlog had no room for."""
    raw, server = make(stamps=True)
    raw.send(GOOD)
    before = _dropped(world)
    with held_in_read(server):
        # Of one segment after another, each with a stamp of its own, or they would be joined.
        for _ in range(_MOST):
            raw.stamp += 1
            raw.send(GOOD)
            if _dropped(world) > before:
                break
        else:
            pytest.fail("the backlog has room for everything")
        raw.stamp += 1
        raw.send(GOOD, at=SIZE)
        assert _dropped(world) == before + 2
    assert receive(server, SIZE - 1) == GOOD[1:]
    if queued:
        raw.send(OTHER, at=2 * SIZE)
    denials = gate.denials()
    raw.send(BAD, at=SIZE)
    expect_unread(server)
    gate.expect_denials(denials, RESENT=1)
