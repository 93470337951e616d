"""What happened within the last seconds: exact differences, kept only of what changed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.arrays import among
from axon.snapshot.layout import Layout
from axon.snapshot.quantile import quantiles
from axon.snapshot.sparse import SHIFT, Keys, Rows

Floats = NDArray[np.float64]
U64 = NDArray[np.uint64]

_BLOCK = 1024  # groups whose histograms are expanded at a time: 2 MB


@dataclass(frozen=True, slots=True)
class Change:
    """By how much some slots have grown between two looks at them.

    `slots` (k,) with their `counts` (k,) of requests and `sums` (k, words before the buckets);
    `keys` and `values` of the buckets that have grown (see `sparse`). Times are CLOCK_MONOTONIC ns.
    """

    since: int
    until: int
    slots: Rows
    counts: U64
    sums: U64
    keys: Keys
    values: NDArray[np.unsignedinteger[Any]]

    def without(self, slots: Rows) -> Change:
        """Return this less some slots."""
        keep = ~among(self.slots, slots)
        fine = ~among(self.keys >> SHIFT, slots)
        return Change(
            self.since,
            self.until,
            self.slots[keep],
            self.counts[keep],
            self.sums[keep],
            self.keys[fine],
            self.values[fine],
        )


@dataclass(frozen=True, slots=True)
class Stats:
    """Groups of series within the window, an entry a group.

    `seconds` is how long the window is by now. Durations are in seconds, NaN where there was no
    request, `ttfb` where none was answered; the others are totals of the window: divide by
    `seconds` for rates.
    """

    seconds: float
    count: Floats
    errors: Floats
    p50: Floats
    p95: Floats
    p99: Floats
    mean: Floats
    ttfb: Floats
    req_body: Floats
    resp_body: Floats
    req_wire: Floats
    resp_wire: Floats

    @property
    def rate(self) -> Floats:
        """Requests a second."""
        return self.count / self.seconds

    @property
    def error_rate(self) -> Floats:
        """Failed requests a second."""
        return self.errors / self.seconds


@dataclass(frozen=True)
class Window:
    """The changes of the last seconds, at one moment. Immutable."""

    layout: Layout
    changes: tuple[Change, ...]
    since: int
    until: int

    @property
    def seconds(self) -> float:
        """How long the window is: less than was asked for until that time has passed."""
        return max(self.until - self.since, 1) / 1e9

    def counts(self, slots: Rows) -> U64:
        """Return (n,) requests within the window of each slot."""
        n = len(slots)
        group_of = self._table(slots, np.arange(n), n)
        out = np.zeros(n)
        for change in self.changes:
            out += _sums(group_of[change.slots], change.counts, n)
        return out.astype(np.uint64)

    def stats(
        self, slots: Rows, groups: NDArray[np.signedinteger[Any]], n: int, failed: NDArray[np.bool_]
    ) -> Stats:
        """Return the statistics of `n` groups.

        `slots` (rows,) are the series, `groups` (rows,) the group of each in 0..n-1, -1 for none; `failed` (rows,)
        tells whether its requests count as errors.
        """
        groups = np.where(groups < 0, n, groups).astype(np.intp)
        group_of = self._table(slots, groups, n)
        failed_of = self._table(slots, np.where(failed, groups, n), n)
        count, errors, sums = np.zeros(n), np.zeros(n), np.zeros((self.layout.first, n))
        answered, first_byte = np.zeros(n), self.layout.sums["ttfb_sum"]
        for change in self.changes:
            group = group_of[change.slots]
            count += _sums(group, change.counts, n)
            errors += _sums(failed_of[change.slots], change.counts, n)
            # Requests of one series have all been answered, or none.
            answered += _sums(group, change.counts * (change.sums[:, first_byte] > 0), n)
            for word in self.layout.sums.values():
                sums[word] += _sums(group, change.sums[:, word], n)
        total = {name: sums[word] for name, word in self.layout.sums.items()}
        requests = np.where(count > 0, count, np.nan)
        responses = np.where(answered > 0, answered, np.nan)
        p50, p95, p99 = self._quantiles(group_of, n)
        return Stats(
            seconds=self.seconds,
            count=count,
            errors=errors,
            p50=p50,
            p95=p95,
            p99=p99,
            mean=total["dur_sum"] / requests / 1e9,
            ttfb=total["ttfb_sum"] / responses / 1e9,
            req_body=total["req_body"],
            resp_body=total["resp_body"],
            req_wire=total["req_wire"],
            resp_wire=total["resp_wire"],
        )

    def _quantiles(self, group_of: Rows, n: int) -> Floats:
        """Return (3, n) quantiles of the groups' durations, some groups at a time."""
        hist = self.layout.buckets["hist"]
        out = np.full((3, n), np.nan)
        for low in range(0, n, _BLOCK):
            high = min(low + _BLOCK, n)
            block = np.arange(n + 1) - low
            block[:low] = block[high:] = high - low
            row_of = block[group_of]
            dense = np.zeros((high - low + 1, 1 << SHIFT))
            for change in self.changes:
                at = (row_of[change.keys >> SHIFT] << SHIFT) + (change.keys & 0xFF)
                np.add.at(dense.ravel(), at, change.values.astype(np.float64))
            out[:, low:high] = quantiles(dense[:-1, hist.start : hist.stop], (0.5, 0.95, 0.99))
        return out

    def _table(self, slots: Rows, groups: Rows, none: int) -> Rows:
        """Return the group of every slot that occurs, `none` for those not among `slots`."""
        top = max((int(c.slots.max(initial=0)) for c in self.changes), default=0)
        table: Rows = np.full(max(top, int(slots.max(initial=0))) + 1, none, np.intp)
        table[slots] = groups
        return table


def _sums(groups: Rows, values: NDArray[np.unsignedinteger[Any]], n: int) -> Floats:
    """Return (n,) sums by group, exact up to 2^53; what is of a group above is left out."""
    return np.bincount(groups, values, n)[:n].astype(np.float64, copy=False)


class Ring:
    """Collects changes and hands out the window that they make."""

    def __init__(self, layout: Layout, seconds: float) -> None:
        self._layout = layout
        self._span = int(seconds * 1e9)
        self._changes: deque[Change] = deque()

    def push(self, change: Change) -> Window:
        """Add what happened since the last look; forget what the window does not need any more."""
        self._changes.append(change)
        # Looks are about equally far apart: without half of one the window would be a look short,
        # or too long, as the clock's jitter has it.
        slack = (change.until - change.since) // 2
        while (
            len(self._changes) > 1 and change.until - self._changes[1].since >= self._span - slack
        ):
            self._changes.popleft()
        return self.window()

    def window(self) -> Window:
        """Return the window as it is now."""
        return Window(
            self._layout,
            tuple(self._changes),
            self._changes[0].since,
            self._changes[-1].until,
        )

    def forget(self, slots: Rows) -> Window:
        """Take slots out of what is kept, because they will stand for other series."""
        self._changes = deque(change.without(slots) for change in self._changes)
        return self.window()
