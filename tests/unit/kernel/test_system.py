"""The cgroup tree, the BPF file system and the privileges are found as the machine has them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from axon.errors import KernelError
from axon.kernel import system
from axon.kernel.system import Mount


def mounted(*pairs: tuple[str, str]) -> list[Mount]:
    """Return a mount table of (kind, point)."""
    return [Mount("none", Path(point), kind, ()) for kind, point in pairs]


def test_pure_and_hybrid_cgroups() -> None:
    """The version 2 tree is found where it is, alone or beside version 1."""
    pure = mounted(("cgroup2", "/sys/fs/cgroup"))
    hybrid = mounted(("cgroup", "/sys/fs/cgroup/cpu"), ("cgroup2", "/sys/fs/cgroup/unified"))
    assert system.cgroup_root(pure) == Path("/sys/fs/cgroup")
    assert system.cgroup_root(hybrid) == Path("/sys/fs/cgroup/unified")


def test_only_version_1() -> None:
    """Without version 2 the way to mount it is named."""
    with pytest.raises(KernelError, match=r"Only cgroup v1 is mounted.*mount -t cgroup2"):
        system.cgroup_root(mounted(("cgroup", "/sys/fs/cgroup/cpu")))


def test_no_cgroups() -> None:
    """Without any cgroup file system, as in a bare container, that is said."""
    with pytest.raises(KernelError, match="No cgroup file system"):
        system.cgroup_root(mounted(("ext4", "/")))


def test_bpffs() -> None:
    """The file system that a path lies on is the deepest mount above it, the latest of equals."""
    table = mounted(("ext4", "/"), ("sysfs", "/sys"), ("bpf", "/sys/fs/bpf"))
    assert system.bpffs_of(Path("/sys/fs/bpf/axon"), table) == Path("/sys/fs/bpf")
    assert system.bpffs_of(Path("/run/axon"), table) is None
    table += mounted(("tmpfs", "/sys/fs/bpf"))
    assert system.bpffs_of(Path("/sys/fs/bpf/axon"), table) is None


def test_mounts_with_blanks() -> None:
    """The table of this machine can be read, escapes included."""
    assert Path("/proc") in [mount.point for mount in system.mounts()]
    assert system._unescape(b"/mnt/a\\040b\\134") == b"/mnt/a b\\"


def test_mounts_that_anybody_has_named(tmp_path: Path) -> None:
    """Names of any bytes are borne, and none of them makes a mount that there is not."""
    table = tmp_path / "mounts"
    fakes = [
        f"x{gap}tmpfs{blank}/sys/fs/bpf{blank}tmpfs{blank}rw"
        for gap in ("\r", "\v", "\x85", "\u2028")
        for blank in ("\f", "\x1f", "\u00a0", "\u3000")
    ]
    lines = [
        b"none /sys/fs/cgroup cgroup2 rw 0 0",
        b"  /empty fuse rw 0 0",
        b"eve /home/eve/\xff\\040\xc3\xa9 fuse.x rw,user_id=1000 0 0",
        *(f"{fake} /home/eve/{fake} fuse rw 0 0".encode() for fake in fakes),
        b"bpf /sys/fs/bpf bpf rw 0 0",
        b"cut off",
    ]
    table.write_bytes(b"\n".join(lines) + b"\n")
    found = system.mounts(table)
    assert len(found) == len(lines) - 1
    assert found[1].source == ""
    assert os.fsencode(found[2].point) == b"/home/eve/\xff \xc3\xa9"
    assert {mount.kind for mount in found[3:-1]} == {"fuse"}
    assert system.cgroup_root(found) == Path("/sys/fs/cgroup")
    assert system.bpffs_of(Path("/sys/fs/bpf/axon"), found) == Path("/sys/fs/bpf")


def test_cgroups_that_anybody_has_named(tmp_path: Path) -> None:
    """A cgroup's name of any bytes is told as it is, and none of it is taken for another line."""
    fake = "a\x850::/system.slice/nginx.service\x85b".encode() + b"\xff\v0::/x\r"
    (tmp_path / "cgroup").write_bytes(b"1:name=systemd:/" + fake + b"\n0::/eve/" + fake + b"\n")
    assert os.fsencode(system.cgroup_of(tmp_path) or "") == b"/eve/" + fake
    (tmp_path / "cgroup").write_bytes(b"1:name=systemd:/" + fake + b"\n")
    assert system.cgroup_of(tmp_path) is None


@pytest.mark.parametrize(
    ("have", "missing"),
    [
        ({"CAP_SYS_ADMIN", "CAP_NET_ADMIN"}, []),
        ({"CAP_SYS_ADMIN"}, ["CAP_NET_ADMIN"]),
        ({"CAP_BPF", "CAP_PERFMON"}, ["CAP_NET_ADMIN"]),
        (set(), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]),
    ],
)
def test_capabilities(have: set[str], missing: list[str]) -> None:
    """CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, but not for CAP_NET_ADMIN."""
    assert system.missing_capabilities(have) == missing


def test_explanations() -> None:
    """A failed operation says what failed, why, and what to do."""
    full = system.explain(OSError(errno.ENOSPC, "No space left on device"), "write x")
    assert str(full) == (
        "Cannot write x: No space left on device. "
        "The file system is full: free some space and try again."
    )
