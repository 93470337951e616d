"""What this process itself costs, and where it runs."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import resource
import time
from contextlib import suppress
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE = 128 << 10
_MADV_DONTNEED = 4  # mman.h
_MAPPING = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-[-x]p \S+ \S+ [1-9]\d* +/.*\n(?:\w+:.*\n)*?Anonymous: +0 kB$",
    re.MULTILINE,
)
"""In smaps: what is mapped from a file, read only, with no page that differs from the file's (proc(5))."""


def keep_memory_small() -> None:
    """Have the C library give large blocks back to the kernel whenever they are freed.

    Left alone it raises its own threshold with every large block, up to 32 MB, and the arrays of one
    busy second stay resident for good (mallopt(3)).
    """
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGE)


def open_many_files() -> None:
    """Raise the limit of open files as far as is allowed: nothing here is in want of a low one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def settle() -> None:
    """Give back what starting took, and have garbage not be looked for in what stays."""
    gc.collect()
    gc.freeze()
    return_memory()
    unmap_code()


def unmap_code() -> None:
    """Let go of the code that starting took: what is run again is mapped again, out of the kernel's cache (madvise(2))."""
    with suppress(AttributeError, OSError):
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for begin, end in _MAPPING.findall(Path("/proc/self/smaps").read_text(errors="replace")):
            start = int(begin, 16)
            madvise(start, int(end, 16) - start, _MADV_DONTNEED)


def return_memory() -> None:
    """Give back to the kernel what is free by now (malloc_trim(3)). Takes a millisecond."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Return the memory of this process that is resident (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def cpu_seconds() -> float:
    """Return the user and system time that this process has taken."""
    return time.process_time()


def kernel_release() -> str:
    """Return the release of the running kernel."""
    return platform.release()


def host_name() -> str:
    """Return the name of this host."""
    return platform.node()
