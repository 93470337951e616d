"""Histograms of many rows, of which only the buckets that are not empty take memory.

A series has 240 buckets and fills a dozen or two, so 20,000 series take 3 MB and not 38.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.arrays import among

SHIFT = 8
"""A key is a row's number shifted by this, and the number of its bucket."""

_NARROW = np.dtype(np.uint32)

Rows = NDArray[np.intp]
Keys = NDArray[np.uint32]
Starts = NDArray[np.uint32]
U64 = NDArray[np.uint64]


def row_starts(rows: Rows, bucket: int = 0) -> Keys:
    """Return the key of one bucket of each row."""
    return ((rows << SHIFT) + bucket).astype(np.uint32)


@dataclass(frozen=True, slots=True)
class Sparse:
    """Counts above zero by ascending key. Never changed in place: holders may keep it.

    Of a key only the bucket is kept, a byte: `starts` says where each row's entries begin, and last
    where they end. `values` are of four bytes for as long as all fit.
    """

    starts: Starts
    buckets: NDArray[np.uint8]
    values: NDArray[np.unsignedinteger[Any]]

    @classmethod
    def empty(cls) -> Sparse:
        """Return what has no rows."""
        return cls.of(np.zeros(0, np.uint32), np.zeros(0, _NARROW))

    @classmethod
    def of(cls, keys: Keys, values: NDArray[np.unsignedinteger[Any]]) -> Sparse:
        """Return values by ascending keys."""
        rows = int(keys[-1] >> SHIFT) + 1 if len(keys) else 0
        starts = np.searchsorted(keys, row_starts(np.arange(rows + 1)))
        return cls(starts.astype(np.uint32), keys.astype(np.uint8), values)

    @property
    def keys(self) -> Keys:
        """The keys, made when they are asked for."""
        rows = np.arange(len(self.starts) - 1, dtype=np.uint32) << SHIFT
        keys: Keys = np.repeat(rows, np.diff(self.starts))
        keys |= self.buckets
        return keys

    def replaced(self, keys: Keys, values: U64) -> tuple[Sparse, U64]:
        """Return this with new values under ascending keys, and how much each has grown."""
        fits = values.max(initial=0) <= np.iinfo(_NARROW).max
        kind = self.values.dtype if fits else values.dtype
        if not len(self.values):
            return Sparse.of(keys, values.astype(kind)), values
        if not len(keys):
            return self, values
        mine = self.keys
        at = self._places(keys, mine)
        near = np.minimum(at, len(mine) - 1)
        new = mine[near] != keys
        grown = values - np.where(new, np.uint64(0), self.values[near])
        other = np.flatnonzero(~new & (grown > 0))
        merged = self.values.astype(kind)
        merged[at[other]] = values[other]
        more = np.flatnonzero(new)
        if not len(more):
            return Sparse(self.starts, self.buckets, merged), grown
        return (
            Sparse.of(
                np.insert(mine, at[more], keys[more]),
                np.insert(merged, at[more], values[more]),
            ),
            grown,
        )

    def without(self, rows: Rows) -> Sparse:
        """Return this less some rows."""
        keys = self.keys
        keep = ~among(keys >> SHIFT, rows)
        return Sparse.of(keys[keep], self.values[keep])

    def dense(self, rows: Rows, buckets: range) -> U64:
        """Return (len(rows), len(buckets)) counts."""
        out = np.zeros((len(rows), len(buckets)), np.uint64)
        entry, length = self._entries(rows)
        row, bucket = np.repeat(np.arange(len(rows)), length), self.buckets[entry]
        inside = (bucket >= buckets.start) & (bucket < buckets.stop)
        row, bucket, entry = row[inside], bucket[inside], entry[inside]
        out[row, bucket.astype(np.intp) - buckets.start] = self.values[entry]
        return out

    def _places(self, keys: Keys, mine: Keys) -> Rows:
        """Return where ascending keys stand among all, or would.

        Mostly they are all that their rows have, so that only rows have to be looked for.
        """
        rows = keys >> SHIFT
        rows = rows[np.flatnonzero(np.diff(rows, prepend=rows[:1] + 1))].astype(np.intp)
        entry, _ = self._entries(rows)
        if len(entry) == len(keys) and bool((mine[entry] == keys).all()):
            return entry
        return np.searchsorted(mine, keys)

    def _entries(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return the places of all that some rows have, and how many each row has."""
        last = len(self.starts) - 1
        low, high = (self.starts[np.minimum(rows + i, last)].astype(np.intp) for i in (0, 1))
        length = high - low
        first = np.repeat(low - (np.cumsum(length) - length), length)
        return first + np.arange(len(first)), length
