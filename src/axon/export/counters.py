"""Counters of groups of kernel series, which never go backwards.

A group's counters are those of its series and of what its former series have left (the carry):
when one series retires or is named anew, the counters of a group that goes on must not fall. A
group that has no series any more ends, and its carry with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from axon.arrays import distinct
from axon.export.families import Counts
from axon.export.labels import Labels
from axon.snapshot import Snapshot

Rows = NDArray[np.intp]
Groups = NDArray[np.int32]
"""Rows and groups as they are kept between looks: half of what an index takes."""

_NONE = -1


class Counters:
    """The groups of one family."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._group: Groups = np.zeros(0, np.int32)
        """(rows,) the index in `labels` of each row of the snapshot, or -1."""
        self._order: Groups = np.zeros(0, np.int32)
        """Rows, those of one group after another."""
        self._starts: Groups = np.zeros(1, np.int32)
        """Where each group's rows begin in the order, and the end."""
        self._carry: dict[Labels, Counts] = {}
        self._inherited: dict[Labels, Counts] = {}
        self.labels: list[Labels] = []
        self.changed = False
        """Whether the carries have changed since this was last set to False."""

    def update(self, snapshot: Snapshot, of_row: Rows, labels: Sequence[Labels | None]) -> None:
        """Take in the next snapshot, whose row i belongs to group `labels[of_row[i]]`."""
        index: dict[Labels, int] = {}
        found = [_NONE if one is None else index.setdefault(one, len(index)) for one in labels]
        group = np.array([*found, _NONE], np.intp)[of_row]
        used = distinct(group)
        used = used[used != _NONE]
        names = list(index)
        fresh = [names[i] for i in used.tolist()]
        place = np.full(len(names) + 1, _NONE, np.intp)
        place[used] = np.arange(len(used))
        group = place[group]

        self._hand_over(snapshot, group, fresh)
        order = np.argsort(group, kind="stable")
        order = order[np.searchsorted(group[order], 0) :]
        starts = np.searchsorted(group[order], np.arange(len(fresh) + 1))
        self._group, self._order = group.astype(np.int32), order.astype(np.int32)
        self._starts = starts.astype(np.int32)
        self._snapshot, self.labels = snapshot, fresh

    def refresh(self, snapshot: Snapshot) -> None:
        """Take in a snapshot of the same series."""
        self._snapshot = snapshot

    @property
    def groups(self) -> Groups:
        """The index in `labels` of each row (n,) of the snapshot; -1: in no group."""
        return self._group

    def counts(self, groups: slice, histogram: str) -> Counts:
        """Return (groups, its buckets) of `hist`, `req_size` or `resp_size`."""
        snapshot = self._current
        buckets = snapshot.layout.buckets[histogram]
        first = snapshot.layout.first
        rows, edges = self._rows(groups)
        dense = snapshot.buckets.dense(snapshot.slots[rows], buckets)
        return self._sum(groups, dense, edges, slice(first + buckets.start, first + buckets.stop))

    def sums(self, name: str, groups: slice = slice(None)) -> Counts:
        """Return (groups,) of one of the sums of a cell, such as `dur_sum`."""
        at = self._current.layout.sums[name]
        rows, edges = self._rows(groups)
        values = self._current.sums[rows, at : at + 1]
        return self._sum(groups, values, edges, slice(at, at + 1))[:, 0]

    def requests(self, groups: slice = slice(None)) -> Counts:
        """Return (groups,) how many requests were counted."""
        snapshot = self._current
        hist = snapshot.layout.buckets["hist"]
        first = snapshot.layout.first
        rows, edges = self._rows(groups)
        out = self._sum(groups, snapshot.count[rows, np.newaxis], edges, None)[:, 0]
        for i, label in enumerate(self.labels[groups]) if self._carry else ():
            carry = self._carry.get(label)
            if carry is not None:
                # An array's sum, unlike a number's, may wrap: a carry may stand for less than zero.
                whole = carry[first + hist.start : first + hist.stop]
                out[i : i + 1] += whole.sum(dtype=np.uint64)
        return out

    @property
    def carries(self) -> Mapping[Labels, Counts]:
        """What former series have left to the groups, as cells in 64-bit words."""
        return self._carry

    def inherit(self, carries: Mapping[Labels, Counts]) -> None:
        """Take over the carries of an earlier process, before the first update."""
        self._inherited = dict(carries)

    def forget_inherited(self) -> None:
        """Let go of inherited carries whose groups have not come up."""
        self._inherited = {}

    @property
    def _current(self) -> Snapshot:
        assert self._snapshot is not None, "update comes first"  # noqa: S101 - for the type checker
        return self._snapshot

    def _rows(self, groups: slice) -> tuple[Groups, Groups]:
        start, stop, _ = groups.indices(len(self.labels))
        edges = self._starts[start : stop + 1]
        return self._order[edges[0] : edges[-1]], edges[:-1] - edges[0]

    def _sum(self, groups: slice, values: Counts, edges: Groups, words: slice | None) -> Counts:
        if not len(edges):
            return values[:0]
        out: Counts = np.add.reduceat(values, edges, axis=0)
        for i, label in enumerate(self.labels[groups]) if self._carry and words else ():
            carry = self._carry.get(label)
            if carry is not None:
                out[i] += carry[words]
        return out

    def _hand_over(self, new: Snapshot, group: Rows, labels: Sequence[Labels]) -> None:
        """Leave to each group that goes on what its rows had that are not its rows any more."""
        alive = set(labels)
        self.changed |= bool(self._carry.keys() - alive)
        self._carry = {label: cell for label, cell in self._carry.items() if label in alive}
        for label in self._inherited.keys() & alive:
            self._leave(label, self._inherited.pop(label))
        old = self._snapshot
        if old is None:
            return
        number = {label: i for i, label in enumerate(labels)}
        before = np.array([*(number.get(one, _NONE) for one in self.labels), _NONE], np.intp)
        before = before[self._group]
        at = _find(new, old)
        after = np.where(at == _NONE, _NONE, np.append(group, _NONE)[at])
        for row in np.flatnonzero((before != _NONE) & (before != after)).tolist():
            cell = _cell(old, row)
            self._leave(labels[before[row]], cell)
            if after[row] != _NONE:
                # Its new group counts from here on, so that nothing is counted in both.
                self._leave(labels[after[row]], np.zeros_like(cell) - cell)

    def _leave(self, label: Labels, cell: Counts) -> None:
        known = self._carry.get(label)
        self._carry[label] = cell if known is None else known + cell
        self.changed = True


def _find(new: Snapshot, old: Snapshot) -> Rows:
    """Return the row in `new` of each row of `old`, or -1."""
    at = np.searchsorted(new.slots, old.slots)
    inside = at < len(new.slots)
    at[~inside] = 0
    if not len(new.slots):
        return np.full(len(old.slots), _NONE, np.intp)
    same = inside & (new.slots[at] == old.slots) & (new.gens[at] == old.gens)
    return np.where(same, at, _NONE)


def _cell(snapshot: Snapshot, row: int) -> Counts:
    """Return a row's cell as words."""
    dense = snapshot.buckets.dense(snapshot.slots[row : row + 1], range(snapshot.layout.width))
    return np.concatenate([snapshot.sums[row], dense[0]])
