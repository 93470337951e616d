"""The table as plain text."""

from __future__ import annotations

from axon.view.columns import COLUMNS
from axon.view.plain import table
from axon.view.rows import select
from tests.unit.view import samples

SNAPSHOT = samples.snapshot()
ROWS = select(SNAPSHOT.endpoints, role="server")


def test_a_pipe_gets_everything() -> None:
    """Without a width every column is there and no text is shortened."""
    lines = table(SNAPSHOT, ROWS, "server", None).splitlines()
    assert lines[0].split() == [column.title for column in COLUMNS]
    assert "/api/v2/customers/{id}/orders/{id}/items" in lines[5]
    assert "…" not in "".join(lines)


def test_a_terminal_gets_what_fits() -> None:
    """With a width no line is longer, and the percentiles are there."""
    text = table(SNAPSHOT, ROWS, "server", 80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.splitlines()[0].split()[-3:] == ["P50", "P95", "P99"]


def test_totals_stand_below() -> None:
    """Totals, losses, what is not read and notes stand below the rows."""
    said = samples.snapshot(
        lost={"lost_gap": 7, "lost_reorder": 2}, notes=["Every series is taken."]
    )
    lines = table(said, ROWS, "server", None).splitlines()
    assert lines[-4:] == [
        "10 endpoints, 3031 req/s, <.1% errors in 10 s",
        "1,234,567 incoming requests so far, 9 lost (gap)",
        "not read: 12 TLS, 3 HTTP/2",
        "Every series is taken.",
    ]


def test_nothing_yet() -> None:
    """A host without requests says so instead of showing an empty table."""
    assert "no outgoing requests yet" in table(SNAPSHOT, [], "client", 80)
