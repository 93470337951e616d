"""A kernel made of arrays: it keeps series as bpf/series.h does, in one thread."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.kernel import load_abi

ABI = load_abi()
KEY, CELL, SLOT = ABI.key, ABI.cell, ABI.slot
SECOND = 1_000_000_000


@dataclass
class Socket:
    """What a connection remembers of its last request's series."""

    key: bytes = b""
    slot: int = 0
    gen: int = 0


class FakeKernel:
    """Slots, cells, the series table and the stack of free slots; time goes when it is told to."""

    def __init__(self, max_series: int = 64, shards: int = 2, max_routes: int = 1000) -> None:
        self.abi = ABI
        self.max_series = max_series
        self.shards = shards
        self.now = 1000 * SECOND
        self.ctl = np.zeros(1, ABI.ctl)
        self.ctl["secret"] = 7
        self.table = np.zeros(max_series, SLOT)
        self.memory = [np.zeros(max_series, CELL) for _ in range(shards)]
        self.series: dict[bytes, tuple[int, int]] = {}
        self.free = deque(range(max_series - 1, 1, -1))
        self.other = 0
        self.max_routes = max_routes
        self.seen: set[bytes] = set()
        self.workloads: dict[bytes, int] = {}
        self.used = 2
        for role in (0, 1):
            self.table[role]["key"]["role"] = role
            self.table[role]["created"] = self.now

    def clock(self) -> int:
        """Return the time in ns."""
        return self.now

    def slots(self, n: int, /) -> NDArray[Any]:
        """Return the first n slots."""
        return self.table[:n]

    def cells(self, n: int, first: int, /) -> list[NDArray[Any]]:
        """Return n cells of each shard."""
        return [shard[first : first + n] for shard in self.memory]

    def used_slots(self) -> int:
        """Return the end of what was ever used."""
        return self.used

    def stats(self) -> NDArray[np.uint64]:
        """Return no counts."""
        return np.zeros(64, np.uint64)

    def delete_series(self, keys: NDArray[Any], /) -> None:
        """Take keys out of the series table."""
        for key in keys:
            self.series.pop(key.tobytes(), None)

    def push_free(self, slots: NDArray[Any], /) -> None:
        """Push on the stack of free slots, which must not hold them already."""
        for slot in slots.tolist():
            assert slot not in self.free
            assert slot not in {s for s, _ in self.series.values()}
            assert self.table[slot]["created"] == 0
            assert not any(shard[slot].tobytes().strip(b"\0") for shard in self.memory)
            self.free.append(slot)

    def admitted(self) -> NDArray[Any]:
        """Return the routes that were let in."""
        return np.frombuffer(b"".join(sorted(self.seen)), ABI.wl_seen)

    def withdraw(self, gone: NDArray[Any], owners: NDArray[Any], left: NDArray[Any], /) -> None:
        """Forget some of them."""
        self.seen -= {row.tobytes() for row in gone}
        for owner, counts in zip(owners, left, strict=True):
            self.workloads[owner.tobytes()] = int(counts["routes"])

    def admit(self, key: NDArray[Any]) -> bool:
        """Say whether a route is told apart, as ax_admit does."""
        seen = np.zeros((), ABI.wl_seen)
        for name in ("cgroup", "comm", "port", "role"):
            seen["wl"][name] = key[name]
        seen["lo"] = key["route"]
        owner = seen["wl"].tobytes()
        if seen.tobytes() not in self.seen:
            if self.workloads.get(owner, 0) >= self.max_routes:
                return False
            self.seen.add(seen.tobytes())
            self.workloads[owner] = self.workloads.get(owner, 0) + 1
        return True

    def key(self, **fields: int) -> NDArray[Any]:
        """Return a series' key."""
        key = np.zeros((), KEY)
        for name, value in fields.items():
            key[name] = value
        return key

    def slot_of(self, key: NDArray[Any]) -> tuple[int, int]:
        """Find or take a series' slot, as ax_slot_of does."""
        if key["route"] > 1 and key.tobytes() not in self.series and not self.admit(key):
            key = key.copy()
            key["route"] = 0
        name = key.tobytes()
        if name not in self.series:
            if not self.free:
                self.other += 1
                return int(key["role"]), 0
            slot = self.free.pop()
            entry = self.table[slot]
            entry["key"] = key
            entry["created"] = self.now
            entry["pid"] = 4321
            self.series[name] = (slot, int(entry["gen"]))
            self.used = max(self.used, slot + 1)
        return self.series[name]

    def request(
        self,
        key: NDArray[Any],
        *,
        duration: int = 1_000_000,
        body: int = 0,
        times: int = 1,
        shard: int = 0,
        socket: Socket | None = None,
        answered: bool = True,
    ) -> None:
        """Count finished requests, as ax_account_body does."""
        socket = socket or Socket()
        if socket.key != key.tobytes() or self.table[socket.slot]["gen"] != socket.gen:
            socket.slot, socket.gen = self.slot_of(key)
            socket.key = key.tobytes() if socket.slot > 1 else b""
        cell = self.memory[shard % self.shards][socket.slot]
        before = int(cell["ttfb_sum"])
        self.add(cell, duration, body, times)
        if not answered:
            cell["ttfb_sum"] = before

    @staticmethod
    def add(cell: Any, duration: int, body: int = 0, times: int = 1) -> None:
        """Count requests in a cell, as ax_add does."""
        cell["hist"][bucket_of(duration)] += times
        cell["dur_sum"] += duration * times
        cell["ttfb_sum"] += duration // 2 * times
        cell["req_wire"] += 80 * times
        cell["resp_wire"] += (100 + body) * times
        if body:
            cell["resp_body"] += body * times
            cell["resp_size"][min(11, max(1, (body.bit_length() - 7) // 2))] += times


def bucket_of(duration: int) -> int:
    """Return the bucket of a duration in ns, by its definition in axon.h."""
    return int(np.clip(np.floor(8 * (np.log2(duration / 1e9) + 20)) + 1, 0, 215))


@dataclass
class Truth:
    """What was requested, counted beside the kernel."""

    kernel: FakeKernel
    by_role: list[int] = field(default_factory=lambda: [0, 0])
    duration: list[int] = field(default_factory=lambda: [0, 0])

    def request(self, key: NDArray[Any], *, duration: int = 1_000_000, **kw: Any) -> None:
        """Count requests here and there."""
        times = kw.get("times", 1)
        self.by_role[int(key["role"])] += times
        self.duration[int(key["role"])] += times * duration
        self.kernel.request(key, duration=duration, **kw)
