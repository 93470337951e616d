"""Records of one layout as records of another, by the names of their fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from axon.kernel.maps import Array


def converted(rows: Array, dtype: np.dtype[Any]) -> Array:
    """Return `rows`, shape (n,), with another dtype; fields that `rows` has not are zero.

    Of an array of counters that has become shorter the last takes the sum of those beyond it, so
    that a histogram keeps its count. Bytes (names, paths) are cut.
    """
    if rows.dtype == dtype:
        return rows.copy()
    out = np.zeros(len(rows), dtype)
    for name in dtype.names or ():
        if name in (rows.dtype.names or ()):
            _copy(rows[name], out[name])
    return out


def _copy(source: Array, target: Array) -> None:
    if target.dtype.names:
        target[...] = converted(source, target.dtype)
    elif source.shape == target.shape:
        target[...] = source
    elif source.ndim == target.ndim == 2:
        both = min(source.shape[1], target.shape[1])
        target[:, :both] = source[:, :both]
        if source.dtype.itemsize > 1:
            target[:, -1] += source[:, both:].sum(axis=1, dtype=target.dtype)
