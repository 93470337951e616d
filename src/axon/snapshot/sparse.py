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
U64 = NDArray[np.uint64]


def row_starts(rows: Rows, bucket: int = 0) -> Keys:
    """Return the key of one bucket of each row."""
    return ((rows << SHIFT) + bucket).astype(np.uint32)


@dataclass(frozen=True, slots=True)
class Sparse:
    """Counts above zero by ascending key. Never changed in place: holders may keep it.

    `values` are of four bytes for as long as all fit.
    """

    keys: Keys
    values: NDArray[np.unsignedinteger[Any]]

    @classmethod
    def empty(cls) -> Sparse:
        """Return what has no rows."""
        return cls(np.zeros(0, np.uint32), np.zeros(0, _NARROW))

    def replaced(self, keys: Keys, values: U64) -> tuple[Sparse, U64]:
        """Return this with new values under ascending keys, and how much each has grown."""
        fits = values.max(initial=0) <= np.iinfo(_NARROW).max
        kind = self.values.dtype if fits else values.dtype
        if not len(self.keys):
            return Sparse(keys, values.astype(kind)), values
        at = self._places(keys)
        near = np.minimum(at, len(self.keys) - 1)
        new = self.keys[near] != keys
        grown = values - np.where(new, np.uint64(0), self.values[near])
        other = np.flatnonzero(~new & (grown > 0))
        merged = self.values.astype(kind)
        merged[at[other]] = values[other]
        more = np.flatnonzero(new)
        if not len(more):
            return Sparse(self.keys, merged), grown
        return (
            Sparse(
                np.insert(self.keys, at[more], keys[more]),
                np.insert(merged, at[more], values[more]),
            ),
            grown,
        )

    def without(self, rows: Rows) -> Sparse:
        """Return this less some rows."""
        keep = ~among(self.keys >> SHIFT, rows)
        return Sparse(self.keys[keep], self.values[keep])

    def dense(self, rows: Rows, buckets: range) -> U64:
        """Return (len(rows), len(buckets)) counts."""
        out = np.zeros((len(rows), len(buckets)), np.uint64)
        entry, length = self._entries(
            row_starts(rows, buckets.start), row_starts(rows, buckets.stop)
        )
        row = np.repeat(np.arange(len(rows)), length)
        out[row, (self.keys[entry] & 0xFF) - buckets.start] = self.values[entry]
        return out

    def _places(self, keys: Keys) -> Rows:
        """Return where ascending keys stand, or would.

        Mostly they are all that their rows have, so that only rows have to be looked for.
        """
        rows = keys >> SHIFT
        rows = rows[np.flatnonzero(np.diff(rows, prepend=rows[:1] + 1))].astype(np.intp)
        entry, _ = self._entries(row_starts(rows), row_starts(rows, 1 << SHIFT))
        if len(entry) == len(keys) and bool((self.keys[entry] == keys).all()):
            return entry
        return np.searchsorted(self.keys, keys)

    def _entries(self, starts: Keys, stops: Keys) -> tuple[Rows, Rows]:
        """Return the places of all keys within some ranges, and how many each range has."""
        low, high = np.searchsorted(self.keys, starts), np.searchsorted(self.keys, stops)
        length = high - low
        first = np.repeat(low - (np.cumsum(length) - length), length)
        return first + np.arange(len(first)), length
