"""What is missing on a machine is said in words, with what to do, and nothing is left behind.

Each case runs in a process of its own, in a mount namespace where something has been taken away.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from axon.kernel.system import cgroup_root
from axon.settings import Settings
from tests.privileges import NOBODY

Run = Callable[..., str]

_NAMESPACE = ("unshare", "--mount", "--propagation", "private", "sh", "-ec")
_ATTACH = """
import sys
from pathlib import Path
from axon import kernel
from axon.errors import AxonError
from axon.settings import Settings
pins, run, cgroup, plane = sys.argv[1:]
settings = Settings(pin_dir=Path(pins), run_dir=Path(run), max_series=1000,
                    cgroup=Path(cgroup) if cgroup else None)
try:
    attached = kernel.attach(settings, object_path=Path(plane))
    print("attached", attached.links_alive(), attached.config["kernel_has"])
    attached.close(detach=True)
except AxonError as e:
    print(type(e).__name__ + ":", e)
for row in kernel.probe(settings):
    print(f"{row.name}: {row.state}: {row.detail}: {row.remedy}")
"""


@pytest.fixture
def attempt(plane: Path, settings: Settings) -> Run:
    """Give a function that prepares a mount namespace, attaches there and returns what it said."""

    def run(
        prepare: str, *, wrap: str = "", cgroup: Path | None = settings.cgroup, **more: Path
    ) -> str:
        arguments = [more.get("pin_dir", settings.pin_dir), more.get("run_dir", settings.run_dir)]
        python = [sys.executable, "-c", _ATTACH]
        script = f'{prepare}\nexec {wrap} "$@"'
        result = subprocess.run(
            [*_NAMESPACE, script, "sh", *python, *map(str, arguments), str(cgroup or ""), plane],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout

    return run


def test_nothing_missing(attempt: Run) -> None:
    """On this machine attaching works, and no row of the table is missing."""
    said = attempt("true")
    assert said.startswith("attached True")
    rows = [line for line in said.splitlines() if ": missing:" in line]
    assert [row for row in rows if not row.startswith("kernel programs")] == []


def test_without_root(attempt: Run) -> None:
    """An ordinary user is told to use sudo, and which capabilities a service needs."""
    said = attempt("true", wrap=" ".join(NOBODY))
    assert said.startswith("KernelError: Loading programs into the kernel needs root: run it with")
    assert "CAP_BPF, CAP_NET_ADMIN" in said
    assert "ring buffer: untried: cannot be tried without root" in said


def test_root_in_a_user_namespace(attempt: Run) -> None:
    """Root of a container's user namespace has the capabilities by name only."""
    said = attempt("true", wrap="unshare --user --map-root-user")
    assert said.startswith("KernelError: ")
    assert "root" in said.splitlines()[0]


def test_only_cgroup_v1(attempt: Run) -> None:
    """Without a cgroup v2 mount the way to get one is named."""
    said = attempt(f"umount {cgroup_root()}", cgroup=None)
    assert said.startswith("KernelError: ")
    assert "mount -t cgroup2" in said.splitlines()[0]


def test_not_a_cgroup(attempt: Run, tmp_path: Path) -> None:
    """A directory that is no cgroup is refused by its name."""
    said = attempt("true", cgroup=tmp_path)
    assert f"{tmp_path} is no cgroup v2 directory" in said.splitlines()[0]


def test_bpf_file_system_is_mounted(attempt: Run) -> None:
    """Where the BPF file system is not mounted the agent mounts it."""
    said = attempt("umount /sys/fs/bpf")
    assert said.startswith("attached True")


def test_pins_elsewhere(attempt: Run, tmp_path: Path) -> None:
    """A pin directory on another file system is refused with a place that works."""
    said = attempt("true", pin_dir=tmp_path / "pins")
    assert "below /sys/fs/bpf" in said.splitlines()[0]
    assert not (tmp_path / "pins").exists()


def test_read_only_pins(attempt: Run, settings: Settings) -> None:
    """A read-only BPF file system is named as the cause."""
    said = attempt("mount -o remount,ro,bind /sys/fs/bpf")
    first = said.splitlines()[0]
    assert str(settings.pin_dir) in first
    assert "read-only" in first


def test_full_disk(attempt: Run, tmp_path: Path) -> None:
    """A full disk under the run directory keeps nobody from attaching: only the lock's holder goes unnamed."""
    full = tmp_path / "full"
    full.mkdir()
    said = attempt(
        f"mount -t tmpfs -o size=4k,nr_inodes=8 none {full}\nhead -c 4096 /dev/zero > {full}/file",
        run_dir=full,
    )
    assert said.splitlines()[0].startswith("attached True")


def test_read_only_run_directory(attempt: Run, tmp_path: Path) -> None:
    """A run directory that cannot be made is named."""
    said = attempt(
        f"mount -t tmpfs none {tmp_path}\nmount -o remount,ro {tmp_path}",
        run_dir=tmp_path / "run" / "axon",
    )
    assert "read-only" in said.splitlines()[0]


def test_no_libbpf(attempt: Run) -> None:
    """Without libbpf the package to install is named."""
    said = attempt(
        "for each in /usr/lib/*/libbpf.so.1; do mount --bind /dev/null $each; done",
    )
    assert said.startswith("KernelError: libbpf.so.1 was not found. Install it: apt install")
    assert "libbpf: missing" in said


def test_kernel_without_btf(attempt: Run) -> None:
    """A kernel without BTF is used all the same; process names are then those of threads, and policies
    are not to be had.
    """
    said = attempt("mount -t tmpfs none /sys/kernel/btf")
    assert said.startswith("attached True 1")
    assert "kernel BTF: degraded" in said
    (row,) = (line for line in said.splitlines() if line.startswith("TCP's state: degraded"))
    assert "an agent with policies refuses to start" in row
    assert "CONFIG_DEBUG_INFO_BTF=y" in row
