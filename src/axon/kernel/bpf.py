"""The bpf() system call's objects: descriptors, pins, links, programs, and what the kernel knows."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from contextlib import suppress
from ctypes import Structure, c_char, c_uint8, c_uint32, c_uint64
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from axon.kernel.libbpf import (
    LinkCreateOpts,
    MapCreateOpts,
    ProgLoadOpts,
    TestRunOpts,
    check,
    lib,
    sized,
)

# enum bpf_map_type, bpf_prog_type and bpf_attach_type of the kernel's UAPI, as far as they are used.
MAP_HASH, MAP_ARRAY = 1, 2
MAP_PERCPU_HASH, MAP_PERCPU_ARRAY = 5, 6
MAP_LRU_HASH, MAP_LRU_PERCPU_HASH = 9, 10
MAP_SOCKMAP, MAP_SOCKHASH = 15, 18
MAP_QUEUE, MAP_STACK, MAP_SK_STORAGE, MAP_RINGBUF = 22, 23, 24, 27
PROG_SOCKET_FILTER, PROG_SCHED_CLS = 1, 3
PROG_CGROUP_SKB, PROG_CGROUP_SOCK, PROG_CGROUP_SOCK_ADDR = 8, 9, 18
PROG_TRACING = 26
ATTACH_INGRESS, ATTACH_CONNECT4, ATTACH_TRACE_ITER, ATTACH_SOCK_RELEASE = 0, 10, 28, 34

NOEXIST, EXIST = 1, 2
_STATS_RUN_TIME = 0
_NAME = 16


class MapInfo(Structure):
    """struct bpf_map_info."""

    _fields_: ClassVar = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", c_char * _NAME),
        ("ifindex", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("btf_id", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("_pad", c_uint32),
        ("map_extra", c_uint64),
    ]


class ProgInfo(Structure):
    """struct bpf_prog_info; fields the kernel does not know stay 0."""

    _fields_: ClassVar = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * _NAME),
        ("ifindex", c_uint32),
        ("_flags", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
        ("line_info", c_uint64),
        ("jited_line_info", c_uint64),
        ("nr_jited_line_info", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32),
        ("prog_tags", c_uint64),
        ("run_time_ns", c_uint64),
        ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64),
        ("verified_insns", c_uint32),
        ("_pad", c_uint32),
    ]


class LinkInfo(Structure):
    """struct bpf_link_info of a link to a cgroup; `cgroup_id` is 0 once it is detached."""

    _fields_: ClassVar = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("_pad", c_uint32),
        ("cgroup_id", c_uint64),
        ("attach_type", c_uint32),
        ("_pad2", c_uint32 * 15),
    ]


class _BtfInfo(Structure):
    _fields_: ClassVar = [
        ("btf", c_uint64),
        ("btf_size", c_uint32),
        ("id", c_uint32),
        ("name", c_uint64),
        ("name_len", c_uint32),
        ("kernel_btf", c_uint32),
    ]


class Fd:
    """A file descriptor that is closed once: by close(), at the end of `with`, or when forgotten."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """Return the number, -1 if closed."""
        return self._number

    def close(self) -> None:
        """Close it; more than once is no error."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


_Info = TypeVar("_Info", bound=Structure)


def _info(fd: Fd, info: _Info) -> _Info:
    size = c_uint32(ctypes.sizeof(info))
    check(lib().bpf_obj_get_info_by_fd(fd.fileno(), ctypes.byref(info), ctypes.byref(size)))
    return info


def map_info(fd: Fd) -> MapInfo:
    """Return what the kernel knows of a map."""
    return _info(fd, MapInfo())


def link_info(fd: Fd) -> LinkInfo:
    """Return what the kernel knows of a link."""
    return _info(fd, LinkInfo())


def prog_info(fd: Fd) -> ProgInfo:
    """Return what the kernel knows of a program."""
    return _info(fd, ProgInfo())


def fd_info(fd: Fd) -> dict[str, int]:
    """Return the numbers in /proc about a map or program; `memlock` is its size in bytes."""
    text = Path(f"/proc/self/fdinfo/{fd.fileno()}").read_text()
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name: int(value) for name, value in pairs if value.strip().isdecimal()}


def prog_map_ids(fd: Fd) -> set[int]:
    """Return the ids of the maps that a program uses."""
    count = prog_info(fd).nr_map_ids
    ids = (c_uint32 * max(count, 1))()
    _info(fd, ProgInfo(nr_map_ids=count, map_ids=ctypes.addressof(ids)))
    return set(ids[:count])


def btf_bytes(btf_id: int) -> bytes:
    """Return the BTF that the kernel keeps under an id."""
    with Fd(check(lib().bpf_btf_get_fd_by_id(btf_id))) as fd:
        data = ctypes.create_string_buffer(_info(fd, _BtfInfo()).btf_size)
        _info(fd, _BtfInfo(btf=ctypes.addressof(data), btf_size=len(data)))
    return data.raw


def prog_by_id(prog_id: int) -> Fd:
    """Return a descriptor of the program with this id."""
    return Fd(check(lib().bpf_prog_get_fd_by_id(prog_id)))


