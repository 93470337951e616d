"""A data plane of the tests' own: compiled here, attached to a cgroup of its own, removed again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from axon import kernel
from axon.kernel.system import cgroup_root
from axon.settings import Settings

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "tests/live/bpf/plane.bpf.c"

# Datagrams to itself: as many packets in as out, and no handshake around them.
_TALK = """
import os, socket, sys, time
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
count, pause = int(sys.argv[2]), float(sys.argv[3])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.bind(("127.0.0.1", 0))
    s.connect(s.getsockname())
    for _ in range(count):
        s.send(b"x")
        s.recv(8)
        if pause:
            time.sleep(pause)
"""


def compile_plane(directory: Path, *defines: str) -> Path:
    """Compile the tests' data plane with macros set; return the object."""
    clang = shutil.which("clang-19") or shutil.which("clang")
    if clang is None:
        raise FileNotFoundError("clang: `make setup` installs it")
    target = directory / f"plane{''.join(defines)}.o"
    command = [clang, "-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v2"]
    include = ["-idirafter", f"/usr/include/{os.uname().machine}-linux-gnu", f"-I{ROOT / 'bpf'}"]
    subprocess.run(
        [*command, *include, *(f"-D{d}" for d in defines), "-c", SOURCE, "-o", target], check=True
    )
    return target


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the object that has today's maps."""
    return compile_plane(tmp_path_factory.mktemp("bpf"))


@pytest.fixture(scope="session")
def old_plane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the object of an older layout."""
    return compile_plane(tmp_path_factory.mktemp("bpf"), "OLD")


@pytest.fixture(scope="session")
def refused_plane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an object whose program ax_release the verifier refuses."""
    return compile_plane(tmp_path_factory.mktemp("bpf"), "REFUSED")


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Give settings with directories and a cgroup of their own; remove what was attached."""
    name = f"axon-test-{os.getpid()}"
    cgroup = cgroup_root() / name
    cgroup.mkdir()
    mine = Settings(
        pin_dir=Path("/sys/fs/bpf") / name, run_dir=tmp_path / "run", cgroup=cgroup, max_series=1000
    )
    yield mine
    kernel.detach_all(mine.pin_dir)
    cgroup.rmdir()


@pytest.fixture
def attach(plane: Path, settings: Settings) -> Iterator[Callable[..., kernel.Kernel]]:
    """Give a function that attaches with some settings changed, and close what was attached."""
    attached: list[kernel.Kernel] = []

    def run(object_path: Path = plane, **changed: object) -> kernel.Kernel:
        attached.append(kernel.attach(replace(settings, **changed), object_path=object_path))  # type: ignore[arg-type]
        return attached[-1]

    yield run
    for each in attached:
        each.close(detach=False)


@pytest.fixture
def talk(settings: Settings) -> Callable[..., subprocess.Popen[bytes]]:
    """Give a function that starts a process which sends datagrams to itself in the cgroup."""

    def run(count: int, pause: float = 0.0) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _TALK, str(settings.cgroup), str(count), str(pause)]
        )

    return run


@pytest.fixture
def seen() -> Callable[[kernel.Kernel], int]:
    """Give a function that tells how many packets the ingress program has counted in a series."""
    return lambda attached: sum(int(shard["hist"].sum()) for shard in attached.cells(1))
