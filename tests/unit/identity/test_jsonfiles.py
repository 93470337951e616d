"""JSON files of others: when they are read, and how much of a user's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from axon.identity.jsonfiles import JsonFiles


class Reader:
    """Takes what files have, and notes how often; reading takes `seconds`."""

    def __init__(self, seconds: float = 0) -> None:
        self.now = 100.0
        self.reads = 0
        self._seconds = seconds
        self._files = JsonFiles(lambda: self.now)

    def take(self, path: Path, user: int | None = None) -> Any:
        """Return a file's content."""
        return self._files.take(path, self._what, user)

    def _what(self, content: Any) -> Any:
        self.reads += 1
        self.now += self._seconds
        return content


@pytest.mark.parametrize("user", [None, os.getuid()])
def test_a_file_is_read_when_it_has_changed(tmp_path: Path, user: int | None) -> None:
    """What stands still is read once; what is written, or another in its place, is read then."""
    path = tmp_path / "a.json"
    reader = Reader()
    assert reader.take(path, user) is None
    path.write_text("[1]")
    assert [reader.take(path, user) for _ in range(3)] == [[1]] * 3
    assert reader.reads == 1
    state = path.stat()
    path.write_text("[1, 2]")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert reader.take(path, user) == [1, 2]
    (tmp_path / "b.json").write_text("[3, 4]")
    (tmp_path / "b.json").rename(path)
    assert reader.take(path, user) == [3, 4]
    assert reader.reads == 3
    path.write_text("[")
    assert reader.take(path, user) is None
    path.unlink()
    assert reader.take(path, user) is None


def test_a_users_files_are_small(tmp_path: Path) -> None:
    """What only root can have written may be long, and a user's file not as long."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(["x" * (300 << 10)]))
    assert Reader().take(path)
    assert Reader().take(path, os.getuid()) is None


def test_a_user_who_writes_again_and_again(tmp_path: Path) -> None:
    """Of each user's files no more is read than a twentieth of a processor can."""
    reader = Reader(seconds=0.01)
    mine, others = [], []
    for second in range(100):
        for number in range(10):
            path = tmp_path / f"{number}.json"
            path.write_text(json.dumps([second] * second))
            mine.append(reader.take(path, os.getuid()))
            others.append(reader.take(path))
        reader.now = 101.0 + second
    assert None not in others
    assert 450 < len(mine) - mine.count(None) < 550
    reader.now += 100
    assert reader.take(tmp_path / "0.json", os.getuid())
