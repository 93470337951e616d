"""Sets of values in arrays. numpy has these too, but they import numpy.ma, which takes 2 MB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def among(values: NDArray[Any], wanted: ArrayLike) -> NDArray[np.bool_]:
    """Return for each value whether it is one of those wanted, which need no order."""
    ordered = np.sort(np.asarray(wanted, values.dtype))
    if not len(ordered):
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[at] == values
    return found


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values that occur, each once, in ascending order."""
    ordered = np.sort(values)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]
