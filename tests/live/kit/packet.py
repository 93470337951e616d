"""IPv4 packets that carry TCP: read, and written anew with something changed (RFC 791, RFC 9293)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Self

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
_TIMESTAMPS = 8  # kind of the option (RFC 7323)


@dataclass(frozen=True)
class Packet:
    """A segment in its packet. `to_server`: it travels in the direction of requests."""

    to_server: bool
    source: bytes
    target: bytes
    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    window: int
    options: bytes
    data: bytes

    @classmethod
    def parse(cls, raw: bytes, *, to_server: bool) -> Self | None:
        """Read a packet; None if it is no TCP over IPv4."""
        if len(raw) < 40 or raw[0] >> 4 != 4 or raw[9] != 6:
            return None
        tcp = raw[(raw[0] & 15) * 4 : struct.unpack_from("!H", raw, 2)[0]]
        sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", tcp)
        start = (offset >> 4) * 4
        ends = (raw[12:16], raw[16:20])
        return cls(
            to_server, *ends, sport, dport, seq, ack, flags, window, tcp[20:start], tcp[start:]
        )

    @property
    def stream(self) -> tuple[bool, int, int]:
        """Which of the streams of a path's connections it is part of: direction and ports."""
        return self.to_server, self.sport, self.dport

    def change(self, **fields: int | bytes) -> Packet:
        """Return this packet with some fields changed."""
        return replace(self, **fields)  # type: ignore[arg-type]

    def cut(self, at: int, to: int | None = None) -> Packet:
        """Return the segment of a stretch of this one's data."""
        return self.change(seq=(self.seq + at) % 2**32, data=self.data[at:to])

    def aged(self, ticks: int) -> Packet:
        """Return this packet with its time stamp so many ms older."""
        options = bytearray(self.options)
        at = 0
        while at < len(options) and options[at]:
            if options[at] == 1:
                at += 1
                continue
            if options[at] == _TIMESTAMPS:
                (stamp,) = struct.unpack_from("!I", options, at + 2)
                struct.pack_into("!I", options, at + 2, (stamp - ticks) % 2**32)
                return self.change(options=bytes(options))
            at += options[at + 1]
        raise ValueError("a packet without a time stamp")

    def raw(self, *, damaged: bool = False) -> bytes:
        """Return the packet's bytes; damaged: with a checksum that is wrong."""
        offset = 20 + len(self.options)
        fields = (self.sport, self.dport, self.seq, self.ack, offset // 4 << 4, self.flags)
        tcp = struct.pack("!HHIIBBHHH", *fields, self.window, 0, 0) + self.options + self.data
        pseudo = self.source + self.target + struct.pack("!BBH", 0, 6, len(tcp))
        check = checksum(pseudo + tcp) ^ (0x5A5A if damaged else 0)
        tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:]
        return ip_packet(self.source, self.target, tcp)


def ip_packet(
    source: bytes, target: bytes, payload: bytes, *, ident: int = 0, fragment: int = 0
) -> bytes:
    """Return an IPv4 packet, or a fragment: its offset in 8 bytes, and 0x2000 if more follow."""
    start = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, fragment, 64, 6, 0)
    check = struct.pack("!H", checksum(start + source + target))
    return start[:10] + check + source + target + payload


def fragments(packet: Packet, size: int) -> list[bytes]:
    """Return a packet in IP fragments of so many bytes, a multiple of 8."""
    tcp = packet.raw()[20:]
    pieces = []
    for at in range(0, len(tcp), size):
        more = 0x2000 if at + size < len(tcp) else 0
        piece = tcp[at : at + size]
        ends = (packet.source, packet.target)
        pieces.append(ip_packet(*ends, piece, ident=77, fragment=at // 8 | more))
    return pieces


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    if len(data) & 1:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