def maps_of(*kinds: int) -> list[str]:
    """Return the name of every map of some kinds that the kernel has, whoever holds it.

    Raise OSError where it may not be asked.
    """
    names = []
    number = c_uint32()
    while (result := lib().bpf_map_get_next_id(number, ctypes.byref(number))) != -errno.ENOENT:
        check(result)
        with suppress(FileNotFoundError), Fd(check(lib().bpf_map_get_fd_by_id(number))) as fd:
            info = map_info(fd)
            if info.type in kinds:
                names.append(info.name.decode(errors="replace"))
    return names


def obj_get(path: Path) -> Fd:
    """Open what is pinned at `path`."""
    return Fd(check(lib().bpf_obj_get(os.fsencode(path))))


def obj_pin(fd: Fd, path: Path) -> None:
    """Pin a map, program or link."""
    check(lib().bpf_obj_pin(fd.fileno(), os.fsencode(path)))


def map_create(
    kind: int, name: str, key: int, value: int, entries: int, *, flags: int = 0, **btf: int
) -> Fd:
    """Create a map; sizes in bytes. `btf` names btf_fd and the type ids where the kind needs them."""
    opts = MapCreateOpts(map_flags=flags, **btf)
    return Fd(check(lib().bpf_map_create(kind, name.encode(), key, value, entries, sized(opts))))


def prog_load(kind: int, name: str, code: bytes, attach_type: int = 0, attach_id: int = 0) -> Fd:
    """Load a program from its bytecode. `attach_id` is a type of the kernel's BTF."""
    opts = ProgLoadOpts(expected_attach_type=attach_type, attach_btf_id=attach_id)
    return Fd(
        check(lib().bpf_prog_load(kind, name.encode(), b"GPL", code, len(code) // 8, sized(opts)))
    )


def test_run(fd: Fd) -> int:
    """Run a packet program once on an empty packet and return its result."""
    packet = ctypes.create_string_buffer(64)
    opts = TestRunOpts(data_in=ctypes.addressof(packet), data_size_in=64, repeat=1)
    check(lib().bpf_prog_test_run_opts(fd.fileno(), sized(opts)))
    return int(opts.retval)


def link_create(prog: Fd, target: int, attach_type: int) -> Fd:
    """Attach a program to a cgroup's descriptor."""
    return Fd(check(lib().bpf_link_create(prog.fileno(), target, attach_type, None)))


def iterator_id(over: str) -> int:
    """Return the type in the kernel's BTF that programs of an iterator are loaded for."""
    return check(lib().libbpf_find_vmlinux_btf_id(over.encode(), ATTACH_TRACE_ITER))


def iterator_link(prog: Fd, over: Fd) -> Fd:
    """Have a program visit the entries of a map whenever an `iterator` of the link is read."""
    info = c_uint32(over.fileno())
    opts = LinkCreateOpts(iter_info=ctypes.addressof(info), iter_info_len=ctypes.sizeof(info))
    return Fd(check(lib().bpf_link_create(prog.fileno(), 0, ATTACH_TRACE_ITER, sized(opts))))


def iterator(link: Fd) -> Fd:
    """Return a file; reading it to its end visits every entry once."""
    return Fd(check(lib().bpf_iter_create(link.fileno())))


def link_update(link: Fd, prog: Fd) -> None:
    """Put another program in the place of a link's, without a moment between."""
    check(lib().bpf_link_update(link.fileno(), prog.fileno(), None))


def link_detach(link: Fd) -> None:
    """Detach a link, whoever else holds it."""
    check(lib().bpf_link_detach(link.fileno()))


def attached_count(target: int, attach_type: int) -> int:
    """Return how many programs are attached to an interface's hook; 0 where the kernel has none."""
    count = c_uint32()
    lib().bpf_prog_query(target, attach_type, 0, None, None, ctypes.byref(count))
    return count.value


def attached_names(target: int, attach_type: int) -> list[str]:
    """Return the names of the programs that are attached to an interface's hook, in their order; those that the kernel
    does not tell of are called by their ids.
    """
    count = c_uint32(attached_count(target, attach_type))
    ids = (c_uint32 * max(count.value, 1))()
    if lib().bpf_prog_query(target, attach_type, 0, None, ids, ctypes.byref(count)):
        return []
    return [_name_of(number) for number in ids[: count.value]]


def _name_of(number: int) -> str:
    try:
        with prog_by_id(number) as program:
            name: bytes = prog_info(program).name
    except OSError:
        return f"with the id {number}"
    return name.decode(errors="replace")


def enable_stats() -> Fd:
    """Have the kernel time every program's runs, until the descriptor is closed."""
    return Fd(check(lib().bpf_enable_stats(_STATS_RUN_TIME)))


def possible_cpus() -> int:
    """Return for how many CPUs the kernel keeps per-CPU data."""
    return int(check(lib().libbpf_num_possible_cpus()))


def address(array: Any) -> int:
    """Return where a numpy array's data begins."""
    return int(array.__array_interface__["data"][0])


def monotonic_ns() -> int:
    """Return the time as programs see it."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
