"""Where the services of the sample shop listen."""

from __future__ import annotations

import contextlib
import socket
from typing import NamedTuple

HOST = "127.0.0.1"


class Ports(NamedTuple):
    """One TCP port on 127.0.0.1 a service."""

    edge: int
    frontend: int
    catalog: int
    orders: int
    payments: int


PREFERRED = Ports(edge=18080, frontend=18081, catalog=18082, orders=18083, payments=18084)


def free_ports() -> Ports:
    """The preferred ports, each replaced by one of the kernel's choice where it is taken."""
    with contextlib.ExitStack() as held:
        chosen = []
        for port in PREFERRED:
            sock = held.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((HOST, port))
            except OSError:
                sock.bind((HOST, 0))
            chosen.append(sock.getsockname()[1])
    return Ports(*chosen)
