"""Which columns a terminal has room for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axon.view.columns import COLUMNS
from axon.view.layout import MARGIN, ROOMY, Layout, place, wanted
from tests.unit.view import samples

WANTS = wanted(samples.endpoints(), {})


def width_of(layout: Layout) -> int:
    """Return the cells that a layout takes, its margins included."""
    gaps = layout.gap * (len(layout.columns) - 1)
    return 2 * MARGIN + sum(placed.width for placed in layout.columns) + gaps


def names(layout: Layout) -> list[str]:
    """Return the columns that are there."""
    return [placed.column.name for placed in layout.columns]


flexible = st.fixed_dictionaries(
    {column.name: st.integers(min_value=0, max_value=300) for column in COLUMNS if column.most}
)


@given(st.integers(min_value=40, max_value=400), flexible)
def test_a_layout_fits(width: int, wants: dict[str, int]) -> None:
    """Whatever texts there are, the columns are no wider than the terminal."""
    assert width_of(place(width, wants)) <= width


@given(st.integers(min_value=40, max_value=300), flexible)
def test_a_wider_terminal_loses_no_column(width: int, wants: dict[str, int]) -> None:
    """A column that is there stays there when the terminal becomes wider."""
    narrow, wide = (set(names(place(w, wants))) for w in (width, width + 1))
    assert narrow <= wide or width + 1 == ROOMY  # where the gaps double


def test_what_must_be_seen_in_80_columns() -> None:
    """Eighty columns show who, what, how many, how many fail, and the three percentiles."""
    assert names(place(80, WANTS)) == [
        "service", "method", "route", "rate", "errors", "p50", "p95", "p99",
    ]  # fmt: skip


def test_everything_is_seen_in_200_columns() -> None:
    """Two hundred columns show every column, and every text in full."""
    layout = place(200, WANTS)
    assert names(layout) == [column.name for column in COLUMNS]
    for placed in layout.columns:
        assert placed.width >= WANTS.get(placed.column.name, 0)


@pytest.mark.parametrize("width", [50, 60, 70])
def test_the_tail_outlives_the_median(width: int) -> None:
    """Where room is short P50 goes before P95, and P95 after P99."""
    kept = [name for name in names(place(width, WANTS)) if name.startswith("p")]
    assert kept in (["p95", "p99"], ["p95"], [])


def test_a_column_does_not_shrink() -> None:
    """A long name that goes away leaves its column as wide as it was."""
    long = wanted([samples.endpoint(service="a" * 30)], {})
    assert wanted([samples.endpoint(service="a")], long)["service"] == 30


@given(st.integers(min_value=40, max_value=250))
def test_every_cell_is_as_wide_as_its_column(width: int) -> None:
    """Headings and cells are exactly as wide as their column, sorted by it or not."""
    for placed in place(width, WANTS).columns:
        assert len(placed.heading()) == len(placed.heading("▾")) == placed.width
        for row in samples.endpoints():
            assert len(placed.cell(row)) == placed.width
