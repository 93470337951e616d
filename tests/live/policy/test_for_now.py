"""What cannot be judged for now is dropped, and passes when it comes again; or its connection is ended."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
import time

from tests.live.kit.gate import End, Guarded, forbidden, rest
from tests.live.kit.held import held_in_read
from tests.live.policy.test_attacks import (
    BAD,
    GOOD,
    OTHER,
    SIZE,
    Make,
    exchange,
    expect_unread,
    make,
)

__all__ = ["make"]

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_TAKE = struct.pack("=HBBI", 6, 0, 0, 0xFFFF_FFFF)  # classic BPF: the whole packet
_WIDE = struct.pack(
    "=HBBI", 0xB1, 0, 0, 0
)  # ldxb 4*([0]&0xf), the longest one in the kernel's own code
_MOST = 4096  # BPF_MAXINSNS
_TIMES = 2000


def _attach(sock: socket.socket, wide: int) -> bool:
    """Give a socket a filter that takes everything, and so many instructions behind that; return whether it has room."""
    program = _TAKE + _WIDE * wide + _TAKE
    text = ctypes.create_string_buffer(program)
    how = struct.pack("@HP", len(program) // 8, ctypes.addressof(text))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, how)
    except OSError:
        return False
    return True


def _fill(sock: socket.socket) -> None:
    """Use up what a socket may have of the kernel's memory beside its data (net.core.optmem_max)."""
    fits, most = 0, _MOST - 2
    while fits < most:
        middle = (fits + most + 1) // 2
        if _attach(sock, middle):
            fits = middle
            sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        else:
            most = middle - 1
    assert fits < _MOST - 2, "a socket may have more than a filter takes"
    assert _attach(sock, fits)


def test_no_memory(make: Make, gate: Guarded) -> None:
    """A request is dropped while there is no memory for its connection's state, and judged when there is."""
    raw, server = make()
    _fill(server)
    with gate.denying(MEMORY=2):
        raw.send(GOOD)
        raw.send(BAD)
        expect_unread(server)
    server.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    exchange(raw, server)
    with gate.denying(RULE=1):
        raw.send(BAD)
        assert raw.wait(lambda s: bool(s.data)).data == forbidden()


def test_no_memory_within_a_head(make: Make, gate: Guarded) -> None:
    """A head that goes on in the next packet resets the connection if there is no memory for what was read of it."""
    raw, server = make()
    exchange(raw, server)
    _fill(server)
    exchange(raw, server)
    with gate.denying(MEMORY=1):
        raw.send(GOOD[:50])
        assert rest(server) == End(b"", "reset")


def test_a_reset_that_waits(make: Make, gate: Guarded) -> None:
    """A server that is busy with its socket when its connection is reset is reset again by what comes meanwhile."""
    raw, server = make()
    raw.send(GOOD)
    with held_in_read(server), gate.denying(RULE=1, POSITION=2):
        raw.send(BAD, at=SIZE)
        raw.send(BAD, at=SIZE)
        raw.send(OTHER, at=SIZE)
    seen = rest(server)
    assert (seen.how, BAD in seen.data, OTHER in seen.data) == ("reset", False, False)


def test_two_cores(make: Make, gate: Guarded) -> None:
    """Of what two cores have at once for one connection the later is dropped, and nothing comes of it."""
    raw, server = make()
    exchange(raw, server)
    frame = raw.frame(raw.tcp(BAD, at=10 * SIZE))  # which changes nothing by itself
    first, second, *_ = os.sched_getaffinity(0)
    before, deadline = gate.denials().get("BUSY", 0), time.monotonic() + 20

    def busy() -> int:
        return gate.denials().get("BUSY", 0) - before

    def send(core: int) -> None:
        os.sched_setaffinity(0, {core})
        while busy() < _TIMES and time.monotonic() < deadline:
            for _ in range(500):
                raw.put(frame)

    with gate.denying(BUSY=_TIMES, ORDER=1, RULE=1):
        threads = [threading.Thread(target=send, args=(core,)) for core in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seen = -1
        while seen != (seen := busy()):
            time.sleep(0.05)  # until nothing of it is left
        exchange(raw, server)
        raw.send(BAD)
        expect_unread(server)
