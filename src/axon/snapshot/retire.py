"""Takes slots back from series that have fallen silent. Their counts go into the retired totals.

Programs reach a slot by the series table, or by a slot number and generation that a connection
remembers. So a series leaves in two steps, at least one look apart:

1. Its key is deleted and the slot's generation raised. From here on nothing new reaches the slot;
   a program that had looked before may still add to it, within microseconds.
2. Its counts, steady since the last look, are added to the totals on disk. The cells are zeroed,
   the slot is cleared, its generation raised again, and it is given back to the kernel.

The agent may end between any two instructions. What the kernel and the ledger hold then says how to
go on: a slot that the ledger calls freed, and that is still of the series and generation it names,
has been added but perhaps not zeroed; with a generation one higher it has been, and its mark tells
whether it was given back. At worst one slot is lost to use, if the end comes between the mark and
the giving.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from axon.snapshot.layout import Layout
from axon.snapshot.ledger import Ledger
from axon.snapshot.sparse import Rows
from axon.snapshot.table import Table

GIVEN = 1
"""`pid` of a free slot that has been given back."""

FULL = 0.8
"""Share of the slots from which on the longest silent series go, whatever `idle_seconds`.

Less if so many series begin that the rest would not last for the time that retiring takes.
"""

_LEAST_FULL = 0.5
_ROOM = 0.1  # share of the slots that is made free at a time
_AHEAD_NS = 5_000_000_000  # from a series' last request to its slot's next use, with some to spare

_RESERVED = 2  # AX_SLOT_OTHER_*: they always exist
_AT_ONCE = 4096  # so that a look never waits long for the calls that this takes
_LEAST_SILENCE_NS = 2_000_000_000
_AT_REST_NS = 500_000_000


class Slots(Protocol):
    """The part of the kernel's interface that retiring needs."""

    max_series: int
    shards: int

    def slots(self, n: int, /) -> NDArray[Any]:
        """Return the first `n` slots, `ax_slot`, writable."""
        ...

    def cells(self, n: int, first: int, /) -> Sequence[NDArray[Any]]:
        """Return `n` cells of each shard from `first` on, `ax_cell`, writable."""
        ...

    def delete_series(self, keys: NDArray[Any], /) -> None:
        """Take keys out of the series table."""
        ...

    def push_free(self, slots: NDArray[Any], /) -> None:
        """Give slot numbers back to the kernel."""
        ...


class Retirer:
    """Chooses series to retire and takes them through the two steps, a look at a time."""

    def __init__(self, kernel: Slots, layout: Layout, ledger: Ledger, idle_seconds: float) -> None:
        self._kernel = kernel
        self._layout = layout
        self._ledger = ledger
        self._idle_ns = int(idle_seconds * 1e9)
        self._leaving: dict[int, int] = {}
        """CLOCK_MONOTONIC ns of the first step, by slot."""

    def recover(self) -> None:
        """Finish what an earlier agent may have left half done."""
        slots = self._kernel.slots(self._kernel.max_series)
        begun, unmarked = [], []
        for slot, gen, created in self._ledger.freed:
            entry = slots[slot] if slot < len(slots) else None
            if entry is None:
                continue
            if entry["gen"] == gen and entry["created"] in {0, created}:
                begun.append(slot)
            elif entry["gen"] == gen + 1 and not entry["created"] and entry["pid"] != GIVEN:
                unmarked.append(slot)
        self._clear(np.array(sorted(begun), np.intp))
        self._give(np.array(sorted(begun + unmarked), np.intp))
        if self._ledger.freed:
            self._ledger.add(self._ledger.totals, ())

    def finish(self, table: Table, now: int) -> Rows:
        """Take the second step where it is due; return the slots that are free now."""
        due = np.array(
            [s for s, since in self._leaving.items() if now - since >= _AT_REST_NS], np.intp
        )
        due = np.sort(due[~table.unsettled[due]])
        if not len(due):
            return due
        slots = self._kernel.slots(int(due[-1]) + 1)
        totals = self._ledger.totals.copy()
        words = self._layout.as_words(totals)
        for block in self._layout.blocks(due, self._kernel.shards):
            first, n = int(block[0]), int(block[-1] - block[0]) + 1
            role = slots["key"]["role"][block]
            for shard in self._kernel.cells(n, first):
                np.add.at(words, role, self._layout.as_words(shard)[block - first])
        entries = slots[due]
        freed = zip(due.tolist(), entries["gen"].tolist(), entries["created"].tolist(), strict=True)
        if not self._ledger.add(totals, freed):
            return due[:0]
        # First, so that an error below costs slots and never counts anything twice.
        for slot in due.tolist():
            del self._leaving[slot]
        self._clear(due)
        self._give(due)
        self._ledger.add(self._ledger.totals, ())
        return due

    def start(self, table: Table, now: int) -> Rows:
        """Take the first step with series silent for too long; return their slots."""
        victims = self._choose(table, now)
        if not len(victims):
            return victims
        if self._ledger.problem is not None and not self._ledger.add(self._ledger.totals, ()):
            return victims[:0]
        slots = self._kernel.slots(int(victims[-1]) + 1)
        self._kernel.delete_series(slots["key"][victims])
        slots["gen"][victims] += 1
        table.leaving[victims] = True
        table.gen[victims] += 1
        self._leaving.update(dict.fromkeys(victims.tolist(), now))
        return victims

    def _choose(self, table: Table, now: int) -> Rows:
        stay = ~table.live | table.leaving | table.unsettled
        stay[:_RESERVED] = True
        silence = now - table.active
        candidate = np.flatnonzero(~stay & (silence >= min(_LEAST_SILENCE_NS, self._idle_ns)))
        gone = (silence[candidate] >= self._idle_ns) | table.hurried[candidate]
        most = self._kernel.max_series
        # As many may begin in the time ahead as have begun in as long a time before.
        begun = int((table.created[table.live].astype(np.int64) > now - _AHEAD_NS).sum())
        full = max(min(FULL * most, most - begun), _LEAST_FULL * most)
        live = int(table.live.sum()) - len(self._leaving)
        if live > full:
            rest = np.flatnonzero(~gone)
            longest = rest[np.argsort(-silence[candidate[rest]], kind="stable")]
            gone[longest[: max(live - int(gone.sum()) - int(full - _ROOM * most), 0)]] = True
        return np.sort(candidate[gone][:_AT_ONCE])

    def _clear(self, slots: Rows) -> None:
        """Empty ascending slots and their cells."""
        for block in self._layout.blocks(slots, self._kernel.shards):
            first, n = int(block[0]), int(block[-1] - block[0]) + 1
            for shard in self._kernel.cells(n, first):
                self._layout.as_words(shard)[block - first] = 0
        entries = self._kernel.slots(int(slots.max(initial=-1)) + 1)
        for field in ("key", "created", "pid"):
            entries[field][slots] = np.zeros((), entries.dtype[field])
        # Last: from here on recovery takes the slot to be empty.
        entries["gen"][slots] += 1

    def _give(self, slots: Rows) -> None:
        entries = self._kernel.slots(int(slots.max(initial=-1)) + 1)
        # The lowest last: the kernel takes what came last, and low slots are cheap to look at.
        for slot in slots[::-1]:
            entries["pid"][slot] = GIVEN
            self._kernel.push_free(np.array([slot], np.uint32))
