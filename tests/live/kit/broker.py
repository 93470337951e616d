"""Program that lives in a network namespace and a cgroup and makes what belongs to them.

A socket belongs to the namespace and the cgroup of the process that makes it, whoever uses it then.
Usage: broker.py FD, with a SOCK_SEQPACKET socket on which requests come as JSON; ends with it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x1
_IFF_NO_PI = 0x1000


def make_socket(family: int, kind: int, proto: int) -> int:
    """Make a socket; return its descriptor."""
    return socket.socket(family, kind, proto).detach()


def make_tun(name: str) -> int:
    """Make a TUN device; return the descriptor of its other end."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return fd


def write(path: str, text: str) -> int:
    """Write to a file of /proc; return a descriptor that means nothing."""
    Path(path).write_text(text)
    return os.dup(0)


def read(path: str) -> int:
    """Open a file; return its descriptor. One of /proc/self/net tells of this namespace for ever."""
    return os.open(path, os.O_RDONLY)


def main() -> None:
    """Serve requests until the other end closes."""
    calls: dict[str, Any] = {"socket": make_socket, "tun": make_tun, "write": write, "read": read}
    control = socket.socket(fileno=int(sys.argv[1]))
    while request := control.recv(65536):
        name, *arguments = json.loads(request)
        try:
            fd = calls[name](*arguments)
        except OSError as e:
            control.send(str(e).encode())
            continue
        socket.send_fds(control, [b"ok"], [fd])
        os.close(fd)


if __name__ == "__main__":
    main()
