"""Which cgroup a process is in that is older than the programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from axon.kernel import owners


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/a/b", b"/a/b"),
        (b"/a/b\xff\x85c", b"/a/b\xff\x85c"),
        (b"/a" + (b"/" + b"x" * 250) * 20, b"/a" + (b"/" + b"x" * 250) * 4),
        (b"/gone", None),
    ],
)
def test_its_cgroup(tmp_path: Path, path: bytes, found: bytes | None) -> None:
    """It is found by a name of any bytes; of one so deep that it cannot be opened, one that it is within."""
    process = tmp_path / "proc/7"
    (process / "ns/net").mkdir(parents=True)
    (process / "comm").write_text("server\n")
    (process / "cgroup").write_bytes(b"1:name=systemd:/\n0::" + path[:4095] + b"\n")
    cgroups = tmp_path / "cgroup"
    wanted = cgroups / os.fsdecode(found or b"/a").lstrip("/")
    wanted.mkdir(parents=True)
    one = owners._process(7, cgroups, tmp_path / "proc")
    assert (one and one.cgroup) == (wanted.stat().st_ino if found else None)
