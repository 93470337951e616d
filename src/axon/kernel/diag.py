"""Ending a TCP connection from outside, as both of its ends see it (sock_diag(7)).

SOCK_DESTROY, Linux 4.5 (commit c1e64e298b8c) with CONFIG_INET_DIAG_DESTROY: the client is sent a reset, and the
server's process reads ECONNABORTED. It takes CAP_NET_ADMIN over the socket's network namespace.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import NamedTuple

from axon.kernel.netlink import ask

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_DESTROY = 21  # SOCK_DESTROY
_COOKIE = 57  # SO_COOKIE
_REQUEST = struct.Struct("=BBBxI")  # struct inet_diag_req_v2, and in it struct inet_diag_sockid
_PORTS, _INTERFACE_COOKIE = struct.Struct("!HH"), struct.Struct("=IQ")
_ELSEWHERE = {errno.ENOENT, errno.ESTALE}


class Socket(NamedTuple):
    """A TCP socket. Addresses have the length that the family's have; `interface` is the index of
    the one that it is bound to, 0 for none. No other socket ever has its cookie.
    """

    family: int
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int
    cookie: int
    interface: int = 0


def end(sock: Socket) -> bool:
    """End a socket of this network namespace; return whether it was there.

    Raise OSError: EOPNOTSUPP where the kernel cannot, EPERM where we may not.
    """
    body = (
        _REQUEST.pack(sock.family, socket.IPPROTO_TCP, 0, 0)
        + _PORTS.pack(sock.local_port, sock.remote_port)
        + sock.local.ljust(16, b"\0")
        + sock.remote.ljust(16, b"\0")
        + _INTERFACE_COOKIE.pack(sock.interface, sock.cookie)
    )
    try:
        ask(_DESTROY, 0, body, whom=_SOCK_DIAG)
    except OSError as e:
        if e.errno in _ELSEWHERE:
            return False
        raise
    return True


def cookie(sock: socket.socket) -> int:
    """Return by what the kernel tells a socket from all others (Linux 4.6)."""
    return int(struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, _COOKIE, 8))[0])
