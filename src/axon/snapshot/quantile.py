"""Quantiles of the kernel's duration buckets: eight to the factor of two (see axon.h)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_EXPONENT = -20
"""Bucket 1 begins at 2^-20 s."""

TO_THE_DOUBLE = 8

_WORST = 1.05
# A bucket is 1.0905 wide. A place p of it answers for any other within 5 % if both of its ends are:
# 1.0905^p <= 1.05 and 1.0905^(1-p) <= 1.05, so 0.437 <= p <= 0.563. Within that, interpolate.
_LAST_PLACE = math.log2(_WORST) * TO_THE_DOUBLE
_FIRST_PLACE = 1 - _LAST_PLACE


def quantiles(hist: NDArray[Any], shares: Sequence[float]) -> NDArray[np.float64]:
    """Return (len(shares), n) durations in seconds from (n, buckets) counts; NaN where n is empty.

    Each is within 5 % of the nearest-rank quantile of what was counted, from 1 us to 112 s; what
    is shorter or longer than that answers as that bound.
    """
    counts = np.asarray(hist, np.float64)
    reached = np.cumsum(counts, axis=1)
    total = reached[:, -1] if counts.shape[1] else np.zeros(len(counts))
    out = np.full((len(shares), len(counts)), np.nan)
    row = np.flatnonzero(total)
    for i, share in enumerate(shares):
        rank = share * total[row]
        # Rounding may carry the rank above the last count: the last bucket that has one is meant.
        bucket = np.minimum(
            (reached[row] < rank[:, np.newaxis]).sum(axis=1),
            counts.shape[1] - 1 - (counts[row, ::-1] > 0).argmax(axis=1),
        )
        count = counts[row, bucket]
        place = (rank - (reached[row, bucket] - count)) / np.maximum(count, 1)
        place = np.clip(place, _FIRST_PLACE, _LAST_PLACE)
        place[bucket == 0] = 1.0
        place[bucket == counts.shape[1] - 1] = 0.0
        out[i, row] = 2.0 ** ((bucket - 1 + place) / TO_THE_DOUBLE + LEAST_EXPONENT)
    return out
