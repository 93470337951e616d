"""Quantiles of buckets against the sorted durations themselves."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axon.snapshot.quantile import LEAST_EXPONENT, TO_THE_DOUBLE, quantiles
from tests.unit.snapshot.fake import bucket_of

HEADER = Path(__file__).parents[3] / "bpf" / "axon.h"
SHARES = (0.5, 0.95, 0.99)


def histogram(durations: list[int]) -> np.ndarray:
    """Return one row of buckets holding durations in ns."""
    return np.bincount([bucket_of(d) for d in durations], minlength=216)[np.newaxis]


@given(st.lists(st.integers(1_000, 60_000_000_000), min_size=1, max_size=300))
def test_every_quantile_is_within_five_percent(durations: list[int]) -> None:
    """Whatever was measured between 1 us and 60 s, P50, P95 and P99 are within 5 % of it."""
    estimates = quantiles(histogram(durations), SHARES)[:, 0]
    ordered = sorted(durations)
    for share, estimate in zip(SHARES, estimates, strict=True):
        truth = ordered[math.ceil(share * len(ordered)) - 1] / 1e9
        assert truth / 1.0501 <= estimate <= truth * 1.0501


def test_a_smooth_distribution_is_met_much_closer() -> None:
    """Interpolation halves the bucket's width: a long-tailed distribution is met within 3 %."""
    rng = np.random.Generator(np.random.PCG64(5))
    durations = (rng.lognormal(-5, 0.8, 40_000) * 1e9).astype(int)
    estimates = quantiles(histogram(durations.tolist()), SHARES)[:, 0]
    assert estimates == pytest.approx(np.quantile(durations, SHARES) / 1e9, rel=0.03)


def test_no_requests_have_no_quantile() -> None:
    """A row without a request has no duration at all, not zero."""
    rows = np.zeros((2, 216), np.uint64)
    rows[1, 100] = 1
    p50 = quantiles(rows, (0.5,))[0]
    assert math.isnan(p50[0])
    assert p50[1] > 0
    assert quantiles(np.zeros((0, 216)), SHARES).shape == (3, 0)


def test_what_is_out_of_range_answers_as_the_bound() -> None:
    """Durations below the first or above the last bucket are given as that bound."""
    rows = np.zeros((2, 216), np.uint64)
    rows[0, 0] = rows[1, 215] = 5
    assert quantiles(rows, (0.5,))[0] == pytest.approx([2.0**-20, 2 ** (214 / 8 - 20)])


def test_buckets_are_those_of_the_contract() -> None:
    """The exponent and the fineness of the buckets are those that the kernel's header states."""
    text = HEADER.read_text()
    exponent = re.search(r"AX_BUCKET_MIN_EXP \((-\d+)\)", text)
    assert exponent
    assert int(exponent[1]) == LEAST_EXPONENT
    assert "schema 3" in text
    assert TO_THE_DOUBLE == 2**3
