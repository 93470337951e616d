"""The rows of `axon doctor`: what is looked at, and what to do where it is missing."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from axon.errors import KernelError
from axon.kernel import bpf, libbpf, probes, system
from axon.kernel.object import KERNEL_BTF, load_abi, packaged
from axon.settings import Settings

_JIT = Path("/proc/sys/net/core/bpf_jit_enable")

_PROGRAMS = 4 << 20  # bytes: more than all programs take beside the maps


@dataclass(frozen=True, slots=True)
class Check:
    """How a row comes about. `look` returns the detail, or raises OSError or AxonError."""

    name: str
    look: Callable[[Settings], str]
    remedy: str
    without: str = ""  # what does not work without it; empty: nothing works
    capability: str = ""  # that trying takes beside those of the row `privileges`

    @property
    def by_anybody(self) -> bool:
        """Whether trying takes no privileges."""
        return self.look in _UNPRIVILEGED

    @property
    def is_object(self) -> bool:
        """Whether it is the object with the kernel programs that is looked at."""
        return self.look is _object


def _try(attempt: Callable[[], None], found: str = "works") -> Callable[[Settings], str]:
    def look(_settings: Settings) -> str:
        attempt()
        return found

    return look


def _privileges(_settings: Settings) -> str:
    have = system.capabilities()
    missing = system.missing_capabilities(have)
    if missing:
        raise KernelError(
            "Loading programs into the kernel needs root: run it with sudo, or as a service with "
            f"the capabilities {', '.join(missing)}."
        )
    return ", ".join(sorted(have))


def _libbpf(_settings: Settings) -> str:
    return f"libbpf {libbpf.version()}"


def _object(_settings: Settings) -> str:
    load_abi()
    return str(packaged())


def _cgroup(settings: Settings) -> str:
    return str(system.cgroup_to_attach(settings.cgroup))


def _bpffs(settings: Settings) -> str:
    if system.bpffs_of(settings.pin_dir) is None:
        if not settings.pin_dir.is_relative_to(system.BPFFS):
            raise KernelError(
                f"The pin directory {settings.pin_dir} is not on a BPF file system: "
                f"choose one below {system.BPFFS}."
            )
        if "CAP_SYS_ADMIN" not in system.capabilities():
            raise KernelError(
                f"No BPF file system is mounted at {system.BPFFS}: "
                f"run `mount -t bpf bpf {system.BPFFS}` as root."
            )
        return f"not mounted yet: the agent mounts it at {system.BPFFS}"
    return str(settings.pin_dir)


def _locked_memory(settings: Settings) -> str:
    soft, _hard = system.raise_memlock()
    if soft < 0:
        return "unlimited"
    if soft > settings.max_memory + _PROGRAMS:
        return f"limit of {soft >> 20} MiB"
    try:
        probes.large_map(soft)
    except OSError as e:
        if e.errno != errno.EPERM:
            raise
        raise KernelError(
            f"This kernel counts maps as locked memory, and the limit is {soft >> 10} KiB: raise "
            "it by `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the systemd unit."
        ) from e
    return f"limit of {soft >> 10} KiB, which maps do not count for"


def _tcp_state(_settings: Settings) -> str:
    KERNEL_BTF.stat()
    return "can be read"


def _kernel_btf(_settings: Settings) -> str:
    KERNEL_BTF.stat()
    return str(KERNEL_BTF)


def _jit(_settings: Settings) -> str:
    if _JIT.read_text().strip() == "0":
        raise OSError(errno.ENOSYS, "switched off")
    return "on"


def _attach(settings: Settings) -> str:
    cgroup = system.cgroup_to_attach(settings.cgroup)
    try:
        probes.attach(cgroup)
    except OSError as e:
        if e.errno not in {errno.EPERM, errno.E2BIG}:
            raise
        raise KernelError(
            f"Other software's programs at {cgroup} leave no room for ours: `bpftool cgroup tree` "
            "shows them."
        ) from e
    return f"programs can be attached to {cgroup}"


def _ended_sockets(_settings: Settings) -> str:
    probes.ended_sockets()
    if "CAP_SYS_ADMIN" in system.capabilities():
        return "works, in other network namespaces too"
    return "works in this network namespace; in others it takes CAP_SYS_ADMIN"


def _run_times(_settings: Settings) -> str:
    bpf.enable_stats().close()
    return "can be measured"


_UNPRIVILEGED = {_privileges, _libbpf, _object, _cgroup, _bpffs, _tcp_state, _kernel_btf, _jit}
_NEWER = "Run Linux 5.10 or newer."
TYPES = (
    "Run a kernel built with CONFIG_DEBUG_INFO_BTF=y, as those of Debian 11, Ubuntu 20.10, RHEL 8.2, "
    "Fedora 31 and later are; a container has to see the host's /sys/kernel/btf."
)
"""What to do where the kernel's types are not known."""

