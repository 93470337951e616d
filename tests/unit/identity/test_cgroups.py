"""The cgroup tree, where it can be looked at and where it cannot."""

from __future__ import annotations

import os
import resource
import shutil
import threading
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


def deep(root: Path, levels: int, name: str = "x") -> list[int]:
    """Make cgroups within each other; return their ids."""
    found = []
    at = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
        found.append(os.fstat(at).st_ino)
    os.close(at)
    return found


@pytest.mark.parametrize(("levels", "name"), [(500, "x"), (30, "x" * 250)])
def test_however_deep(tmp_path: Path, levels: int, name: str) -> None:
    """Who makes cgroups in very deep ones hides none, and what is beyond a long path is known by that."""
    tree = tree_of(tmp_path)
    found = deep(tmp_path / "system.slice/nginx.service", levels, name)
    tree.walk()
    assert {cgroup for cgroup, _ in tree.there()} >= set(found)
    paths = [tree.path(cgroup) for cgroup in found]
    assert paths[0] == f"/system.slice/nginx.service/{name}"
    assert paths[-1]
    assert 700 < len(paths[-1]) <= 1024
    assert tree.id(paths[-1]) == found[paths.index(paths[-1])]
    assert all(tree.of_root(cgroup) == path for cgroup, path in tree.there())
    deepest = os.open(tmp_path / "system.slice/nginx.service", os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - it is about descriptors
    tree.walk()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    os.close(deepest)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a directory away")
def test_others_have_so_many_and_no_more(tmp_path: Path) -> None:
    """Of somebody's cgroups without end some are looked at, of everybody else's all."""
    tree = CgroupTree(tmp_path, most=50)
    ends = {}
    for user in (7, 8):
        mine = tmp_path / f"user.slice/user-{user}.slice/user@{user}.service"
        (mine / "app.slice/server.service").mkdir(parents=True)
        for one in (mine, *mine.rglob("*")):
            os.chown(one, user, user)
        ends[user] = mine
    for number in range(100):
        (ends[7] / f"a{number}").mkdir()
        (tmp_path / f"root{number}").mkdir()
    deep(ends[7] / "a50", 100)
    tree.walk()
    paths = [path for _, path in tree.there()]
    assert sum(path.startswith("/user.slice/user-7.slice/user@7.service/") for path in paths) == 50
    assert sum(path.startswith("/root") for path in paths) == 100
    server = "/user.slice/user-8.slice/user@8.service/app.slice/server.service"
    cgroup = tree.id(server)
    assert cgroup is not None
    assert tree.path(cgroup) == server
    assert tree.of_root(cgroup) == "/user.slice/user-8.slice/user@8.service"


def test_what_comes_and_goes_meanwhile(tmp_path: Path) -> None:
    """Cgroups that go while they are looked at keep nobody else's from being found."""
    tree = tree_of(tmp_path)
    over = threading.Event()

    def stir() -> None:
        while not over.is_set():
            deep(tmp_path / "system.slice", 20)
            shutil.rmtree(tmp_path / "system.slice/x")

    stirring = threading.Thread(target=stir)
    stirring.start()
    try:
        for _ in range(300):
            tree.walk()
            assert tree.id("/system.slice/nginx.service")
    finally:
        over.set()
        stirring.join()
