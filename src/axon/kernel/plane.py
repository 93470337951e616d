"""An attached data plane: everything above the kernel sees of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from axon.arrays import among
from axon.errors import KernelError
from axon.kernel import bpf
from axon.kernel.abi import Abi
from axon.kernel.active import Active, ActiveReader
from axon.kernel.gate import Gate
from axon.kernel.lock import Lock
from axon.kernel.maps import Array, Map
from axon.kernel.pins import Pins
from axon.kernel.ring import FlowRing
from axon.kernel.system import wait_for_runs

_LEAST_MAPPED = 64
_HELD = 1 << 18
_OF_POLICIES = ("ax_pol_", "ax_gate", "ax_early", "ax_tomb", "ax_links")


@dataclass(frozen=True, slots=True)
class ProgStat:
    """What the kernel counts for a program. Runs and their time only while they are measured."""

    run_time_ns: int
    run_cnt: int
    verified_insns: int  # 0 where the kernel does not say (before 5.16)
    memlock: int  # bytes


@dataclass(frozen=True, slots=True)
class Footprint:
    """The most that the data plane takes of the kernel's memory, in bytes.

    `storages` is what each kind of state takes in every socket that has it: ax_conns in all that
    carry TCP, the others as they are needed. `socket` is a socket that has them all.
    """

    total: int
    socket: int
    maps: Mapping[str, int] = field(repr=False)
    storages: Mapping[str, int] = field(repr=False)

    @property
    def counting(self) -> int:
        """What of the total is not for policies, in bytes."""
        mine = sum(size for name, size in self.maps.items() if name.startswith(_OF_POLICIES))
        return self.total - mine


class Kernel:
    """The maps, programs and links of a data plane. Made by `attach`.

    Arrays that it hands out (`ctl`, `filters`, slots(), cells()) are views of the kernel's memory:
    programs change them at any time, and writing to them changes what programs do.
    """

    def __init__(
        self,
        *,
        abi: Abi,
        config: Any,
        maps: dict[str, Map],
        programs: dict[str, bpf.Fd],
        links: dict[str, bpf.Fd],
        active: ActiveReader | None,
        gate: Gate | None,
        inherited: bool,
        footprint: Footprint,
        pins: Pins,
        lock: Lock,
    ) -> None:
        self.abi = abi
        self.config = config
        self.inherited = inherited
        """Whether an earlier agent had left it attached."""
        self.max_series = int(config["max_series"])
        self.shards = int(config["shard_mask"]) + 1
        self.footprint = footprint
        self.bytes_total = footprint.total
        self.bytes_per_socket = footprint.socket
        self._maps = maps
        self._programs = programs
        self._links = links
        self._active = active
        self._gate = gate
        self._pins = pins
        self._lock = lock
        self.ctl = maps["ax_ctl"].mapped(0, 1)
        self.filters = maps["ax_filters"].mapped(0, maps["ax_filters"].entries)
        self._slots = maps["ax_slots"].mapped(0, self.max_series)
        self._cells: list[Array] = []
        self._most_held = min(self.max_series, _HELD // (abi.cell.itemsize * self.shards))
        self._used = 0
        self._ring: FlowRing | None = None
        self._timing: bpf.Fd | None = None

    @property
    def gate(self) -> Gate:
        """What judges requests in front of sockets; raise KernelError if the object has none."""
        if self._gate is None:
            raise KernelError(
                "The kernel programs cannot judge requests: they are of another version."
            )
        return self._gate

    @property
    def has_policies(self) -> bool:
        """Whether there are policies; in mode off they wait until it is another."""
        return self._gate is not None and self._gate.generation != 0

    @property
    def judges(self) -> bool:
        """Whether policies are in force."""
        return self._gate is not None and self._gate.in_force

    def slots(self, n: int) -> Array:
        """Return the first n slots, shape (n,) of ax_slot."""
        return self._slots[:n]

    def cells(self, n: int, first: int = 0) -> list[Array]:
        """Return n cells of each shard from `first` on, shape (n,) of ax_cell; the count is hist's sum.

        Mapped pages count as the agent's memory. So only a beginning of each shard stays mapped, as
        far as it has been asked for and up to _HELD in all; what lies behind is mapped anew by each
        call, for as long as the arrays live. Views handed out before stay valid.
        """
        table, end = self._maps["ax_cells"], first + n
        if end > self._most_held:
            return [table.mapped(s * self.max_series + first, n) for s in range(self.shards)]
        if not self._cells or end > len(self._cells[0]):
            room = min(self._most_held, max(_LEAST_MAPPED, 1 << max(end - 1, 0).bit_length()))
            self._cells = [table.mapped(s * self.max_series, room) for s in range(self.shards)]
        return [shard[first : first + n] for shard in self._cells]

    def used_slots(self) -> int:
        """Return the highest slot that was ever seen in use, and one more."""
        used = np.flatnonzero(self._slots["created"])
        if len(used):
            self._used = max(self._used, int(used[-1]) + 1)
        return self._used

    def stats(self) -> Array:
        """Return the counters of enum ax_stat summed over CPUs, u64 of shape (AX_STATS,)."""
        values = self._maps["ax_stats"].lookup(0)
        if values is None:
            raise AssertionError("an array has no missing entries")
        total: Array = values.sum(axis=0, dtype=np.uint64)
        return total

    def route_table(self) -> tuple[Array, Array]:
        """Return all known routes: ids (n,) of u64 and rows (n,) of ax_route."""
        return self._maps["ax_routes"].items()

    def routes(self) -> Iterator[tuple[int, bytes, Any]]:
        """Yield each known route's id, text and row."""
        ids, rows = self.route_table()
        for i in range(len(ids)):
            row = rows[i]
            yield int(ids[i]), row["text"][: int(row["len"])].tobytes(), row

    def lookup_routes(self, ids: Sequence[int]) -> dict[int, str]:
        """Return the texts of those ids that are known."""
        found = {}
        for route in ids:
            row = self._maps["ax_routes"].lookup(route)
            if row is not None:
                text = row["text"][: int(row["len"])].tobytes()
                found[route] = text.decode(errors="backslashreplace")
        return found

    def put_route(self, route: int, text: str, *, pattern: bool) -> None:
        """Name a route. Raise OSError with E2BIG when the table is full."""
        row = np.zeros((), self.abi.route)
        data = text.encode()[: row["text"].size]
        row["text"][: len(data)] = np.frombuffer(data, "u1")
        row["len"] = len(data)
        row["pattern"] = pattern
        row["created"] = bpf.monotonic_ns()
        self._maps["ax_routes"].update(route, row)

    def delete_route(self, route: int) -> None:
        """Forget a route's name."""
        self._maps["ax_routes"].delete(route)

    def delete_series(self, keys: Array) -> None:
        """Take series out of the table, so that their next request asks for a new slot."""
        self._maps["ax_series"].delete_many(keys)

    def push_free(self, slots: Array) -> None:
        """Offer slots for new series."""
        self._maps["ax_free"].push(slots)

    def admitted(self) -> Array:
        """Return which routes and peers of workloads were let in, ax_wl_seen (n,)."""
        return self._maps["ax_wl_seen"].keys()

    def withdraw(self, gone: Array, owners: Array, left: Array) -> None:
        """Forget routes and peers that were let in, and set how many their workloads have left.

        `owners` is ax_wl_key (m,), `left` ax_wl (m,); a workload with nothing left is forgotten.
        """
        self._maps["ax_wl_seen"].delete_many(gone)
        none = (left["routes"] == 0) & (left["peers"] == 0)
        self._maps["ax_wl"].delete_many(owners[none])
        self._maps["ax_wl"].update_many(owners[~none], left[~none])

    def write_rt(
        self, set_index: int, segs: Mapping[tuple[int, int], Array], rt_set: Array
    ) -> None:
        """Write a set of route patterns that is not in use.

        `segs` maps (segment hash, depth) to its bitmap of u64 words; `rt_set` is an ax_rt_set.
        """
        table = self._maps["ax_rt_seg"]
        keys = table.keys()
        table.delete_many(keys[keys["set"] == set_index])
        rows = np.zeros(len(segs), table.key)
        bits = np.zeros(len(segs), table.value)
        for i, ((digest, depth), words) in enumerate(segs.items()):
            rows[i] = (digest, depth, set_index)
            bits["word"][i] = words
        table.update_many(rows, bits)
        self._maps["ax_rt_set"].update(set_index, rt_set)

    def ask_cgroups(self, number: int, cgroups: Collection[int]) -> None:
        """Set which cgroups a filter is about (AX_FILTER_CGROUP); raise OSError if they do not fit.

        If it is about others already, programs may find some of both meanwhile.
        """
        table = self._maps["ax_sought"]
        keys = table.keys()
        mine = keys[keys["filter"] == number]
        table.delete_many(mine[~among(mine["cgroup"], list(cgroups))])
        coming = sorted(set(cgroups).difference(mine["cgroup"].tolist()))
        more = np.zeros(len(coming), table.key)
        more["cgroup"], more["filter"] = coming, number
        table.update_many(more, np.ones(len(more), table.value))

    def ring(self) -> FlowRing:
        """Return the reader of flow records."""
        if self._ring is None:
            self._ring = FlowRing(self._maps["ax_flows"], self.abi.flow)
        return self._ring

    def active(self) -> Active | None:
        """Return what is in flight and open, looked at within the last second; None if unknown.

        The kernel cannot tell before 5.11. Raises OSError when it cannot be read.
        """
        return self._active.read() if self._active else None

    def quiesce(self) -> None:
        """Wait until no program runs that was started before the call."""
        wait_for_runs()

    def measure_runs(self, *, on: bool) -> None:
        """Have the kernel time the programs, at a price of tens of ns a run, or end that."""
        if on and self._timing is None:
            self._timing = bpf.enable_stats()
        elif not on and self._timing is not None:
            self._timing.close()
            self._timing = None

    def program_stats(self) -> dict[str, ProgStat]:
        """Return what the kernel counts for each program, by the program's name."""
        return {name: _stat(fd) for name, fd in self._programs.items()}

    def links_alive(self) -> bool:
        """Return whether every hook is still attached with our program."""
        for name, link in self._links.items():
            try:
                info = bpf.link_info(link)
            except OSError:
                return False
            if not info.cgroup_id or info.prog_id != bpf.prog_info(self._programs[name]).id:
                return False
        return True

    def close(self, *, detach: bool) -> None:
        """Let go of the data plane; with `detach` remove it, without it keeps counting."""
        self.measure_runs(on=False)
        self._ring = None
        if self._active:
            self._active.close()
        if detach:
            if self._gate:
                self._gate.detach()
            self._pins.remove_all()
        for fd in [*self._links.values(), *self._programs.values()]:
            fd.close()
        for item in self._maps.values():
            item.close()
        with suppress(OSError):
            self._lock.release()


def _stat(fd: bpf.Fd) -> ProgStat:
    info = bpf.prog_info(fd)
    return ProgStat(
        info.run_time_ns, info.run_cnt, info.verified_insns, bpf.fd_info(fd).get("memlock", 0)
    )
