"""The file of retired totals: what it keeps, and what it does when it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from axon.snapshot.ledger import Ledger
from tests.unit.snapshot.fake import CELL

ROLES = {"server": 0, "client": 1}


def ledger(path: Path, maps: str = "maps") -> Ledger:
    """Open a ledger."""
    return Ledger(path, maps, CELL, ROLES)


def totals(value: int) -> np.ndarray:
    """Return two cells with this in every word."""
    cells = np.zeros(2, CELL)
    cells.view(np.uint64)[:] = value
    cells["spare"] = 0
    return cells


def test_what_was_added_is_read_back_exactly(tmp_path: Path) -> None:
    """Totals of 64 bits and the freed slots survive a restart."""
    first = ledger(tmp_path / "retired.json")
    assert first.add(totals(2**64 - 1), [(5, 7, 9)])
    again = ledger(tmp_path / "retired.json")
    assert again.totals.tobytes() == totals(2**64 - 1).tobytes()
    assert again.freed == [(5, 7, 9)]
    assert again.problem is None


def test_another_set_of_maps_begins_at_zero(tmp_path: Path) -> None:
    """What was written about maps that are gone is not counted again."""
    ledger(tmp_path / "retired.json").add(totals(9), [(5, 7, 9)])
    other = ledger(tmp_path / "retired.json", maps="others")
    assert not other.totals["dur_sum"].any()
    assert other.freed == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"version":1,"maps":"maps","totals":{"server":{"dur_sum":-1}},"freed":[]}',
        b'{"version":1,"maps":"maps","totals":{"server":{"hist":["x"]}},"freed":[]}',
        b'{"version":1,"maps":"maps","totals":{"server":{"hist":[1]}},"freed":[5]}',
        b'{"version":1,"maps":"maps","totals":{"server":3},"freed":[]}',
    ],
)
def test_a_damaged_file_is_put_aside_and_told(tmp_path: Path, content: bytes) -> None:
    """A file that makes no sense does not stop the agent; it is kept, and health says so."""
    path = tmp_path / "retired.json"
    path.write_bytes(content)
    damaged = ledger(path)
    assert not damaged.totals.view(np.uint64).any()
    assert damaged.freed == []
    assert damaged.problem
    assert "retired.json.damaged" in damaged.problem
    assert (tmp_path / "retired.json.damaged").read_bytes() == content
    assert damaged.add(totals(1), [])
    assert damaged.problem is None


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    """Where nothing can be written, the totals stay as they were and the remedy is told."""
    book = ledger(tmp_path / "gone" / "retired.json")
    assert not book.add(totals(1), [(5, 7, 9)])
    assert not book.totals["dur_sum"].any()
    assert book.problem
    assert "run_dir" in book.problem


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    """A directory in the file's place is no crash."""
    (tmp_path / "retired.json").mkdir()
    problem = ledger(tmp_path / "retired.json").problem
    assert problem
    assert "Cannot read" in problem
