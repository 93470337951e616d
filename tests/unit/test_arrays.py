"""Sets of values in arrays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from axon.arrays import among, distinct

numbers = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5))


@given(numbers, numbers)
def test_among_is_membership(values: list[int], wanted: list[int]) -> None:
    """Each value is told to be wanted exactly if it is."""
    found = among(np.array(values, np.uint64), np.array(wanted, np.uint64))
    assert found.tolist() == [value in wanted for value in values]


@given(st.lists(st.binary(min_size=3, max_size=3)), st.lists(st.binary(min_size=3, max_size=3)))
def test_plain_bytes_are_values_too(values: list[bytes], wanted: list[bytes]) -> None:
    """Rows of a table can be compared as bytes."""
    found = among(np.array(values, "V3"), np.array(wanted, "V3"))
    assert found.tolist() == [value in wanted for value in values]
    assert [row.tobytes() for row in distinct(np.array(values, "V3"))] == sorted(set(values))


@given(numbers)
def test_distinct_is_sorted_and_has_each_once(values: list[int]) -> None:
    """Values that occur more than once are given once."""
    assert distinct(np.array(values, np.uint64)).tolist() == sorted(set(values))


def test_no_module_more_is_imported() -> None:
    """What numpy would import for the same is left alone."""
    code = (
        "import sys, numpy as np, axon.arrays as a; x = np.arange(99); "
        "a.among(x, x); a.distinct(x); print('numpy.ma' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
