"""Series to endpoints: each series is given its label once, when it first appears."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np

from axon.arrays import among
from axon.snapshot.model import Snapshot
from axon.snapshot.sparse import Rows

Label = TypeVar("Label", bound=Hashable)

_SPARE = 256  # empty groups that are not worth renumbering


class Grouping(Generic[Label]):
    """Groups the rows of successive snapshots by labels.

    `label(key, pid)` gives the group's label of a series (`key` is one `ax_key`, `pid` 0 where it is
    unknown). It is called once for each series, not once a look.
    """

    def __init__(self, label: Callable[[np.void, int], Label]) -> None:
        self._label = label
        self._epoch = 0
        self._rows: Rows = np.zeros(0, np.intp)
        self._labels: list[Label] = []
        self._index: dict[Label, int] = {}
        self._series = np.zeros(0, np.int64)
        """By slot: the generation that `_group` is about, or -1."""
        self._group: Rows = np.zeros(0, np.intp)

    @property
    def labels(self) -> list[Label]:
        """The label of each group. A group may have lost its rows. Only ever appended to."""
        return self._labels

    def of(self, snapshot: Snapshot) -> Rows:
        """Return the group of each row (n,), an index into `labels`."""
        if snapshot.epoch != self._epoch:
            self._renew(snapshot)
            self._epoch = snapshot.epoch
        return self._rows

    def forget(self, stale: Callable[[Label], bool] = lambda _: True) -> None:
        """Ask anew for the labels of the groups that are stale."""
        groups = [i for i, label in enumerate(self._labels) if stale(label)]
        self._series[among(self._group, groups)] = -1
        self._epoch = 0

    def _renew(self, snapshot: Snapshot) -> None:
        slots = snapshot.slots
        more = int(slots.max(initial=-1)) + 1 - len(self._series)
        if more > 0:
            self._series = np.append(self._series, np.full(more, -1))
            self._group = np.append(self._group, np.zeros(more, np.intp))
        for row in np.flatnonzero(self._series[slots] != snapshot.gens):
            label = self._label(snapshot.keys[row], int(snapshot.pids[row]))
            group = self._index.setdefault(label, len(self._index))
            if group == len(self._labels):
                self._labels.append(label)
            self._group[slots[row]] = group
        gone = np.ones(len(self._series), np.bool_)
        gone[slots] = False
        self._series[gone] = -1
        self._series[slots] = snapshot.gens
        self._rows = self._group[slots]
        self._compact(slots)

    def _compact(self, slots: Rows) -> None:
        used, rows = np.unique(self._rows, return_inverse=True)
        if len(self._labels) <= 2 * len(used) + _SPARE:
            return
        self._labels = [self._labels[i] for i in used]
        self._index = {label: i for i, label in enumerate(self._labels)}
        self._rows = self._group[slots] = rows
