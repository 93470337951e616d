"""A reader that the kernel keeps in the middle of a read: its socket stays locked, and what arrives waits in the backlog.

It reads into a page that is not there, and whoever has to bring it does nothing (userfaultfd(2), linux/userfaultfd.h).
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_USERFAULTFD = {"x86_64": 323, "aarch64": 282}
_API, _REGISTER, _VERSION, _MISSING = 0xC018AA3F, 0xC020AA00, 0xAA, 1
_PATIENCE = 10.0


@contextmanager
def held_in_read(sock: socket.socket) -> Iterator[None]:
    """Have a read of one byte, which is there, end with the context and not before."""
    libc = ctypes.CDLL(None, use_errno=True)
    page = mmap.mmap(-1, mmap.PAGESIZE)
    keep = ctypes.c_char.from_buffer(page)
    fd = libc.syscall(_USERFAULTFD[platform.machine()], os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    fcntl.ioctl(fd, _API, struct.pack("=QQQ", _VERSION, 0, 0))
    where = ctypes.addressof(keep)
    fcntl.ioctl(fd, _REGISTER, struct.pack("=QQQQ", where, mmap.PAGESIZE, _MISSING, 0))
    libc.recv.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    started: list[int] = []

    def read() -> None:
        started.append(threading.get_native_id())
        libc.recv(sock.fileno(), where, 1, 0)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        deadline = time.monotonic() + _PATIENCE
        while not started or "handle_userfault" not in _stack(started[0]):
            if time.monotonic() > deadline:
                raise TimeoutError("the reader is not held")
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)  # which brings the page
        thread.join()
        del keep
        page.close()


def _stack(thread: int) -> str:
    """Return the kernel's functions in which a thread is."""
    return Path(f"/proc/self/task/{thread}/stack").read_text()
