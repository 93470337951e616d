"""The machine around the programs: mounts, the cgroup v2 tree, the BPF file system, privileges."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import resource
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from axon.errors import KernelError

BPFFS = Path("/sys/fs/bpf")

# include/uapi/linux/capability.h
CAPABILITIES = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}

_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
_MEMBARRIER_CMD_GLOBAL = 1
_CLONE_NEWNET = 0x4000_0000
_LONGER_THAN_ANY_RUN = 1.0


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mounts."""

    source: str
    point: Path
    kind: str
    options: tuple[str, ...]


def mounts(table: Path = Path("/proc/self/mounts")) -> list[Mount]:
    """Return what is mounted, in the order of mounting.

    Who mounts something of their own, as by FUSE, names it: the kernel escapes what parts lines and
    fields, ASCII's blank, tab and newline, and nothing else.
    """
    found = []
    for line in table.read_bytes().split(b"\n"):
        fields = [os.fsdecode(_unescape(field)) for field in line.split(b" ")[:4]]
        if len(fields) == 4:
            source, point, kind, options = fields
            found.append(Mount(source, Path(point), kind, tuple(options.split(","))))
    return found


def cgroup_of(process: Path) -> str | None:
    """Return the path of a process's cgroup of version 2, by its folder in /proc; None: it has none.

    Names may have any character but a newline. Raise OSError.
    """
    lines = (process / "cgroup").read_bytes().split(b"\n")
    return next((os.fsdecode(line[3:]) for line in lines if line.startswith(b"0::")), None)


def cgroup_root(table: list[Mount] | None = None) -> Path:
    """Return where the cgroup v2 tree is mounted; raise KernelError where only v1 is."""
    table = mounts() if table is None else table
    for mount in table:
        if mount.kind == "cgroup2":
            return mount.point
    if any(mount.kind == "cgroup" for mount in table):
        raise KernelError(
            "Only cgroup v1 is mounted here; programs attach to cgroup v2. Mount it beside v1: "
            "`mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified`, "
            "or boot with systemd.unified_cgroup_hierarchy=1."
        )
    raise KernelError(
        "No cgroup file system is mounted. Mount version 2: "
        "`mount -t cgroup2 none /sys/fs/cgroup`; in a container, mount the host's."
    )


def cgroup_to_attach(wanted: Path | None) -> Path:
    """Return the cgroup v2 directory to attach to: `wanted`, or the root of the tree.

    Raise KernelError if `wanted` is no directory of a cgroup v2 tree.
    """
    root = cgroup_root()
    if wanted is None:
        return root
    if not (wanted / "cgroup.controllers").is_file():
        raise KernelError(
            f"{wanted} is no cgroup v2 directory. Give one below {root}, "
            "or leave the setting cgroup away to observe the whole host."
        )
    return wanted


def bpffs_of(path: Path, table: list[Mount] | None = None) -> Path | None:
    """Return the mount point of the BPF file system that `path` lies on, or None."""
    table = mounts() if table is None else table
    path = Path(os.path.realpath(path))
    over = [m for m in table if path.is_relative_to(m.point)]
    deepest = max(over, key=lambda m: len(m.point.parts), default=None)
    latest = [m for m in over if deepest and m.point == deepest.point]
    return latest[-1].point if latest and latest[-1].kind == "bpf" else None


def mount_bpffs() -> None:
    """Mount the BPF file system at /sys/fs/bpf; raise OSError if that is not allowed."""
    BPFFS.mkdir(exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(BPFFS), b"bpf", 0, b"mode=0700"):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def capabilities() -> set[str]:
    """Return the names of the effective capabilities that matter here."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    bits = int(found[1], 16) if found else 0
    return {name for name, bit in CAPABILITIES.items() if bits >> bit & 1}


def missing_capabilities(have: set[str]) -> list[str]:
    """Return which capabilities are missing to load and attach the programs."""
    if "CAP_SYS_ADMIN" in have:  # before 5.8 the only one; it still stands for the others
        return [] if "CAP_NET_ADMIN" in have else ["CAP_NET_ADMIN"]
    return sorted({"CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"} - have)


def raise_memlock() -> tuple[int, int]:
    """Raise the limit of locked memory as far as allowed; return (soft, hard), -1 for none."""
    with suppress(ValueError, OSError):
        resource.setrlimit(
            resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
    with suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)


def wait_for_runs() -> None:
    """Return when no program that runs now was started before the call.

    membarrier(2) with MEMBARRIER_CMD_GLOBAL waits for an RCU grace period, and programs run inside
    a reader's section. Kernels with nohz_full refuse it: there a second is waited.
    """
    number = _MEMBARRIER.get(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    if number is None or libc.syscall(number, _MEMBARRIER_CMD_GLOBAL, 0, 0):
        time.sleep(_LONGER_THAN_ANY_RUN)


def sockets_of(process: Path) -> Iterator[tuple[int, int]]:
    """Yield descriptor and inode of each socket that a process has open, by its folder in /proc."""
    with suppress(OSError), os.scandir(process / "fd") as entries:
        for entry in entries:
            with suppress(OSError):
                target = os.readlink(entry.path)  # noqa: PTH115 - thousands of them: no Path each
                if target.startswith("socket:["):
                    yield int(entry.name), int(target[8:-1])


def enter_network(namespace: int) -> None:
    """Have this thread, and no other, be in a network namespace, by its descriptor; raise OSError.

    It takes CAP_SYS_ADMIN. A thread that is started from it begins there.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def explain(e: OSError, doing: str) -> KernelError:
    """Return an error for a failed file operation, with what to do about it."""
    remedy = {
        errno.EPERM: "Run as root (sudo).",
        errno.EACCES: "Run as root (sudo).",
        errno.ENOSPC: "The file system is full: free some space and try again.",
        errno.EROFS: "The file system is mounted read-only: mount it read-write.",
        errno.EMFILE: "Too many files are open: raise LimitNOFILE.",
        errno.ENOMEM: "The memory limit is reached: lower max_series, or raise the limit.",
    }.get(e.errno or 0, "`axon doctor` may say more.")
    return KernelError(f"Cannot {doing}: {e.strerror}. {remedy}")


def _unescape(field: bytes) -> bytes:
    return re.sub(rb"\\([0-3][0-7]{2})", lambda m: bytes([int(m[1], 8)]), field)
