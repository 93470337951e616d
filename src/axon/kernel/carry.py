"""The counts of a data plane that was replaced, added to those of its successor.

The successor is counting already, so nothing may be added by writing to its memory: a program that
the kernel runs for us adds atomically, as the hooks do. What has been added is zeroed in the old
maps at once, so that a carry that was cut short goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from axon.kernel import bpf
from axon.kernel.convert import converted
from axon.kernel.gate import names_in
from axon.kernel.insn import (
    FP,
    MAP_LOOKUP,
    R0,
    R1,
    R2,
    R6,
    R7,
    add,
    atomic_add64,
    call,
    copy,
    leave,
    load32,
    load64,
    load_map,
    mov,
    skip_unless_zero,
    store32,
    store32_value,
)
from axon.kernel.maps import Array, Map

_CHUNK = 512
_ROLES = "ax_role"


class Adder:
    """Adds to entries of an array of u64 counters while programs do the same."""

    def __init__(self, target: Map) -> None:
        words = target.value.itemsize // 8
        row = np.dtype([("index", "u4"), ("pad", "u4"), ("words", "u8", (words,))])
        scratch = bpf.map_create(bpf.MAP_ARRAY, "ax_add", 4, row.itemsize, 1)
        self._row = Map(scratch, np.dtype("u4"), row)
        self._value = np.zeros(1, row)
        self._program = bpf.prog_load(
            bpf.PROG_SOCKET_FILTER, "ax_add", _program(self._row.fd, target.fd, words)
        )

    def add(self, index: int, counters: Array) -> None:
        """Add one record of counters to the entry at `index`."""
        self._value["index"] = index
        self._value["words"] = np.ascontiguousarray(counters).view("u8").reshape(1, -1)
        self._row.update(0, self._value)
        if not bpf.test_run(self._program):
            raise IndexError(index)

    def close(self) -> None:
        """Unload the program."""
        self._program.close()
        self._row.close()


def carry(old: Mapping[str, Map], new: Mapping[str, Map]) -> int:
    """Add the counts of `old`, whose programs no longer run, to `new`; return how many series.

    Both come with their types, so neither need be of the layout that this Axon knows.
    """
    count = 0
    if _replaced("ax_cells", old, new):
        reserved = len(_enum(new["ax_slots"], _ROLES))  # the series of "other", by role
        adder = Adder(new["ax_cells"])
        slots = new["ax_slots"].mapped(0, new["ax_slots"].entries)
        for index, key, created, cell in _old_series(old, new):
            slot = index if index < reserved else _slot_of(new, slots, key, created)
            adder.add(slot, cell)
            count += 1
        adder.close()
    if _replaced("ax_stats", old, new):
        _carry_enum(old["ax_stats"], new["ax_stats"], "ax_stat")
    if _replaced("ax_pol_denies", old, new):
        _carry_enum(old["ax_pol_denies"], new["ax_pol_denies"], "ax_deny")
    if _replaced("ax_pol_counts", old, new):
        _carry_verdicts(old, new)
    return count


def _replaced(name: str, old: Mapping[str, Map], new: Mapping[str, Map]) -> bool:
    return name in old and name in new and new[name].info.id != old[name].info.id


def _enum(described: Map, name: str) -> dict[str, int]:
    if described.types is None:
        raise KeyError(f"the types of {described.name}")
    return described.types.enum(name)


def _old_series(
    old: Mapping[str, Map], new: Mapping[str, Map]
) -> Iterator[tuple[int, Any, int, Any]]:
    """Yield each old series that counted something: its slot; key, time and cell as new ones.

    The old cells are zeroed when the consumer asks for the next one.
    """
    key, cell = new["ax_slots"].value["key"], new["ax_cells"].value
    series, cells = old["ax_slots"].entries, old["ax_cells"]
    slots = old["ax_slots"].mapped(0, series)
    for first in range(0, series, _CHUNK):
        here = slots[first : first + _CHUNK]
        if not here["created"].any():
            continue
        shards = [
            cells.mapped(shard * series + first, len(here))
            for shard in range(cells.entries // series)
        ]
        total = np.zeros(len(here), cell)
        for shard in shards:
            _accumulate(total, converted(shard, cell))
        keys = converted(here["key"], key)
        for i in np.flatnonzero(total["hist"].any(axis=1)):
            yield first + int(i), keys[i], int(here["created"][i]), total[i : i + 1]
            for shard in shards:
                shard[i] = np.zeros((), cells.value)


def _accumulate(total: Array, rows: Array) -> None:
    for name in total.dtype.names or ():
        total[name] += rows[name]


def _slot_of(new: Mapping[str, Map], slots: Array, key: Any, created: int) -> int:
    """Return the slot of a key, taking one for it if need be; "other" when none is left."""
    other = int(key["role"])
    for _attempt in range(2):
        ref = new["ax_series"].lookup(key)
        if ref is not None:
            return int(ref["slot"])
        slot = new["ax_free"].pop()
        if slot is None:
            return other
        row = slots[int(slot)]
        row["key"], row["created"] = key, created
        ref = np.zeros((), new["ax_series"].value)
        ref["slot"], ref["gen"] = slot, row["gen"]
        with suppress(OSError):
            new["ax_series"].update(key, ref, bpf.NOEXIST)
            return int(slot)
        row["key"], row["created"] = np.zeros((), slots.dtype["key"]), 0
        new["ax_free"].push(slot.reshape(1))
    return other


def _carry_enum(old: Map, new: Map, enum: str) -> None:
    """Add counters that an enumeration numbers, each to the one of its name."""
    values = old.lookup(0)
    if values is None:
        return
    then, today = _enum(old, enum), _enum(new, enum)
    sums = values.sum(axis=0, dtype="u8")
    added = np.zeros(new.value.shape, "u8")
    for name, index in then.items():
        if name in today and index < len(sums):
            added[today[name]] = sums[index]
    adder = Adder(new)
    adder.add(0, added)
    adder.close()
    old.update(0, np.zeros_like(values))


def _carry_verdicts(old: Mapping[str, Map], new: Mapping[str, Map]) -> None:
    """Add what policies have decided, each to the one of its name, whose number may be another."""
    numbers = {name: number for number, name in names_in(new["ax_pol_names"]).items()}
    before, today = old["ax_pol_counts"], new["ax_pol_counts"]
    adder = Adder(today)
    for number, name in names_in(old["ax_pol_names"]).items():
        values = before.lookup(number)
        if name in numbers and values is not None:
            total = np.zeros(1, today.value)
            total["verdict"] = converted(values, today.value)["verdict"].sum(axis=0)
            adder.add(numbers[name], total)
            before.update(number, np.zeros_like(values))
    adder.close()


def _program(row: bpf.Fd, target: bpf.Fd, words: int) -> bytes:
    """Return a program that adds the words of `row`[0] to `target`[row.index], and returns 1."""
    look_up = copy(R2, FP) + add(R2, -4) + call(MAP_LOOKUP)
    give_up = skip_unless_zero(R0, 1) + leave()
    return (
        store32_value(FP, -4, 0)
        + load_map(R1, row.fileno())
        + look_up
        + give_up
        + copy(R6, R0)
        + load32(R1, R6, 0)
        + store32(FP, R1, -4)
        + load_map(R1, target.fileno())
        + look_up
        + give_up
        + copy(R7, R0)
        + b"".join(load64(R1, R6, 8 + 8 * i) + atomic_add64(R7, R1, 8 * i) for i in range(words))
        + mov(R0, 1)
        + leave()
    )
