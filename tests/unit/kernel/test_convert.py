"""Records of one layout are read as another's by the names of their fields."""

from __future__ import annotations

import numpy as np

from axon.kernel.convert import converted

OLD = np.dtype([("hist", "u8", (6,)), ("gone", "u4"), ("body", "u8"), ("name", "u1", (4,))])
NEW = np.dtype([("body", "u8"), ("hist", "u8", (4,)), ("more", "u8"), ("name", "u1", (2,))])


def sample() -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Return two old records."""
    rows = np.zeros(2, OLD)
    rows["hist"] = [[1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 9]]
    rows["body"] = [70, 80]
    rows["name"] = list(b"abcd")
    return rows


def test_by_name() -> None:
    """Fields go where the new layout has them; what it adds is zero, what it drops is gone."""
    out = converted(sample(), NEW)
    assert out.dtype == NEW
    assert out["body"].tolist() == [70, 80]
    assert out["more"].tolist() == [0, 0]


def test_shorter_histogram_keeps_its_count() -> None:
    """Counters beyond the new end are added to the last one; names are cut."""
    out = converted(sample(), NEW)
    assert out["hist"].tolist() == [[1, 2, 3, 15], [0, 0, 0, 9]]
    assert out["name"].tolist() == [[97, 98], [97, 98]]


def test_longer_histogram() -> None:
    """In a longer array the counters keep their places."""
    out = converted(converted(sample(), NEW), OLD)
    assert out["hist"].tolist() == [[1, 2, 3, 15, 0, 0], [0, 0, 0, 9, 0, 0]]


def test_structs_inside() -> None:
    """Structs within structs are converted the same way."""
    old = np.dtype([("key", [("a", "u4"), ("b", "u4")]), ("x", "u2")])
    new = np.dtype([("x", "u8"), ("key", [("b", "u8")])])
    rows = np.array([((1, 2), 3), ((4, 5), 6)], old)
    out = converted(rows, new)
    assert out["key"]["b"].tolist() == [2, 5]
    assert out["x"].tolist() == [3, 6]


def test_same_layout_is_a_copy() -> None:
    """Without a change the records are copied, not shared."""
    rows = sample()
    assert not np.shares_memory(converted(rows, OLD), rows)
