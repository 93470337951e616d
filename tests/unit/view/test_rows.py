"""Which endpoints are shown, and in which order."""

from __future__ import annotations

import random

import pytest

from axon.view.columns import SORTABLE, sort_rows
from axon.view.rows import error_share, key_of, select
from tests.unit.view import samples


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 10),
        ("docker", 4),
        ("DOCKER post", 1),
        ("docker !orders", 1),
        ("!docker !python", 4),
        ("nothing like this", 0),
        ("!", 10),
    ],
)
def test_a_filter_is_words(text: str, count: int) -> None:
    """Every word must occur in service, method or route, in any case; a word behind ! must not."""
    assert len(select(samples.endpoints(), role="server", text=text)) == count


def test_one_side_or_both() -> None:
    """Rows are those of one side, or of both where no side is asked for."""
    assert [row.role for row in select(samples.endpoints(), role="client")] == ["client"]
    assert len(select(samples.endpoints())) == 11


def test_only_errors() -> None:
    """Where only errors are asked for, endpoints without any are left out."""
    rows = select(samples.endpoints(), errors=True)
    assert len(rows) == 3
    assert all(row.error_rate for row in rows)


def test_a_share_of_nothing_is_nothing() -> None:
    """An endpoint without requests has no share of errors."""
    assert error_share(samples.idle()) is None
    assert error_share(samples.endpoint(rate=10.0, error_rate=2.5)) == 0.25


@pytest.mark.parametrize("name", SORTABLE)
@pytest.mark.parametrize("descending", [True, False])
def test_the_order_does_not_depend_on_how_rows_arrive(name: str, *, descending: bool) -> None:
    """Rows that are equal in the sorted column keep their places from one picture to the next."""
    rows = [*samples.endpoints(), *(samples.endpoint(route=f"/{i}") for i in range(20))]
    shuffled = random.Random(7).sample(rows, len(rows))
    first = [key_of(row) for row in sort_rows(rows, name, descending=descending)]
    second = [key_of(row) for row in sort_rows(shuffled, name, descending=descending)]
    assert first == second


def test_the_busiest_first() -> None:
    """Sorted by rate the busiest endpoint is the first and an idle one the last."""
    rows = sort_rows(samples.endpoints(), "rate", descending=True)
    assert (rows[0].route, rows[-1].rate) == ("/", 0)
