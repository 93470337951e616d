"""Sparse histograms against a plain dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from axon.snapshot.layout import Layout
from axon.snapshot.sparse import SHIFT, Sparse
from tests.unit.snapshot.fake import CELL

WIDTH = 240
Counts = dict[tuple[int, int], int]
counts = st.dictionaries(
    st.tuples(st.integers(0, 40), st.integers(0, WIDTH - 1)), st.integers(1, 2**60), max_size=60
)


def flat(model: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Return a model's keys and values as arrays, by ascending key."""
    ordered = sorted(model)
    keys = np.array([(row << SHIFT) + bucket for row, bucket in ordered], np.uint32)
    return keys, np.array([model[at] for at in ordered], np.uint64)


def model_of(sparse: Sparse) -> Counts:
    """Return what stands in a sparse histogram."""
    return {
        (int(key) >> SHIFT, int(key) & 0xFF): int(value)
        for key, value in zip(sparse.keys, sparse.values, strict=True)
    }


@given(counts, counts)
def test_replaced_returns_the_new_counts_and_their_growth(old: Counts, more: Counts) -> None:
    """New cumulative counts take the old ones' place, and the difference is told exactly."""
    before = Sparse.of(*flat(old))
    grown_to = {at: old.get(at, 0) + n for at, n in more.items()}
    after, grown = before.replaced(*flat(grown_to))
    assert grown.tolist() == [more[at] for at in sorted(more)]
    assert model_of(after) == old | grown_to
    assert np.all(np.diff(after.keys.astype(np.int64)) > 0)
    assert model_of(before) == old


@given(counts, st.sets(st.integers(0, 40)))
def test_without_takes_whole_rows_away(model: Counts, rows: set[int]) -> None:
    """Removed rows are gone, all others stay."""
    left = Sparse.of(*flat(model)).without(np.array(sorted(rows), np.intp))
    assert model_of(left) == {at: n for at, n in model.items() if at[0] not in rows}


@given(counts, st.lists(st.integers(0, 40), max_size=10), st.integers(0, 200), st.integers(1, 40))
def test_dense_expands_the_rows_asked_for(
    model: Counts, rows: list[int], start: int, length: int
) -> None:
    """Expanding gives each asked row's buckets, in the order asked, zero where empty."""
    buckets = range(start, start + length)
    dense = Sparse.of(*flat(model)).dense(np.array(rows, np.intp), buckets)
    assert dense.tolist() == [[model.get((row, b), 0) for b in buckets] for row in rows]


def test_layout_covers_the_whole_cell() -> None:
    """Sums and buckets of a cell are found by name, and together they are the cell."""
    layout = Layout.of(CELL)
    assert layout.words * 8 == CELL.itemsize
    assert layout.width == WIDTH
    cells = np.zeros(3, CELL)
    cells["resp_wire"][1] = 7
    cells["hist"][2, 215] = 9
    words = layout.as_words(cells)
    assert words[1, layout.sums["resp_wire"]] == 7
    assert words[2, layout.first + layout.buckets["hist"][215]] == 9
