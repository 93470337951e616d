"""What is known of each slot between two looks: one entry a slot, in arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.snapshot.sparse import Rows, Sparse

_STEP = 1024
_COLUMNS = (
    "live",
    "leaving",
    "hurried",
    "unsettled",
    "active",
    "created",
    "gen",
    "role",
    "count",
    "sums",
)


class Table:
    """Columns indexed by slot, with room for `len(table)` slots.

    `live`: stands for a series. `leaving`: on its way out, no longer a row. `hurried`: need not be
    waited for long. `unsettled`: changed at the last look, so that look may have seen only part of
    a request. `active`: CLOCK_MONOTONIC ns of the last change seen. `created`, `gen` and `role` are
    the series' own; the rest of it does not change in the kernel's entry for as long as it lives.
    `buckets` are the last counts seen, by slot.
    """

    def __init__(self, words: int) -> None:
        self.live = np.zeros(0, np.bool_)
        self.leaving = np.zeros(0, np.bool_)
        self.hurried = np.zeros(0, np.bool_)
        self.unsettled = np.zeros(0, np.bool_)
        self.active = np.zeros(0, np.int64)
        self.created = np.zeros(0, np.uint64)
        self.gen = np.zeros(0, np.uint32)
        self.role = np.zeros(0, np.uint8)
        self.count = np.zeros(0, np.uint64)
        self.sums = np.zeros((0, words), np.uint64)
        self.buckets = Sparse.empty()

    def __len__(self) -> int:
        return len(self.live)

    def reserve(self, slots: int) -> None:
        """Make room for so many slots."""
        size = len(self)
        if slots <= size:
            return
        room = -(-slots // _STEP) * _STEP
        for name in _COLUMNS:
            column = getattr(self, name)
            grown = np.zeros((room, *column.shape[1:]), column.dtype)
            grown[:size] = column
            setattr(self, name, grown)

    def admit(self, slots: Rows, entries: NDArray[Any], now: int) -> None:
        """Take in series that have begun."""
        self.live[slots] = True
        self.created[slots] = entries["created"]
        self.gen[slots] = entries["gen"]
        self.role[slots] = entries["key"]["role"]
        self.active[slots] = now
        # Its first counts may be there already, whatever the sums say.
        self.unsettled[slots] = True

    def drop(self, slots: Rows) -> None:
        """Forget everything about some slots."""
        if not len(slots):
            return
        for column in (self.live, self.leaving, self.hurried, self.unsettled, self.count):
            column[slots] = 0
        self.sums[slots] = 0
        self.buckets = self.buckets.without(slots)
