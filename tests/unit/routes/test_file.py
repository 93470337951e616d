"""The file of route patterns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from axon.errors import SettingsError
from axon.routes import read_patterns


def write(tmp_path: Path, content: str | bytes) -> Path:
    """Write a file of patterns."""
    path = tmp_path / "routes"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_one_pattern_a_line(tmp_path: Path) -> None:
    """Comments, blank lines and indentation are passed over; the order is kept."""
    path = write(
        tmp_path,
        "# the shop\n\n/users/{id}  # one user\n\t/users/{id}/orders\r\n  /static/**\n/a\n",
    )
    assert [p.text for p in read_patterns(path)] == [
        "/users/{id}", "/users/{id}/orders", "/static/**", "/a",
    ]  # fmt: skip


def test_an_empty_file_has_no_patterns(tmp_path: Path) -> None:
    """A file without a pattern is no mistake."""
    assert read_patterns(write(tmp_path, "# nothing yet\n")) == []


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Each message names file, line and column, and what to do."""
    path = write(tmp_path, "/a\n  users\n/b/*.js\n/users/{id}\n/users/{name}\n/x?y\n")
    with pytest.raises(SettingsError) as caught:
        read_patterns(path)
    assert str(caught.value).splitlines() == [
        f"{path}:2:3: it does not begin with /: write /users.",
        f"{path}:3:4: a wildcard stands for a whole segment: write * or {{name}} between slashes.",
        f"{path}:5:1: it matches what line 4 matches: remove one.",
        f"{path}:6:3: a query string is no part of a path: write /x.",
    ]


def test_more_than_fit_are_refused(tmp_path: Path) -> None:
    """The kernel holds 512 patterns; one more is told with a remedy."""
    path = write(tmp_path, "".join(f"/a{i}\n" for i in range(513)))
    with pytest.raises(SettingsError, match=r"513 patterns.*merge some"):
        read_patterns(path)


@pytest.mark.parametrize("content", [b"\xff\xfe/\x00a", b"\x80"])
def test_what_is_not_text_is_refused(tmp_path: Path, content: bytes) -> None:
    """A binary file is told as such."""
    with pytest.raises(SettingsError, match="not text in UTF-8"):
        read_patterns(write(tmp_path, content))


def test_a_file_without_an_end_is_refused(tmp_path: Path) -> None:
    """A pipe that nobody writes to, a device and what is far too large are told, and not waited for."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(SettingsError, match=rf"^{path} is not a regular file: set routes to"):
            read_patterns(path)
    with pytest.raises(SettingsError, match="is larger than 1 MiB"):
        read_patterns(write(tmp_path, b"#" * (1 << 20) + b"#"))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """The message names the file and the setting."""
    with pytest.raises(SettingsError, match=r"No such file.*Set routes"):
        read_patterns(tmp_path / "none")
