"""What this kernel can do, found by trying. Nothing here attaches anything or stays behind.

Each probe returns normally where the kernel has the feature and raises OSError where it has not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from axon.kernel import bpf, diag, tc
from axon.kernel.insn import FP as FRAME
from axon.kernel.insn import (
    GET_CURRENT_TASK,
    PROBE_READ_KERNEL,
    R0,
    R1,
    R2,
    R3,
    R4,
    SK_STORAGE_GET,
    add,
    call,
    copy,
    leave,
    load64,
    load_map,
    mov,
    skip_unless_zero,
)
from axon.kernel.libbpf import check, lib
from axon.kernel.maps import Map

_NO_PREALLOC, _MMAPABLE = 1, 1 << 10
_NAME = "ax_probe"
_PASS = mov(R0, 1) + leave()
_OFFSET_SK = 168  # of struct __sk_buff
_OFFSET_ITER_SK = 16  # of struct bpf_iter__bpf_sk_storage_map
_OVER = "bpf_sk_storage_map"
_CLONE_NEWNET = 0x4000_0000
_LOOPBACK = 1  # its index in every network namespace


def hash_map() -> None:
    """Create a plain map: what even the oldest kernels can, if we are allowed to."""
    bpf.map_create(bpf.MAP_HASH, _NAME, 8, 8, 1).close()


def large_map(size: int) -> None:
    """Create a map that takes more than `size` bytes, to see whether a limit applies."""
    bpf.map_create(bpf.MAP_ARRAY, _NAME, 4, 4096, size // 4096 + 16).close()


def attach(cgroup: Path) -> None:
    """Attach a program that lets everything pass to a cgroup, for a moment."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with (
        bpf.Fd(os.open(cgroup, flags)) as target,
        bpf.prog_load(bpf.PROG_CGROUP_SKB, _NAME, _PASS, bpf.ATTACH_INGRESS) as program,
    ):
        bpf.link_create(program, target.fileno(), bpf.ATTACH_INGRESS).close()


def mapped_array() -> None:
    """Create an array that can be mapped into a process (5.5)."""
    bpf.map_create(bpf.MAP_ARRAY, _NAME, 4, 8, 1, flags=_MMAPABLE).close()


def ring_buffer() -> None:
    """Create a ring buffer (5.8)."""
    bpf.map_create(bpf.MAP_RINGBUF, _NAME, 0, 0, 4096).close()


def batch() -> None:
    """Look up a hash by batch (5.6)."""
    with bpf.map_create(bpf.MAP_HASH, _NAME, 8, 8, 4) as fd:
        Map(fd, np.dtype("u8"), np.dtype("u8")).items_by_batch()


def cgroup_links() -> None:
    """Ask for a link to a cgroup that cannot exist (5.7): a kernel without links says EINVAL."""
    with bpf.prog_load(bpf.PROG_CGROUP_SKB, _NAME, _PASS, bpf.ATTACH_INGRESS) as program:
        try:
            bpf.link_create(program, -1, bpf.ATTACH_INGRESS).close()
        except OSError as e:
            if e.errno != errno.EBADF:
                raise


def storage_in_packets() -> None:
    """Load a cgroup_skb program that asks for a socket's storage (5.2)."""
    with _storage() as fd:
        code = (
            load64(R2, R1, _OFFSET_SK)
            + skip_unless_zero(R2, len(_PASS) // 8)
            + _PASS
            + _get_storage(fd)
            + _PASS
        )
        bpf.prog_load(bpf.PROG_CGROUP_SKB, _NAME, code, bpf.ATTACH_INGRESS).close()


def storage_at_release() -> None:
    """Load a cgroup/sock_release program that asks for its socket's storage (5.10)."""
    with _storage() as fd:
        code = copy(R2, R1) + _get_storage(fd) + _PASS
        bpf.prog_load(bpf.PROG_CGROUP_SOCK, _NAME, code, bpf.ATTACH_SOCK_RELEASE).close()


def iterate_storage() -> None:
    """Visit sockets' storage by a program that asks for a socket's other storage (5.11)."""
    leave_at_once = mov(R0, 0) + leave()
    with _storage() as fd:
        code = (
            load64(R2, R1, _OFFSET_ITER_SK)
            + skip_unless_zero(R2, len(leave_at_once) // 8)
            + leave_at_once
            + _get_storage(fd)
            + leave_at_once
        )
        over = bpf.iterator_id(_OVER)
        with (
            bpf.prog_load(bpf.PROG_TRACING, _NAME, code, bpf.ATTACH_TRACE_ITER, over) as program,
            bpf.iterator_link(program, fd) as link,
            bpf.iterator(link) as file,
        ):
            os.read(file.fileno(), 1)


def read_task() -> None:
    """Load a cgroup/connect4 program that reads the current task (5.9, CAP_PERFMON)."""
    code = (
        call(GET_CURRENT_TASK)
        + copy(R3, R0)
        + copy(R1, FRAME)
        + add(R1, -8)
        + mov(R2, 8)
        + call(PROBE_READ_KERNEL)
        + _PASS
    )
    bpf.prog_load(bpf.PROG_CGROUP_SOCK_ADDR, _NAME, code, bpf.ATTACH_CONNECT4).close()


def filters_on_interfaces() -> None:
    """Attach a filter to the loopback device of a network namespace that is made for that (4.5)."""
    with ThreadPoolExecutor(1) as alone:
        alone.submit(_attach_filter_elsewhere).result()


def _attach_filter_elsewhere() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):  # of this thread alone; it goes with it
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    point = tc.Point(_LOOPBACK)
    with bpf.prog_load(bpf.PROG_SCHED_CLS, _NAME, _PASS) as program:
        tc.attach(point, program)
        if tc.attached(point) != bpf.prog_info(program).id:
            raise OSError(errno.ENOENT, "the filter is not there")
        tc.detach(point)


def ended_sockets() -> None:
    """Have the kernel end a socket of our own, a listener that nobody has been told of (4.5)."""
    address = "127.0.0.1"
    with socket.socket() as sock:
        sock.bind((address, 0))
        sock.listen(1)
        port, local = sock.getsockname()[1], socket.inet_aton(address)
        ours = diag.Socket(socket.AF_INET, local, port, bytes(4), 0, diag.cookie(sock))
        if not diag.end(ours):
            raise OSError(errno.ENOENT, "the kernel does not find sockets by sock_diag")


def _get_storage(fd: bpf.Fd) -> bytes:
    return load_map(R1, fd.fileno()) + mov(R3, 0) + mov(R4, 0) + call(SK_STORAGE_GET)


def _storage() -> bpf.Fd:
    """Create socket storage, which wants its types described: a BTF of one int does."""
    names = b"\0int\0"
    size, signed_bits = 4, 1 << 24 | 32
    types = struct.pack("=IIII", 1, 1 << 24, size, signed_bits)
    header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(names))
    data = header + types + names
    with bpf.Fd(check(lib().bpf_btf_load(data, len(data), None))) as btf:
        return bpf.map_create(
            bpf.MAP_SK_STORAGE,
            _NAME,
            4,
            4,
            0,
            flags=_NO_PREALLOC,
            btf_fd=btf.fileno(),
            btf_key_type_id=1,
            btf_value_type_id=1,
        )
