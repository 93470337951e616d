"""A client without a TCP of its own: each of its segments is written by the test, down to the frame.

It sends from an address of the cable's network that nobody has, so that no kernel answers for it.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Self

from tests.live.kit.packet import ACK, PSH, RST, SYN, checksum
from tests.live.kit.world import Place, World, ip

MSS = bytes.fromhex("020405b4")
_CABLE = "cable1"


@dataclass(frozen=True)
class Segment:
    """What came back."""

    seq: int
    ack: int
    flags: int
    options: bytes
    data: bytes

    @classmethod
    def parse(cls, tcp: bytes) -> Self:
        """Read a TCP header and what follows it."""
        _, _, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", tcp)
        start = (offset >> 4) * 4
        return cls(seq, ack, flags, tcp[20:start], tcp[start:])

    @property
    def stamps(self) -> tuple[int, ...]:
        """The sender's time stamp and the one that it echoes, where there are any."""
        at = self.options.find(b"\x08\x0a")
        return struct.unpack_from("!II", self.options, at + 2) if at >= 0 else ()


class Raw:
    """One connection of such a client."""

    def __init__(
        self,
        world: World,
        port: int,
        *,
        six: bool = False,
        isn: int | None = None,
        stamps: bool = False,
    ) -> None:
        server, client = world.server, world.client
        self.six = six
        self.port = port
        self.sport = random.randrange(30_000, 60_000)
        self.seq = random.getrandbits(32) if isn is None else isn
        self.ack = 0
        self._stamps = stamps
        self.stamp = 1_000_000
        self._echo = 0
        self.seen: list[Segment] = []
        family = socket.AF_INET6 if six else socket.AF_INET
        mine, theirs = ("fd77:1::99", server.ip6) if six else ("10.77.1.99", server.ip4)
        self._source = socket.inet_pton(family, mine)
        self._target = socket.inet_pton(family, theirs)
        macs = [_mac(place) for place in (client, server)]
        self._ethernet = macs[1] + macs[0] + (b"\x86\xdd" if six else b"\x08\x00")
        _introduce(server, mine, macs[0])
        self._socket = client.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind((_CABLE, 3))

    def connect(self, options: bytes = MSS, *, last: bool = True) -> Self:
        """Shake hands; `last`: with the acknowledgement that ends it."""
        if self._stamps:
            options += struct.pack("!BBBBII", 1, 1, 8, 10, self.stamp, 0)
        self.send(flags=SYN, seq=self.seq, options=options)
        got = self.wait(lambda s: bool(s.flags & SYN))
        self.seq = (self.seq + 1) % 2**32
        self.ack = (got.seq + 1) % 2**32
        if last:
            self.send(flags=ACK)
        return self

    def tcp(
        self,
        data: bytes = b"",
        *,
        at: int = 0,
        seq: int | None = None,
        ack: int | None = None,
        flags: int = ACK | PSH,
        options: bytes | None = None,
        age: int = 0,
        damaged: bool = False,
        urgent: int = 0,
    ) -> bytes:
        """Return a segment: `at` bytes behind what has been acknowledged, or at `seq`."""
        if seq is None:
            seq = (self.seq + at) % 2**32
        if options is None:
            options = b""
            if self._stamps:
                options = struct.pack("!BBBBII", 1, 1, 8, 10, self.stamp - age, self._echo)
        if ack is None:
            ack = self.ack
        offset = (20 + len(options)) // 4 << 4
        start = struct.pack("!HHIIBB", self.sport, self.port, seq, ack, offset, flags)
        tcp = start + struct.pack("!HHH", 0xFFFF, 0, urgent) + options + data
        pseudo = self._source + self._target + struct.pack("!II", len(tcp), 6)
        check = checksum(pseudo + tcp) ^ (0x5A5A if damaged else 0)
        return tcp[:16] + struct.pack("!H", check) + tcp[18:]

    def frame(
        self, payload: bytes, *, extension: bytes = b"", kind: int = 6, fragment: int = 0
    ) -> bytes:
        """Return a frame with an IP packet. `extension`: IPv6 headers or IPv4 options."""
        if self.six:
            body = extension + payload
            start = struct.pack("!IHBB", 0x60000000, len(body), kind, 64)
            return self._ethernet + start + self._source + self._target + body
        words = (20 + len(extension)) // 4
        total = words * 4 + len(payload)
        start = struct.pack("!BBHHHBBH", 0x40 | words, 0, total, 77, fragment, 64, 6, 0)
        whole = start + self._source + self._target + extension
        whole = whole[:10] + struct.pack("!H", checksum(whole)) + whole[12:]
        return self._ethernet + whole + payload

    def put(self, frame: bytes) -> None:
        """Send a frame."""
        self._socket.send(frame)

    def send(self, data: bytes = b"", **how: object) -> None:
        """Send a segment, see `tcp`."""
        self.put(self.frame(self.tcp(data, **how)))  # type: ignore[arg-type]

    def fragments(self, segment: bytes, size: int) -> list[bytes]:
        """Return a segment in frames with IP fragments of so many bytes, a multiple of 8."""
        frames = []
        for at in range(0, len(segment), size):
            piece = segment[at : at + size]
            more = at + size < len(segment)
            if self.six:
                header = struct.pack("!BBHI", 6, 0, at | more, 77)
                frames.append(self.frame(piece, extension=header, kind=44))
            else:
                frames.append(self.frame(piece, fragment=at // 8 | more << 13))
        return frames

    def wait(self, good: object, seconds: float = 3.0) -> Segment:
        """Return the next segment that is good; raise TimeoutError."""
        assert callable(good)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            raw = self._socket.recv(1 << 17)
            tcp = self._mine(raw)
            if tcp is None:
                continue
            segment = Segment.parse(tcp)
            self.seen.append(segment)
            self._note(segment)
            if good(segment):
                return segment
        raise TimeoutError("nothing good came")

    def all(self, seconds: float = 0.3) -> list[Segment]:
        """Return what comes in a while."""
        before = len(self.seen)
        with suppress(TimeoutError):
            self.wait(lambda _: False, seconds)
        return self.seen[before:]

    def close(self) -> None:
        """Send a reset, and end."""
        self.send(flags=RST)
        self._socket.close()

    def _note(self, segment: Segment) -> None:
        if self._stamps and segment.stamps:
            self._echo = segment.stamps[0]

    def _mine(self, raw: bytes) -> bytes | None:
        """Return the TCP part of a frame, if it is for this connection."""
        if raw[:6] == self._ethernet[:6] or raw[12:14] != self._ethernet[12:]:
            return None
        packet = raw[14:]
        if self.six:
            end, start, kind, target = (
                40 + int.from_bytes(packet[4:6]),
                40,
                packet[6],
                packet[24:40],
            )
        else:
            end, start = int.from_bytes(packet[2:4]), (packet[0] & 15) * 4
            kind, target = packet[9], packet[16:20]
        tcp = packet[start:end]
        if kind != 6 or target != self._source:
            return None
        return tcp if struct.unpack_from("!HH", tcp) == (self.port, self.sport) else None


@cache
def _introduce(place: Place, address: str, mac: bytes) -> None:
    """Let a place know for good who has an address: nobody answers for it."""
    to = ("lladdr", mac.hex(":"), "dev", _CABLE)
    ip("-n", place.name, "neigh", "replace", address, *to)


@cache
def _mac(place: Place) -> bytes:
    shown = json.loads(place.run("ip", "-j", "link", "show", _CABLE))
    return bytes.fromhex(shown[0]["address"].replace(":", ""))
