"""What Axon cannot see on this host: looked for, so that nobody has to guess.

Each test reads files below /proc and /sys; `root` stands for / so that tests can lay out a host.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_STREAM_LISTENING: Final = re.compile(r"^\S+ \S+ \S+ 00010000 0001 ", re.MULTILINE)
_SOCKMAPS: Final = re.compile(r"^map_type:\s+(15|18)$", re.MULTILINE)  # SOCKMAP, SOCKHASH
_OWN_STACK: Final = ("runsc", "runsc-sandbox", "containerd-shim-runsc-v1")
_OWN_KERNEL: Final = ("containerd-shim-kata-v2", "cloud-hypervisor", "firecracker")


Here = Literal["here", "absent", "unknown"]
PRESENT: Final = "here"
ABSENT: Final = "absent"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Unseen:
    """Something that is not seen or not read, and whether it is on this host."""

    name: str
    here: Here
    detail: str


def look(
    root: Path = Path("/"),
    counters: Mapping[str, int] | None = None,
    sockmaps: Collection[str] | None = None,
) -> list[Unseen]:
    """Return everything that is not seen, and whether it is on this host.

    `counters` are a running agent's, for what only traffic can tell; `sockmaps` the names of the
    kernel's maps that redirect sockets, None if it may not be asked.
    """
    return [
        _unix(root),
        _sockmap(root, sockmaps),
        _smc(root),
        _guests(root, "gVisor", _OWN_STACK, "a network stack of their own"),
        _guests(root, "Kata, other VMs", _OWN_KERNEL, "a kernel of their own"),
        _mptcp(root),
        _counted("TLS", "conn_tls", counters),
        _counted("HTTP/2", "conn_http2", counters),
    ]


def _unix(root: Path) -> Unseen:
    text = _read(root / "proc/net/unix")
    if text is None:
        return Unseen("UNIX sockets", UNKNOWN, "HTTP over them does not pass the hooks")
    number = len(_STREAM_LISTENING.findall(text))
    if not number:
        return Unseen("UNIX sockets", ABSENT, "none listen here")
    return Unseen(
        "UNIX sockets", PRESENT, f"{number} listen here; HTTP over them does not pass the hooks"
    )


def _sockmap(root: Path, maps: Collection[str] | None) -> Unseen:
    name = "sockmap"
    effect = "data that it redirects does not pass the hooks"
    owners = set()
    for process in _processes(root):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) != "anon_inode:bpf-map":
                        continue
                    if _SOCKMAPS.search(_read(process / "fdinfo" / descriptor.name) or ""):
                        owners.add((_read(process / "comm") or process.name).strip())
    if owners:
        return Unseen(name, PRESENT, f"held by {', '.join(sorted(owners))}: {effect}")
    if maps is None:
        return Unseen(name, UNKNOWN, f"root may ask the kernel for its maps; {effect}")
    if maps:
        # pinned, or used by a program that is attached
        names = ", ".join(sorted({one or "a map without a name" for one in maps}))
        return Unseen(name, PRESENT, f"{names}, which no process holds: {effect}")
    return Unseen(name, ABSENT, "the kernel has no map that redirects sockets")


def _smc(root: Path) -> Unseen:
    if not (root / "sys/module/smc").exists():
        return Unseen("SMC", ABSENT, "its module is not loaded")
    return Unseen("SMC", PRESENT, "loaded: data it takes off TCP (shared memory, RDMA) is not seen")


def _guests(root: Path, name: str, programs: tuple[str, ...], what: str) -> Unseen:
    running = 0
    for process in _processes(root):
        command = (_read(process / "cmdline") or "").split("\0", 1)[0].rpartition("/")[2]
        running += command in programs
        running += programs is _OWN_KERNEL and command.startswith("qemu-system-")
    if not running:
        return Unseen(name, ABSENT, "none runs here")
    return Unseen(name, PRESENT, f"{running} running, with {what}: not seen from inside")


def _mptcp(root: Path) -> Unseen:
    if (_read(root / "proc/sys/net/mptcp/enabled") or "0").strip() == "0":
        return Unseen("Multipath TCP", ABSENT, "switched off, or not in this kernel")
    used = _netstat(root, "MPTcpExt", "MPCapableSYNRX") + _netstat(
        root, "MPTcpExt", "MPCapableSYNTX"
    )
    if not used:
        return Unseen("Multipath TCP", ABSENT, "switched on, but no connection has used it")
    return Unseen(
        "Multipath TCP", PRESENT, f"{used} connections so far: requests over several paths are lost"
    )


def _netstat(root: Path, family: str, name: str) -> int:
    """Return a counter of /proc/net/netstat, which has pairs of lines: names, then values."""
    lines = (_read(root / "proc/net/netstat") or "").splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        if names.startswith(f"{family}:"):
            return int(dict(zip(names.split(), values.split(), strict=False)).get(name, 0))
    return 0


def _counted(name: str, counter: str, counters: Mapping[str, int] | None) -> Unseen:
    if counters is None:
        return Unseen(
            name, UNKNOWN, "recognised and counted, not read; a running agent says how many"
        )
    number = counters.get(counter, 0)
    if not number:
        return Unseen(name, ABSENT, "no connection so far")
    return Unseen(name, PRESENT, f"{number} connections so far, recognised and not read")


def _processes(root: Path) -> Iterator[Path]:
    return (path for path in (root / "proc").iterdir() if path.name.isdigit())


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
