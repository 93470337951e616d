"""What is in flight and what is open, read from the iterator over connections (bpf/active.h)."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from axon.kernel import bpf
from axon.kernel.abi import Abi
from axon.kernel.maps import Array, Map

PROGRAM, OVER = "ax_active", "ax_conns"

_PIECE = 32 << 10  # bytes that the kernel writes at most by one read (PAGE_SIZE << 3)
_LATEST = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Active:
    """One look at all connections.

    `flights` (n,) of ax_active are those with requests in flight; `open` (roles, kinds) counts the
    sockets by enum ax_role and enum ax_kind. `t_ns` is when it was begun.
    """

    t_ns: int
    flights: Array
    open: Array


class ActiveReader:
    """Looks when it is asked, at most once a second. Between looks nothing runs in the kernel."""

    def __init__(self, program: bpf.Fd, connections: Map, abi: Abi) -> None:
        """Raises OSError where the kernel has no such iterator."""
        self._link = bpf.iterator_link(program, connections.fd)
        self._abi = abi
        self._last: Active | None = None

    def read(self) -> Active:
        """Return a look that is not older than a second. Raises OSError."""
        now = bpf.monotonic_ns()
        if self._last is None or now - self._last.t_ns >= _LATEST:
            with bpf.iterator(self._link) as file:
                self._last = self._decode(now, _all(file))
        return self._last

    def close(self) -> None:
        """Let go of the iterator."""
        self._link.close()

    def _decode(self, now: int, data: bytes) -> Active:
        active, last = self._abi.active, self._abi.open
        end = len(data) - last.itemsize
        flights = np.frombuffer(data, active, end // active.itemsize)
        # A connection may be met twice when others come while the kernel's buffer is emptied.
        by_cookie = flights[np.argsort(flights["cookie"], kind="stable")]
        first = np.ones(len(by_cookie), np.bool_)
        first[1:] = by_cookie["cookie"][1:] != by_cookie["cookie"][:-1]
        return Active(now, by_cookie[first], np.frombuffer(data, last, 1, end)[0]["conns"])


def _all(file: bpf.Fd) -> bytes:
    pieces = []
    while piece := _read(file):
        pieces.append(piece)
    return b"".join(pieces)


def _read(file: bpf.Fd) -> bytes:
    while True:
        try:
            return os.read(file.fileno(), _PIECE)
        except BlockingIOError:  # a million sockets without one in flight: the kernel takes a rest
            continue
