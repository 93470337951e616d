"""cgroup v2 ids to paths. The id of a cgroup is the inode number of its directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

_DEEPEST = 64
GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR})
"""Errors that mean that a cgroup went while it was looked at. Others say nothing of it."""
_PASSED = GONE | {errno.EACCES, errno.ENAMETOOLONG}
"""These too, which a cgroup's owner can bring about: the walk is not to be stopped by one."""


class CgroupTree:
    """The paths of the cgroups below a mount point, by id.

    Paths begin with `/`, the root of the tree being `/`. Walking costs 10 us a cgroup.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths: dict[int, str] = {}
        self._ids: dict[str, int] = {}

    def path(self, cgroup: int) -> str | None:
        """Return the path of a cgroup, or None if it was not there at the last walk."""
        return self._paths.get(cgroup)

    def id(self, path: str) -> int | None:
        """Return the id of a cgroup, or None."""
        return self._ids.get(path)

    def there(self) -> list[tuple[int, str]]:
        """Return the id and path of every cgroup that was there at the last walk."""
        return [(cgroup, path) for path, cgroup in self._ids.items()]

    @property
    def paths(self) -> set[str]:
        """The paths that are known, also of cgroups that are gone."""
        return set(self._paths.values())

    @property
    def newest(self) -> int:
        """The greatest id that was there at the last walk; 0: none was. Ids only grow."""
        return max(self._ids.values(), default=0)

    def walk(self) -> None:
        """Find out what is there now. cgroups that are gone stay known: their series may live on.

        Raise OSError if that is not possible, such as for want of file descriptors, or because another
        file system is mounted there by now: nothing is taken for gone then.
        """
        root = self._root.stat().st_ino
        if self._ids.get("/", root) != root:
            raise OSError(errno.ENODEV, "It is not the cgroup tree that it was", str(self._root))
        found = {root: "/"}
        level: Iterable[tuple[str, str]] = [(str(self._root), "")]
        for _ in range(_DEEPEST):
            below = [entry for folder, path in level for entry in _children(folder, path, found)]
            if not below:
                break
            level = below
        # An id is used again only after 2^32 others; the newer path is right.
        self._paths.update(found)
        self._ids = {path: cgroup for cgroup, path in found.items()}

    def keep(self, wanted: set[int]) -> None:
        """Forget the cgroups that are gone, but for these."""
        there = set(self._ids.values())
        self._paths = {c: p for c, p in self._paths.items() if c in there or c in wanted}


def _children(folder: str, path: str, found: dict[int, str]) -> list[tuple[str, str]]:
    """Note the cgroups directly below one; return their folders and paths."""
    below = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    name = f"{path}/{entry.name}"
                    found[entry.inode()] = name
                    below.append((entry.path, name))
    except OSError as error:
        if error.errno not in _PASSED:
            raise
    return below
