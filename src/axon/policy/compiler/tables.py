"""A set's table: open addressing, in which a key is at most AX_POL_PROBES buckets from its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axon.policy.compiler.layout import PROBES


@dataclass(frozen=True, slots=True)
class Table:
    """`bucket` is where each key goes, of `size`, a power of two."""

    size: int
    bucket: NDArray[np.int64]


def arrange(hashes: NDArray[np.uint64]) -> Table:
    """Return where keys go: as near to their own buckets as can be, at most half of them full.

    In the order of their own buckets each takes the next that is free, which leaves no free bucket
    between a key and its own, and makes the longest way as short as it can be.
    """
    size = 4
    while size < 2 * len(hashes):
        size *= 2
    while True:
        table = _arranged(hashes, size)
        if table is not None:
            return Table(size, table)
        size *= 2


def _arranged(hashes: NDArray[np.uint64], size: int) -> NDArray[np.int64] | None:
    """Return the buckets, or None when a key would be too far from its own."""
    own = (hashes & np.uint64(size - 1)).astype(np.int64)
    order = np.argsort(own, kind="stable")
    ordered = own[order]
    steps = np.arange(len(ordered))
    wrapped = 0
    while True:
        # As many as run over the end take the first buckets, and may push others over it.
        base = np.maximum(ordered - steps, wrapped)
        at = np.maximum.accumulate(base) + steps
        over = int(np.count_nonzero(at >= size))
        if over == wrapped:
            break
        wrapped = over
    if len(at) and int((at - ordered).max()) >= PROBES:
        return None
    bucket = np.empty(len(hashes), np.int64)
    bucket[order] = at & (size - 1)
    return bucket
