"""A path between two places that loses, delays, doubles and forges packets as a test says.

Each end is a TUN device; a thread carries packets between them, one by one, through the test's rule.
This stands in for netem, which not every kernel has (those of the matrix do: tests/kernels/inside/netem.py), and it can
do what netem cannot: decide by content, and send packets of its own.
"""

from __future__ import annotations

import heapq
import os
import random
import threading
import time
from collections.abc import Callable, Iterable
from itertools import count

from tests.live.kit.packet import Packet
from tests.live.kit.waiting import readable
from tests.live.kit.world import Place, ip

Rule = Callable[[Packet], Iterable["bytes | tuple[float, bytes]"]]
"""What is sent on in place of a packet: packets, or packets and by how many seconds later."""


def forward(packet: Packet) -> list[bytes]:
    """Send a packet on as it is: the rule of a good path."""
    return [packet.raw()]


class Relay:
    """The path from a client's place to a server's."""

    def __init__(self, server: Place, client: Place) -> None:
        self.address = "10.78.0.1"
        self._rule: Rule = forward
        self._from: dict[tuple[bool, int, int], int] = {}
        self.seen: list[Packet] = []
        """Every segment with data that came by, whatever became of it."""
        self._fds = {True: server.tun("relay"), False: client.tun("relay")}
        for place, mine, theirs in ((server, 1, 2), (client, 2, 1)):
            ends = (f"10.78.0.{mine}", "peer", f"10.78.0.{theirs}")
            ip("-n", place.name, "addr", "add", *ends, "dev", "relay")
            ip("-n", place.name, "link", "set", "relay", "up")
            # so many segments may be under way at once
            to = ("-n", place.name, "route", "change", f"10.78.0.{theirs}", "dev", "relay")
            ip(*to, "src", f"10.78.0.{mine}", "initcwnd", "60")
        self._stop, self._stopped = os.pipe()
        self._waiting: list[tuple[float, int, bytes, bool]] = []
        self._order = count()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    @property
    def rule(self) -> Rule:
        """What becomes of each packet; data that had come by when it was set passes.

        A slow machine's TCP sends again what waits for its process: no rule is meant for that.
        """
        return self._rule

    @rule.setter
    def rule(self, rule: Rule) -> None:
        ends: dict[tuple[bool, int, int], int] = {}
        for packet in list(self.seen):
            stream, end = packet.stream, packet.seq + len(packet.data)
            if stream not in ends or _is_ahead(end, ends[stream]):
                ends[stream] = end
        self._from = ends
        self._rule = rule

    def send(self, raw: bytes, *, to_server: bool) -> None:
        """Send a packet out of this end at once."""
        os.write(self._fds[to_server], raw)

    def close(self) -> None:
        """End the path."""
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
        for fd in self._fds.values():
            os.close(fd)
        if self._problem is not None:
            raise self._problem

    def _carry(self) -> None:
        try:
            while self._step():
                pass
        except BaseException as e:  # noqa: BLE001 - told when the path is closed
            self._problem = e

    def _step(self) -> bool:
        wait = None
        if self._waiting:
            wait = max(0.0, self._waiting[0][0] - time.monotonic())
        ready = readable([self._stop, *self._fds.values()], wait)
        if self._stop in ready:
            return False
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, _, raw, to_server = heapq.heappop(self._waiting)
            self.send(raw, to_server=to_server)
        for to_server, fd in self._fds.items():
            if fd in ready:
                self._pass(os.read(fd, 65536), to_server=not to_server)
        return True

    def _pass(self, raw: bytes, *, to_server: bool) -> None:
        packet = Packet.parse(raw, to_server=to_server)
        if packet is None:
            return
        if packet.data:
            self.seen.append(packet)
        for each in (forward if self._is_old(packet) else self._rule)(packet):
            if isinstance(each, bytes):
                self.send(each, to_server=to_server)
            else:
                due = time.monotonic() + each[0]
                heapq.heappush(self._waiting, (due, next(self._order), each[1], to_server))

    def _is_old(self, packet: Packet) -> bool:
        begin = self._from.get(packet.stream)
        if begin is None or not packet.data:
            return False
        return not _is_ahead(packet.seq + len(packet.data), begin)


def _is_ahead(seq: int, other: int) -> bool:
    """Compare sequence numbers, modulo 2^32 (RFC 9293 section 3.4)."""
    return 0 < (seq - other) % 2**32 < 2**31


class Chaos:
    """The rule of a bad path. What happens to a packet is drawn from the seed."""

    def __init__(
        self, seed: int, *, loss: float, double: float, delay: float, damage: float
    ) -> None:
        self._draw = random.Random(seed).random
        self._loss, self._double, self._delay, self._damage = loss, double, delay, damage
        self.done = {"lost": 0, "doubled": 0, "delayed": 0, "damaged": 0}

    def __call__(self, packet: Packet) -> Iterable[bytes | tuple[float, bytes]]:
        """Decide about one packet."""
        raw = packet.raw()
        if self._draw() < self._loss:
            self.done["lost"] += 1
            return
        if packet.data and self._draw() < self._damage:
            self.done["damaged"] += 1
            other = bytes(b ^ 1 for b in packet.data)
            yield packet.change(data=other).raw(damaged=True)
            return
        if self._draw() < self._double:
            self.done["doubled"] += 1
            yield (0.001, raw)
        if self._draw() < self._delay:
            self.done["delayed"] += 1
            yield (self._draw() * 0.01, raw)
        else:
            yield raw
