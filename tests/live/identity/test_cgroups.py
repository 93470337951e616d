"""The kernel's own cgroup tree."""

from __future__ import annotations

import os
from pathlib import Path

from axon.identity.cgroups import CgroupTree
from axon.kernel.system import cgroup_root


def test_however_deep() -> None:
    """Every cgroup is found, below one another or beside, and by a path longer than any that can be opened."""
    top = cgroup_root() / f"axon-deep-{os.getpid()}"
    top.mkdir()
    name = "x" * 250
    made: list[Path] = []
    opened = [os.open(top, os.O_RDONLY)]
    try:
        for number in range(20):
            made.append(top / f"beside{number}")
            made[-1].mkdir()
        for _ in range(70):
            os.mkdir(name, dir_fd=opened[-1])
            opened.append(os.open(name, os.O_RDONLY, dir_fd=opened[-1]))
        tree = CgroupTree(cgroup_root())
        tree.walk()
        there = dict(tree.there())
        deepest = there[os.fstat(opened[-1]).st_ino]
        assert deepest.startswith(f"/{top.name}/{name}/")
        assert {there[one.stat().st_ino] for one in made} == {
            f"/{top.name}/{one.name}" for one in made
        }
    finally:
        for folder in made:
            folder.rmdir()
        for above in reversed(opened[:-1]):
            os.rmdir(name, dir_fd=above)
        for folder_fd in opened:
            os.close(folder_fd)
        top.rmdir()
