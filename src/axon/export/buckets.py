"""The kernel's buckets as the classic ones of Prometheus.

A kernel bucket is counted under a classic bound if it lies wholly below it; one that straddles the
bound is counted above. So no request is ever shown as faster than it was. The price: the bound in
effect is the greatest kernel bound up to the stated one, at most one bucket (8.3 %) below it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from axon.export.families import Counts

# https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

KERNEL_SECONDS = np.append(2.0 ** (np.arange(215) / 8 - 20), np.inf)
"""Upper bound of each of the kernel's duration buckets: schema 3 from 2^-20 s on (see axon.h)."""

SIZES = tuple(64.0 * 4**i for i in range(1, 11))
"""Bounds of body sizes in bytes. The kernel's last bucket has no upper bound: it is +Inf here."""


def _column_starts(bounds: Sequence[float]) -> NDArray[np.intp]:
    column = np.searchsorted(np.asarray(bounds), KERNEL_SECONDS)
    return np.searchsorted(column, np.arange(len(bounds) + 1))


_STARTS = _column_starts(SECONDS)


def classic(hist: Counts) -> Counts:
    """Return (n, len(SECONDS) + 1) counts by classic bucket from (n, AX_BUCKETS) kernel ones."""
    return np.add.reduceat(hist, _STARTS, axis=1, dtype=np.uint64)


def in_effect() -> NDArray[np.float64]:
    """Return the bound that each of SECONDS stands for: the greatest kernel bound not above it."""
    bounds: NDArray[np.float64] = KERNEL_SECONDS[_STARTS[1:] - 1]
    return bounds


def sizes(kernel: Counts, requests: Counts) -> Counts:
    """Return (n, len(SIZES) + 1) counts by body size from (n, AX_SIZES) kernel ones.

    The kernel does not count empty bodies: they are what is missing from `requests` (n,), and go
    into the first bucket.
    """
    counts = kernel[:, 1:].copy()
    filled = counts.sum(axis=1, dtype=np.uint64)
    counts[:, 0] += requests - np.minimum(filled, requests)
    return counts
