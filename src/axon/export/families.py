"""What is exported: metric families, each a block of numbers with a label set a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
class Block:
    """Some rows of histograms.

    `counts` (rows, bounds + 1) are the observations in each classic bucket and, last, above them
    all; `sums` (rows,) is in the family's unit. `native` (rows, AX_BUCKETS) are the kernel's own
    buckets, or None where it has none so fine. A row's number of observations is the sum of its
    counts, and of its native buckets.
    """

    counts: Counts
    sums: NDArray[np.float64]
    native: Counts | None = None


@dataclass(frozen=True, slots=True)
class Histograms:
    """A family with one histogram a row. `bounds` are the finite upper bounds of classic buckets.

    `read` returns a range of rows, so that never more than a few hundred are in memory expanded.
    """

    name: str
    help: str
    labels: Sequence[Labels]
    bounds: Sequence[float]
    read: Callable[[slice], Block]
    unit: str = ""


Family = Scalars | Histograms
