"""cgroup v2 ids to paths. The id of a cgroup is the inode number of its directory."""

from __future__ import annotations

import errno
import os
from itertools import islice
from pathlib import Path
from typing import NamedTuple

MOST = 20_000
"""cgroups that somebody else than root may have below one of root's: policies have room for fewer in all."""
_LONGEST = 1024
"""Characters of a path that is kept."""
GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR})
"""Errors that mean that a cgroup went while it was looked at. Others say nothing of it."""
_PASSED = GONE | {errno.EACCES, errno.ELOOP}
"""These too, which a cgroup's owner can bring about: the walk is not to be stopped by one."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_LEAF = 2  # links of a directory without any below it, where they are counted: kernfs does


class CgroupTree:
    """The paths of the cgroups below a mount point, by id.

    Paths begin with `/`, the root of the tree being `/`. A cgroup whose path is very long has that of
    one that it is within. Of those below one that is not root's there are `most` at the most. Walking
    costs 10 us a cgroup.
    """

    def __init__(self, root: Path, most: int = MOST) -> None:
        self._root = root
        self._most = most
        self._paths: dict[int, str] = {}
        self._there: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._within: dict[int, str] = {}

    def path(self, cgroup: int) -> str | None:
        """Return the path of a cgroup, or None if it was not there at the last walk."""
        return self._paths.get(cgroup)

    def id(self, path: str) -> int | None:
        """Return the id of a cgroup, or None."""
        return self._ids.get(path)

    def there(self) -> list[tuple[int, str]]:
        """Return the id and path of every cgroup that was there at the last walk."""
        return list(self._there.items())

    def of_root(self, cgroup: int) -> str:
        """Return the path of a cgroup that is there, or of the one that it is within where root's end."""
        return self._within.get(cgroup) or self._there[cgroup]

    @property
    def paths(self) -> set[str]:
        """The paths that are known, also of cgroups that are gone."""
        return set(self._paths.values())

    @property
    def newest(self) -> int:
        """The greatest id that was there at the last walk; 0: none was. Ids only grow."""
        return max(self._there, default=0)

    def walk(self) -> None:
        """Find out what is there now. cgroups that are gone stay known: their series may live on.

        Raise OSError if that is not possible, such as for want of file descriptors, or because another
        file system is mounted there by now: nothing is taken for gone then.
        """
        here = os.open(self._root, _FOLDER & ~os.O_NOFOLLOW)
        try:
            state = os.fstat(here)
            if self._ids.get("/", state.st_ino) != state.st_ino:
                raise OSError(
                    errno.ENODEV, "It is not the cgroup tree that it was", str(self._root)
                )
            walk = _Walk(state.st_uid, self._most)
            found = walk.found
            found[state.st_ino] = "/"
            walk.below(here, "")
        finally:
            os.close(here)
        # An id is used again only after 2^32 others; the newer path is right.
        self._paths.update(found)
        self._there, self._within = found, walk.within
        # Of those with one path the outermost, which was found first.
        self._ids = {path: cgroup for cgroup, path in reversed(found.items())}

    def keep(self, wanted: set[int]) -> None:
        """Forget the cgroups that are gone, but for these."""
        self._paths = {c: p for c, p in self._paths.items() if c in self._there or c in wanted}


class _Others(NamedTuple):
    """A cgroup that is not root's: its path, and how many `found` are enough."""

    path: str
    end: int


class _Walk:
    """Finds the cgroups below one of root's, `owner`; `within` is of those that others have named.

    It goes by descriptors, one at a time, and back by `..`, so that a path may be as long as whoever
    makes cgroups likes: none is moved.
    """

    def __init__(self, owner: int, most: int) -> None:
        self.found: dict[int, str] = {}
        self.within: dict[int, str] = {}
        self._owner = owner
        self._most = most

    def below(self, folder: int, path: str, others: _Others | None = None) -> None:
        """Go through a cgroup by its descriptor; `others` if it is somebody else's."""
        here = os.dup(folder)
        try:
            levels = [(path, self._children(here, path, others))]
            while levels and not (others and len(self.found) >= others.end):
                path, names = levels[-1]
                if not names:
                    levels.pop()
                    if levels:
                        here = _instead(here, os.open("..", _FOLDER, dir_fd=here))
                    continue
                name, path = names.pop()
                state = _state(name, here)
                if state is None or state.st_nlink == _LEAF:
                    continue
                if others is None and state.st_uid != self._owner:
                    self._others(here, name, path)
                elif (there := _open(name, here)) is not None:
                    here = _instead(here, there)
                    levels.append((path, self._children(here, path, others)))
        finally:
            os.close(here)

    def _others(self, above: int, name: str, path: str) -> None:
        """Go through a cgroup that is not root's, as far as its owner lets it be."""
        folder = _open(name, above)
        if folder is None:
            return
        try:
            self.below(folder, path, _Others(path, len(self.found) + self._most))
        except OSError as error:
            if error.errno not in _PASSED:
                raise
        finally:
            os.close(folder)

    def _children(self, folder: int, path: str, others: _Others | None) -> list[tuple[str, str]]:
        """Note the cgroups directly below one; return their names and paths."""
        below = []
        left = others.end - len(self.found) if others else None
        try:
            with os.scandir(folder) as entries:
                there = (entry for entry in entries if entry.is_dir(follow_symlinks=False))
                for entry in islice(there, left):
                    cgroup = entry.inode()
                    longer = f"{path}/{entry.name}"
                    self.found[cgroup] = kept = longer if len(longer) <= _LONGEST else path
                    if others:
                        self.within[cgroup] = others.path
                    below.append((entry.name, kept))
        except OSError as error:
            if error.errno not in _PASSED:
                raise
        return below


def _instead(before: int, folder: int) -> int:
    """Close a descriptor for another; return that."""
    os.close(before)
    return folder


def _state(name: str, folder: int) -> os.stat_result | None:
    """Return the state of a cgroup below one, None if it is gone."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _PASSED:
            raise
    return None


def _open(name: str, folder: int) -> int | None:
    """Return a descriptor of a cgroup below one, None if it is gone or its owner lets nobody in."""
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        if error.errno not in _PASSED:
            raise
    return None
