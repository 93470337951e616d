"""What the gate makes of a checksum that a device may still have to complete."""

from __future__ import annotations

import struct

from tests.live.kit.gate import Guarded, expect_403, expect_nothing
from tests.live.kit.packet import Packet, checksum
from tests.live.kit.relay import Relay
from tests.live.kit.wire import Listener, get

_FULL = 0xFFFF


def looking_unfinished(packet: Packet) -> Packet:
    """Return a packet with another window: its checksum is right, and the pseudo-header's sum, which
    is what stands there while a checksum is left to the device.
    """
    plain = packet.change(window=0)
    raw = plain.raw()
    (check,) = struct.unpack_from("!H", raw, 36)
    pseudo = packet.source + packet.target + struct.pack("!BBH", 0, 6, len(raw) - 20)
    summed = _FULL ^ checksum(pseudo)
    made = plain.change(window=(check - summed) % _FULL)
    assert struct.unpack_from("!H", made.raw(), 36) == (summed,)
    return made


def test_a_checksum_that_looks_unfinished(gate: Guarded, relay: Relay, far: Listener) -> None:
    """A denied request whose full checksum is the pseudo-header's sum by chance is answered as others are."""
    gate.allow(far.port, "{method: [GET], path: /pub/*}")
    wire = far.connect()
    wire.exchange(get("/pub/a"))
    relay.rule = lambda p: [(looking_unfinished(p) if p.data and p.to_server else p).raw()]
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)
