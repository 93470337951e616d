"""Which bucket a duration and a size fall into, at every edge."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.native.machine import Machine
from tests.native.scale import examples

BUCKETS = 216
_SECOND = 10**9


def starts_by(ns: int, bucket: int) -> bool:
    """Whether a bucket's lower bound, 2^((bucket - 1) / 8 - 20) s, is at most `ns`: in exact numbers."""
    return Fraction(ns, _SECOND) ** 8 >= Fraction(2) ** (bucket - 1 - 160)


def first_of(bucket: int) -> int:
    """Return the shortest duration of a bucket in ns."""
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if starts_by(middle, bucket) else (middle + 1, high)
    return low


@pytest.mark.parametrize("bucket", range(1, BUCKETS))
def test_a_bucket_begins_where_it_should(machine: Machine, bucket: int) -> None:
    """The first nanosecond of each latency bucket is in it, and the one before is in the one before."""
    first = first_of(bucket)
    assert machine.lib.nx_bucket(first) == bucket
    assert machine.lib.nx_bucket(first - 1) == bucket - 1


@examples(300)
@given(ns=st.one_of(st.integers(0, 2**20), st.integers(0, 2**37), st.integers(0, 2**64 - 1)))
def test_every_duration_is_in_its_bucket(machine: Machine, ns: int) -> None:
    """Any duration lies between its bucket's bounds; the shortest and the longest have one each."""
    bucket = machine.lib.nx_bucket(ns)
    assert bucket == 0 or starts_by(ns, bucket)
    assert bucket == BUCKETS - 1 or not starts_by(ns, bucket + 1)


def test_sizes_are_told_apart_by_powers_of_four(machine: Machine) -> None:
    """Bucket i holds sizes up to 64 * 4^i bytes, the last one everything above as well."""
    size_bucket = machine.lib.nx_size_bucket
    assert size_bucket(1) == 1
    for i in range(1, 11):
        assert size_bucket(64 * 4**i) == i
        assert size_bucket(64 * 4**i + 1) == i + 1
    assert size_bucket(2**64 - 1) == 11
