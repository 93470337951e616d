"""Data on a connection that the server's host does not know any more: its client reads a reset, as without policies."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from tests.live.kit.gate import End, Guarded, expect_nothing, rest
from tests.live.kit.packet import ACK, RST
from tests.live.kit.raw import Raw
from tests.live.kit.wire import Listener, Wire, get
from tests.live.kit.world import World
from tests.live.policy.test_attacks import Make, exchange, make

__all__ = ["make"]

PUBLIC = "{path: /pub/*}"
_TCP_REPAIR = 19


def forget(wire: Wire) -> None:
    """Take the server's end away without a word, as a host that is restarted does (tcp(7), TCP_REPAIR)."""
    wire.server.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    wire.server.close()


@pytest.mark.parametrize("path", ["/pub/a", "/secret"])
def test_a_server_that_was_restarted(gate: Guarded, anywhere: Listener, path: str) -> None:
    """Whatever a client sends to it, the client reads a reset at once, and the next connection is judged."""
    gate.allow(anywhere.port, PUBLIC)
    for _ in range(3):
        wire = anywhere.connect()
        wire.exchange(get("/pub/a"))
        forget(wire)
        wire.client.sendall(get(path))
        assert rest(wire.client, 5) == End(b"", "reset")
    wire = anywhere.connect()
    wire.exchange(get("/pub/a"))
    wire.client.sendall(get("/secret"))
    expect_nothing(wire.server)


@pytest.mark.parametrize("stamps", [False, True])
def test_one_reset_a_second(make: Make, world: World, gate: Guarded, *, stamps: bool) -> None:
    """It is where the client's acknowledgement is (RFC 9293 section 3.10.7.1); what comes behind it within the second
    is dropped, and nobody reads any of it.
    """
    raw, server = make()
    strays = gate.axon.kernel.gate._maps["ax_strays"]
    keys = np.arange(strays.entries, dtype=strays.key)
    strays.update_many(
        keys, np.zeros(strays.entries, strays.value)
    )  # nobody was told within this second
    other = Raw(world, raw.port, six=raw.six, stamps=stamps)
    other.ack = 12345
    before = gate.denials().get("UNJUDGED", 0)
    for _ in range(3):
        other.send(get("/pub/a"))
    answer = other.wait(lambda s: bool(s.flags & RST))
    assert (answer.seq, answer.flags & ACK) == (12345, 0)
    assert gate.denials().get("UNJUDGED", 0) == before + 3
    assert not other.all(0.3)
    other.close()
    listener = make.listener  # type: ignore[attr-defined]
    listener.socket.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.socket.accept()
    exchange(raw, server)
