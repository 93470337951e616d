"""What is exported: metric families, each a block of numbers with a label set a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from axon.export.labels import Labels

Counts = NDArray[np.uint64]
Numbers = Sequence[float] | NDArray[np.float64] | NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Scalars:
    """A family with one number a row. `name` is without the `_total` of a counter."""

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    labels: Sequence[Labels]
    values: Numbers
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Histograms:
    """A family with one histogram a row.

    `bounds` are the finite upper bounds of the classic buckets, `counts` (n, len(bounds) + 1) the
    number of observations in each and, last, above them all; `sums` (n,) is in the family's unit.
    `native` (n, AX_BUCKETS) are the kernel's own buckets, or None where it has none so fine.
    The number of observations of a row is the sum of its counts, and of its native buckets.
    """

    name: str
    help: str
    labels: Sequence[Labels]
    bounds: Sequence[float]
    counts: Counts
    sums: NDArray[np.float64]
    unit: str = ""
    native: Counts | None = None


Family = Scalars | Histograms
