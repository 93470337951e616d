"""What one look at the kernel's counters gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.snapshot.layout import Layout
from axon.snapshot.sparse import Rows, Sparse
from axon.snapshot.window import Window

U64 = NDArray[np.uint64]


@dataclass(frozen=True)
class Snapshot:
    """Every live series at one moment, a row each, by ascending slot; counts are cumulative.

    `t_ns` is CLOCK_MONOTONIC. `keys` (n,) is `ax_key`; slot and generation together name a series
    for good. `epoch` is raised whenever rows came or went: as long as it is the same, so are
    `slots`, `gens`, `keys`, `created` and `pids`. `count` (n,) are requests, `sums` (n, words) the
    scalar part of the cells.

    `fresh` are the rows that were not there at the last look.

    `retired` (roles,) is `ax_cell`: everything counted by series that are no longer rows, by
    `ax_role`. A role's total is that and its rows. `stats` is indexed by `ax_stat`. `taken` of
    `max_series` slots are in use.
    """

    t_ns: int
    epoch: int
    slots: Rows
    gens: NDArray[np.uint32]
    keys: NDArray[Any]
    created: U64
    pids: NDArray[np.uint32]
    fresh: Rows
    count: U64
    sums: U64
    retired: NDArray[Any]
    stats: U64
    taken: int
    max_series: int
    window: Window
    layout: Layout
    buckets: Sparse

    def __len__(self) -> int:
        return len(self.slots)

    def histogram(self, name: str, rows: slice = slice(None)) -> U64:
        """Return some rows of `hist`, `req_size` or `resp_size`, expanded: (rows, its buckets)."""
        return self.buckets.dense(self.slots[rows], self.layout.buckets[name])

    @property
    def hist(self) -> U64:
        """Durations of all rows, (n, 216). 1.7 KB a row: `histogram` gives some rows at a time."""
        return self.histogram("hist")

    @property
    def req_size(self) -> U64:
        """Request bodies by size, (n, 12)."""
        return self.histogram("req_size")

    @property
    def resp_size(self) -> U64:
        """Response bodies by size, (n, 12)."""
        return self.histogram("resp_size")

    @property
    def dur_sum(self) -> U64:
        """Durations, in ns."""
        return self._sum("dur_sum")

    @property
    def ttfb_sum(self) -> U64:
        """Times to the first byte of the response, in ns."""
        return self._sum("ttfb_sum")

    @property
    def req_body(self) -> U64:
        """Bytes of request bodies, without chunk framing."""
        return self._sum("req_body")

    @property
    def resp_body(self) -> U64:
        """Bytes of response bodies, without chunk framing."""
        return self._sum("resp_body")

    @property
    def req_wire(self) -> U64:
        """Bytes of requests, heads and framing included."""
        return self._sum("req_wire")

    @property
    def resp_wire(self) -> U64:
        """Bytes of responses, heads and framing included."""
        return self._sum("resp_wire")

    def _sum(self, name: str) -> U64:
        return self.sums[:, self.layout.sums[name]]
