"""A socket's TCP as far as the machine can see it, and the accidents that happen to packets."""

from __future__ import annotations

from tests.native.machine import ACK, DAMAGED, EGRESS, INGRESS, Sock

_MASK = 0xFFFFFFFF


class Tcp:
    """Two streams through one socket. Offsets count from each stream's first byte.

    `in_at` and `out_at` are the sequence numbers of those bytes; `before` says how many bytes each way
    the connection had carried when the hooks were attached (the streams begin behind them).
    """

    def __init__(
        self, sock: Sock, *, in_at: int = 1000, out_at: int = 5000, before: tuple[int, int] = (0, 0)
    ) -> None:
        self.sock = sock
        self.in_at, self.out_at = in_at, out_at
        self.before = before
        self.attached = True  # whether the hooks are there yet
        self.received = 0  # offset of rcv_nxt
        self.sent = 0  # offset of snd_nxt
        self.acked = 0
        self._early: list[tuple[int, int]] = []
        self._backlog: list[tuple[int, int]] = []

    def arrive(
        self,
        at: int,
        data: bytes,
        *,
        flags: int = 0,
        fate: str = "taken",
        seen: bool = True,
        damaged: bool = False,
    ) -> None:
        """A segment comes in. What becomes of it behind the hook: "taken", "dropped", or it "waits".

        A segment waits while a process holds the socket: the hook has seen it, TCP has not.
        One that is not `seen` does not meet the hook; one that is `damaged` has a wrong checksum.
        """
        if seen:
            self._hook(INGRESS, self.in_at + at, data, flags | DAMAGED * damaged)
        if fate == "dropped":
            return
        self._backlog.append((at, at + len(data) + (flags & 1)))
        if fate == "taken":
            self.settle()

    def settle(self) -> None:
        """The process lets go of the socket: what waited is taken."""
        for start, end in self._backlog:
            self._early.append((start, end))
        self._backlog.clear()
        for start, end in sorted(self._early):
            if start <= self.received:
                self.received = max(self.received, end)
        self._early = [(start, end) for start, end in self._early if end > self.received]
        self.acked = self.sent
        # a hook may be under way on another core
        self.sock.machine.lib.nx_taken(
            self.sock.pointer, self.in_at + self.received & _MASK, self.before[0] + self.received
        )

    def leave(self, at: int, data: bytes, *, flags: int = 0) -> None:
        """A segment goes out, for the first time or again."""
        self._hook(EGRESS, self.out_at + at, data, flags)
        self.sent = max(self.sent, at + len(data) + (flags & 1))

    def _hook(self, direction: int, seq: int, data: bytes, flags: int) -> None:
        if not self.attached:
            return
        machine = self.sock.machine
        passed = machine.lib.nx_feed(
            self.sock.pointer,
            machine.now,
            direction,
            seq & _MASK,
            flags | ACK,
            data,
            len(data),
            self.in_at + self.received & _MASK,
            self.out_at + self.sent & _MASK,
            self.out_at + self.acked & _MASK,
            self.before[0] + self.received,
            self.before[1] + self.acked,
        )
        assert passed == 1, "the hooks let every packet pass"
