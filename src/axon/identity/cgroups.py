"""cgroup v2 ids to paths. The id of a cgroup is the inode number of its directory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_DEEPEST = 64


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
    def newest(self) -> int:
        """The greatest id that was there at the last walk; 0: none was. Ids only grow."""
        return max(self._ids.values(), default=0)

    def walk(self) -> None:
        """Find out what is there now. cgroups that are gone stay known: their series may live on."""
        found: dict[int, str] = {}
        with suppress(OSError):
            found[self._root.stat().st_ino] = "/"
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
    # A cgroup may go while it is looked at.
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                name = f"{path}/{entry.name}"
                found[entry.inode()] = name
                below.append((entry.path, name))
    return below
