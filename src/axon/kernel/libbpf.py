"""libbpf.so.1 by ctypes: the functions that are called, their types, and its messages.

From libbpf 1.0 a call that returns an int returns -errno, and one that returns a pointer NULL with
errno set. The last structure argument of many calls begins with its own size, so that libraries
older and newer than these declarations take it.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_int,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache
from typing import Any, ClassVar

from axon.errors import KernelError

LEAST = (1, 1)

_MISSING = (
    "libbpf.so.1 was not found. Install it: apt install libbpf1 (Debian, Ubuntu), "
    "dnf install libbpf (Fedora)."
)

_PRINT = CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
_LINE = 4096


class OpenOpts(Structure):
    """struct bpf_object_open_opts, as far as it is used."""

    _fields_: ClassVar = [
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("_unused", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("kernel_log_buf", c_void_p),
        ("kernel_log_size", c_size_t),
        ("kernel_log_level", c_uint32),
    ]


class ProgLoadOpts(Structure):
    """struct bpf_prog_load_opts, as far as it is used."""

    _fields_: ClassVar = [
        ("sz", c_size_t),
        ("attempts", c_int),
        ("expected_attach_type", c_uint32),
        ("prog_btf_fd", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_ifindex", c_uint32),
        ("kern_version", c_uint32),
        ("attach_btf_id", c_uint32),
    ]


class LinkCreateOpts(Structure):
    """struct bpf_link_create_opts, as far as it is used."""

    _fields_: ClassVar = [
        ("sz", c_size_t),
        ("flags", c_uint32),
        ("iter_info", c_void_p),
        ("iter_info_len", c_uint32),
        ("target_btf_id", c_uint32),
    ]


class MapCreateOpts(Structure):
    """struct bpf_map_create_opts, as far as it is used."""

    _fields_: ClassVar = [
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
    ]


class TcHook(Structure):
    """struct bpf_tc_hook: one direction of an interface."""

    _fields_: ClassVar = [
        ("sz", c_size_t),
        ("ifindex", c_int),
        ("attach_point", c_int),
        ("parent", c_uint32),
    ]


class TcOpts(Structure):
    """struct bpf_tc_opts: a filter."""

    _fields_: ClassVar = [
        ("sz", c_size_t),
        ("prog_fd", c_int),
        ("flags", c_uint32),
        ("prog_id", c_uint32),
        ("handle", c_uint32),
        ("priority", c_uint32),
    ]


class TestRunOpts(Structure):
    """struct bpf_test_run_opts, as far as it is used."""

    _fields_: ClassVar = [
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    ]


_P = c_void_p
_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "libbpf_major_version": (c_uint32, ()),
    "libbpf_minor_version": (c_uint32, ()),
    "libbpf_set_print": (_P, (_PRINT,)),
    "libbpf_num_possible_cpus": (c_int, ()),
    "bpf_object__open_mem": (_P, (c_char_p, c_size_t, POINTER(OpenOpts))),
    "bpf_object__load": (c_int, (_P,)),
    "bpf_object__close": (None, (_P,)),
    "bpf_object__btf": (_P, (_P,)),
    "btf__raw_data": (_P, (_P, POINTER(c_uint32))),
    "bpf_object__next_map": (_P, (_P, _P)),
    "bpf_object__next_program": (_P, (_P, _P)),
    "bpf_map__name": (c_char_p, (_P,)),
    "bpf_map__fd": (c_int, (_P,)),
    "bpf_map__type": (c_int, (_P,)),
    "bpf_map__key_size": (c_uint32, (_P,)),
    "bpf_map__value_size": (c_uint32, (_P,)),
    "bpf_map__map_flags": (c_uint32, (_P,)),
    "bpf_map__max_entries": (c_uint32, (_P,)),
    "bpf_map__set_max_entries": (c_int, (_P, c_uint32)),
    "bpf_map__reuse_fd": (c_int, (_P, c_int)),
    "bpf_map__initial_value": (_P, (_P, POINTER(c_size_t))),
    "bpf_map__btf_key_type_id": (c_uint32, (_P,)),
    "bpf_map__btf_value_type_id": (c_uint32, (_P,)),
    "bpf_program__name": (c_char_p, (_P,)),
    "bpf_program__section_name": (c_char_p, (_P,)),
    "bpf_program__expected_attach_type": (c_int, (_P,)),
    "bpf_program__fd": (c_int, (_P,)),
    "bpf_program__set_autoload": (c_int, (_P, c_bool)),
    "bpf_prog_load": (
        c_int,
        (c_int, c_char_p, c_char_p, c_char_p, c_size_t, POINTER(ProgLoadOpts)),
    ),
    "bpf_prog_query": (c_int, (c_int, c_int, c_uint32, _P, _P, POINTER(c_uint32))),
    "bpf_prog_test_run_opts": (c_int, (c_int, POINTER(TestRunOpts))),
    "bpf_prog_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_map_get_next_id": (c_int, (c_uint32, POINTER(c_uint32))),
    "bpf_map_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_map_create": (
        c_int,
        (c_int, c_char_p, c_uint32, c_uint32, c_uint32, POINTER(MapCreateOpts)),
    ),
    "bpf_map_lookup_elem": (c_int, (c_int, _P, _P)),
    "bpf_map_update_elem": (c_int, (c_int, _P, _P, c_uint64)),
    "bpf_map_delete_elem": (c_int, (c_int, _P)),
    "bpf_map_lookup_and_delete_elem": (c_int, (c_int, _P, _P)),
    "bpf_map_get_next_key": (c_int, (c_int, _P, _P)),
    "bpf_map_lookup_batch": (c_int, (c_int, _P, _P, _P, _P, POINTER(c_uint32), _P)),
    "bpf_map_update_batch": (c_int, (c_int, _P, _P, POINTER(c_uint32), _P)),
    "bpf_map_delete_batch": (c_int, (c_int, _P, POINTER(c_uint32), _P)),
    "bpf_tc_hook_create": (c_int, (POINTER(TcHook),)),
    "bpf_tc_attach": (c_int, (POINTER(TcHook), POINTER(TcOpts))),
    "bpf_tc_detach": (c_int, (POINTER(TcHook), POINTER(TcOpts))),
    "bpf_tc_query": (c_int, (POINTER(TcHook), POINTER(TcOpts))),
    "bpf_btf_load": (c_int, (c_char_p, c_size_t, _P)),
    "bpf_btf_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_obj_get": (c_int, (c_char_p,)),
    "bpf_obj_pin": (c_int, (c_int, c_char_p)),
    "bpf_obj_get_info_by_fd": (c_int, (c_int, _P, POINTER(c_uint32))),
    "bpf_link_create": (c_int, (c_int, c_int, c_int, POINTER(LinkCreateOpts))),
    "bpf_iter_create": (c_int, (c_int,)),
    "libbpf_find_vmlinux_btf_id": (c_int, (c_char_p, c_int)),
    "bpf_link_update": (c_int, (c_int, c_int, _P)),
    "bpf_link_detach": (c_int, (c_int,)),
    "bpf_enable_stats": (c_int, (c_int,)),
}

messages: deque[str] = deque(maxlen=64)
"""The latest lines that libbpf had to say, warnings and plain information."""


@cache
def lib() -> ctypes.CDLL:
    """Load libbpf once; raise KernelError if it is missing or too old."""
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except OSError as e:
        raise KernelError(_MISSING) from e
    except AttributeError as e:
        raise KernelError(f"libbpf.so.1 is older than {_text(LEAST)}: upgrade it.") from e
    version = library.libbpf_major_version(), library.libbpf_minor_version()
    if version < LEAST:
        raise KernelError(
            f"libbpf.so.1 is version {_text(version)}, needed is {_text(LEAST)}: upgrade it."
        )
    library.libbpf_set_print(_keep)
    return library


def version() -> str:
    """Return the version of the library that is loaded, as `1.1`."""
    return f"{lib().libbpf_major_version()}.{lib().libbpf_minor_version()}"


def check(result: int) -> int:
    """Return `result`, or raise OSError for -errno."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def pointer(result: int | None) -> int:
    """Return `result`, or raise OSError with errno for NULL."""
    if not result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def sized(opts: Any) -> Any:
    """Return a pointer to `opts` with its size filled in."""
    opts.sz = ctypes.sizeof(opts)
    return ctypes.byref(opts)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.vsnprintf.argtypes = (c_void_p, c_size_t, c_char_p, c_void_p)
    return libc


def _receive(level: int, template: bytes, arguments: int) -> int:
    """Format one of libbpf's messages. A va_list is passed by reference on x86-64 and arm64."""
    debug = 2
    if level < debug:
        line = ctypes.create_string_buffer(_LINE)
        _libc().vsnprintf(line, _LINE, template, arguments)
        messages.append(line.value.decode(errors="replace").rstrip())
    return 0


_keep = _PRINT(_receive)
