"""The cgroup tree, where it can be looked at and where it cannot."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from axon.identity.cgroups import CgroupTree


@contextmanager
def no_files() -> Iterator[None]:
    """Have no file be opened any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = os.open("/dev/null", os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    os.close(low)
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in held:
            os.close(one)


def tree_of(root: Path) -> CgroupTree:
    """Return a tree with two cgroups, walked once."""
    (root / "system.slice/nginx.service").mkdir(parents=True)
    tree = CgroupTree(root)
    tree.walk()
    assert len(tree.there()) == 3
    return tree


def test_without_files_nothing_is_taken_for_gone(tmp_path: Path) -> None:
    """Where no directory can be opened the walk fails, and what was there is there."""
    tree = tree_of(tmp_path)
    before = tree.there()
    with no_files(), pytest.raises(OSError, match="Too many open files"):
        tree.walk()
    assert tree.there() == before


def test_another_file_system_in_its_place(tmp_path: Path) -> None:
    """A tree that is unmounted, or mounted over, has not lost its cgroups."""
    root = tmp_path / "cgroup"
    tree = tree_of(root)
    before = tree.there()
    root.rename(tmp_path / "before")
    root.mkdir()
    with pytest.raises(OSError, match="not the cgroup tree"):
        tree.walk()
    root.rmdir()
    with pytest.raises(FileNotFoundError):
        tree.walk()
    assert tree.there() == before


def test_what_is_gone_is_gone(tmp_path: Path) -> None:
    """A cgroup that is removed is not there at the next walk, and its path stays known."""
    tree = tree_of(tmp_path)
    cgroup = tree.id("/system.slice/nginx.service")
    assert cgroup is not None
    shutil.rmtree(tmp_path / "system.slice")
    tree.walk()
    assert tree.id("/system.slice/nginx.service") is None
    assert tree.path(cgroup) == "/system.slice/nginx.service"


def test_paths_that_are_too_long(tmp_path: Path) -> None:
    """Who may make cgroups may make them so deep that they cannot be opened, and stops nobody's walk."""
    tree = tree_of(tmp_path)
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=at)
        below = os.open("x" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    tree.walk()
    assert 15 < len(tree.there()) < 23