CHECKS = (
    Check("privileges", _privileges, ""),
    Check("libbpf", _libbpf, ""),
    Check("kernel programs", _object, ""),
    Check("cgroup v2", _cgroup, ""),
    Check("BPF file system", _bpffs, ""),
    Check(
        "BPF maps",
        _try(probes.hash_map),
        "Run as the host's root, not one of a container's user namespace; the kernel needs "
        "CONFIG_BPF_SYSCALL, and a container a seccomp profile that allows bpf().",
    ),
    Check("locked memory", _locked_memory, ""),
    Check("mapped arrays", _try(probes.mapped_array), _NEWER),
    Check("ring buffer", _try(probes.ring_buffer), _NEWER),
    Check("socket storage", _try(probes.storage_in_packets), _NEWER),
    Check("cgroup links", _try(probes.cgroup_links), _NEWER),
    Check("attachment", _attach, "Is the kernel built with CONFIG_CGROUP_BPF?"),
    Check(
        "filters (tc)",
        _try(probes.filters_on_interfaces, "can be attached to interfaces"),
        "Load the module sch_ingress, and cls_bpf; the kernel needs CONFIG_NET_CLS_ACT, "
        "CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF.",
        "policies cannot answer: what arrives for a workload with policies is dropped, and its "
        "connection ended",
        "CAP_SYS_ADMIN",
    ),
    Check(
        "ending sockets",
        _ended_sockets,
        "The kernel needs CONFIG_INET_DIAG_DESTROY, and the module tcp_diag.",
        "what is dropped unjudged is not answered by a reset: its client waits until it gives up",
    ),
    Check(
        "socket release",
        _try(probes.storage_at_release),
        _NEWER,
        "connections that die without a packet are not closed in the books",
    ),
    Check(
        "socket iterator",
        _try(probes.iterate_storage),
        "Run Linux 5.11 or newer, built with CONFIG_DEBUG_INFO_BTF.",
        "requests in flight and open connections are not told",
    ),
    Check(
        "TCP's state",
        _tcp_state,
        TYPES,
        "policies cannot know what TCP holds of a connection, and an agent with policies refuses to "
        "start",
    ),
    Check("kernel BTF", _kernel_btf, TYPES, "a thread's name stands for its process's"),
    Check(
        "process names",
        _try(probes.read_task),
        "Give the agent CAP_PERFMON, and do not run the kernel in lockdown confidentiality mode.",
        "a thread's name stands for its process's",
    ),
    Check(
        "batch look-ups", _try(probes.batch), _NEWER, "tables are read entry by entry, more slowly"
    ),
    Check(
        "JIT compiler",
        _jit,
        "`sysctl net.core.bpf_jit_enable=1`",
        "programs are interpreted, which costs several times as much",
    ),
    Check(
        "run times",
        _run_times,
        "Try as root. The agent does without; `sysctl kernel.bpf_stats_enabled=1` has it measured.",
        "the programs' own time cannot be measured",
    ),
)
