"""Where the numbers stand in a cell, read from the dtype of `struct ax_cell`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

_BLOCK_BYTES = 1 << 19


@dataclass(frozen=True, slots=True)
class Layout:
    """A cell as 64-bit words: first the sums, then every histogram's buckets without a gap.

    `sums` gives the word of each sum, `buckets` the range of each histogram counted from word
    `first`.
    """

    words: int
    first: int
    sums: dict[str, int]
    buckets: dict[str, range]

    @classmethod
    def of(cls, cell: np.dtype[Any]) -> Layout:
        """Return the layout of a cell's dtype: scalar fields are sums, arrays are histograms.

        Raise ValueError if it is not made so, or has more than 256 buckets.
        """
        sums: dict[str, int] = {}
        arrays: dict[str, range] = {}
        for name in cell.names or ():
            field, offset = cell.fields[name][:2] if cell.fields else (cell, 0)
            at = offset // 8
            if field.shape == ():
                sums[name] = at
            elif name != "spare":
                arrays[name] = range(at, at + field.shape[0])
        words = cell.itemsize // 8
        first = min((r.start for r in arrays.values()), default=words)
        buckets = {name: range(r.start - first, r.stop - first) for name, r in arrays.items()}
        covered = sorted(at for r in buckets.values() for at in r)
        if covered != list(range(words - first)) or not 0 < words - first <= 256:
            raise ValueError(f"{cell} is not sums followed by at most 256 buckets")
        return cls(words, first, sums, buckets)

    @property
    def width(self) -> int:
        """How many buckets a cell has, those of all its histograms."""
        return self.words - self.first

    def block(self, shards: int) -> int:
        """Return how many slots to look at together, so that their cells fit into the cache."""
        return max(_BLOCK_BYTES // (self.words * 8 * shards), 16)

    def blocks(self, slots: NDArray[np.intp], shards: int) -> Iterator[NDArray[np.intp]]:
        """Yield ascending slots in parts that lie within a block each."""
        size = self.block(shards)
        if len(slots):
            yield from np.split(slots, np.flatnonzero(np.diff(slots // size)) + 1)

    def as_words(self, cells: NDArray[Any]) -> U64:
        """Return a view of (n,) cells as (n, words)."""
        return cells.view(np.uint64).reshape(len(cells), self.words)
