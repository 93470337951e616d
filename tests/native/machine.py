"""The machine under test: the library's calls, and its maps as numpy arrays.

There is one machine a process, because its maps are global: `Machine.reset` gives a fresh one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_uint8, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from functools import cache
from threading import Event
from typing import Any, Self

import numpy as np

from axon.kernel.btf import Btf
from axon.kernel.object import BpfObject
from tests.native import build

INGRESS, EGRESS = 0, 1
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
DAMAGED = 0x100  # beside the flags: a wrong checksum
ESTABLISHED, CLOSE, LISTEN = 1, 7, 10
V4, V6 = 2, 10


class _Map(ctypes.Structure):
    _fields_ = (
        ("name", c_char_p),
        ("type", c_int),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("entries", c_uint32),
        ("flags", c_uint32),
        ("used", c_uint32),
        ("storage", c_uint32),
        ("head", c_uint32),
        ("stride", c_uint32),
        ("data", c_void_p),
    )


class Options(ctypes.Structure):
    """What the loader would configure: `struct nx_options`."""

    _fields_ = tuple(
        (name, c_uint32)
        for name in (
            "max_series",
            "shard_mask",
            "max_routes",
            "max_peers",
            "server",
            "client",
            "peers",
            "kernel_has",
        )
    )


class _Ends(ctypes.Structure):
    _fields_ = (
        ("local", c_uint8 * 16),
        ("remote", c_uint8 * 16),
        ("lport", c_uint32),
        ("rport", c_uint32),
        ("family", c_uint32),
        ("v4", c_uint32),
    )


@dataclass(frozen=True)
class Ends:
    """A connection's two ends: 16-byte addresses (IPv4 mapped), ports, the family of the local socket."""

    local: bytes
    remote: bytes
    lport: int
    rport: int
    family: int = V4
    packets_v4: bool = True

    @property
    def raw(self) -> _Ends:
        """The same for C."""
        make = c_uint8 * 16
        return _Ends(
            make(*self.local),
            make(*self.remote),
            self.lport,
            self.rport,
            self.family,
            self.packets_v4,
        )


def mapped(address: str) -> bytes:
    """Return the 16 bytes of an IPv4 address."""
    return b"\0" * 10 + b"\xff\xff" + bytes(int(part) for part in address.split("."))


LOCAL = Ends(mapped("10.0.0.1"), mapped("10.0.0.2"), 8080, 40000)


class Machine:
    """The loaded library. Times are ns; arrays are views unless they say copy."""

    def __init__(self) -> None:
        self.btf: Btf = BpfObject(build.types()).btf
        self.lib = lib = ctypes.CDLL(str(build.library()))
        sock, data = c_void_p, POINTER(c_uint8)
        for name, result, arguments in (
            ("nx_reset", None, (POINTER(Options),)),
            ("nx_map", POINTER(_Map), (c_char_p,)),
            ("nx_dump", c_uint32, (POINTER(_Map), data, data, c_uint32)),
            ("nx_lookup", c_void_p, (POINTER(_Map), c_char_p)),
            ("nx_update", c_int, (POINTER(_Map), c_char_p, c_char_p, c_uint64)),
            ("nx_delete", c_int, (POINTER(_Map), c_char_p)),
            ("nx_push", c_int, (POINTER(_Map), c_char_p)),
            ("nx_sock_new", sock, (POINTER(_Ends), c_uint32)),
            ("nx_sock_child", sock, (sock, POINTER(_Ends))),
            ("nx_sock_free", None, (sock,)),
            ("nx_storage_of", c_void_p, (sock, POINTER(_Map))),
            (
                "nx_feed",
                c_int,
                (
                    sock,
                    c_uint64,
                    c_uint32,
                    c_uint32,
                    c_uint32,
                    c_char_p,
                    *(c_uint32,) * 4,
                    c_uint64,
                    c_uint64,
                ),
            ),
            ("nx_packet", c_int, (sock, *(c_uint32,) * 3, c_char_p, c_uint32, POINTER(_Ends))),
            ("nx_raw", c_int, (sock, c_uint32, c_char_p, c_uint32, c_uint32)),
            ("nx_state", c_int, (sock, c_uint32)),
            ("nx_connected", c_int, (sock,)),
            ("nx_set_state", None, (sock, c_uint32)),
            ("nx_timeout", c_int, (sock, c_uint32)),
            ("nx_release", c_int, (sock,)),
            ("nx_own", c_int, (sock, c_uint32)),
            ("nx_idle", c_int, ()),
            ("nx_counted", c_uint64, ()),
            ("nx_asked", c_uint32, (sock,)),
            ("nx_bucket", c_uint32, (c_uint64,)),
            ("nx_size_bucket", c_uint32, (c_uint64,)),
        ):
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        self._clock = c_uint64.in_dll(lib, "nx_clock")
        self._lag = c_uint64.in_dll(lib, "nx_lag")
        self._cpu = c_uint32.in_dll(lib, "nx_cpu")
        self._calls = c_uint64.in_dll(lib, "nx_calls")
        self._interrupt = c_void_p.in_dll(lib, "nx_interrupt")
        self._interrupt_at = c_uint64.in_dll(lib, "nx_interrupt_at")
        self.names = {
            value: name.removeprefix("AX_")
            for name, value in self.btf.enum("ax_stat").items()
            if name != "AX_STAT_MAX"
        }
        self.reset()

    def reset(
        self,
        *,
        max_series: int = 128,
        shard_mask: int = 0,
        max_routes: int = 64,
        max_peers: int = 32,
        server: bool = True,
        client: bool = True,
        peers: int = 0,
        kernel_has: int = 1,
    ) -> None:
        """Begin anew: empty maps, this configuration."""
        options = Options(
            max_series, shard_mask, max_routes, max_peers, server, client, peers, kernel_has
        )
        self.lib.nx_reset(ctypes.byref(options))
        self.now = 1_000_000_000
        self.lag = 0
        self.ctl = self.array("ax_ctl", "ax_ctl")[0]
        self.filters = self.array("ax_filters", "ax_filter")

    @property
    def now(self) -> int:
        """The machine's clock."""
        return self._clock.value

    @now.setter
    def now(self, ns: int) -> None:
        self._clock.value = ns

    @property
    def lag(self) -> int:
        """How long before its hook runs TCP has stamped a leaving segment, in ns."""
        return self._lag.value

    @lag.setter
    def lag(self, ns: int) -> None:
        self._lag.value = ns

    @contextmanager
    def beside(self, calls: int, run: Callable[[], None], *, cpu: int = 1) -> Iterator[None]:
        """Have something run on the next CPU, once, when what is done in here makes its so-manieth call of a helper.

        If it does not make so many, it runs afterwards. With `cpu=0` it is an interrupt of the same CPU.
        """
        ran = False

        def on_its_cpu() -> None:
            nonlocal ran
            ran = True
            self._cpu.value += cpu
            run()
            self._cpu.value -= cpu

        callback = CFUNCTYPE(None)(on_its_cpu)
        self._interrupt.value = ctypes.cast(callback, c_void_p).value
        self._interrupt_at.value = self._calls.value + calls
        yield
        self._interrupt.value = None
        if not ran:
            run()

    @contextmanager
    def held(self, calls: int, run: Callable[[], None]) -> Iterator[bool]:
        """Have something run on the next CPU up to its so-manieth call of a helper, and on when the block is left.

        Yields whether it makes so many. With `beside` two hooks may overlap without one lying within the other. One
        thread runs at a time.
        """
        cpu, back = self._cpu.value + 1, self._cpu.value
        paused, go_on = Event(), Event()

        def on_its_way() -> None:
            paused.set()
            go_on.wait()

        callback = CFUNCTYPE(None)(on_its_way)
        with ThreadPoolExecutor(1) as pool:
            self._cpu.value = cpu
            self._interrupt.value = ctypes.cast(callback, c_void_p).value
            self._interrupt_at.value = self._calls.value + calls
            done = pool.submit(run)
            done.add_done_callback(lambda _: paused.set())
            paused.wait()
            self._interrupt.value = None
            self._cpu.value = back
            try:
                yield not done.done()
            finally:
                back, self._cpu.value = self._cpu.value, cpu
                go_on.set()
                done.result()
                self._cpu.value = back

    def map(self, name: str) -> Any:
        """Return a map's pointer."""
        found = self.lib.nx_map(name.encode())
        if not found:
            raise KeyError(name)
        return found

    def array(self, name: str, struct: str) -> np.ndarray[Any, Any]:
        """Return a view of an array map as structs, shape (entries,)."""
        m = self.map(name).contents
        dtype = self.btf.struct(struct)
        assert m.stride == dtype.itemsize, (name, m.stride, dtype.itemsize)
        memory = (c_uint8 * (m.entries * m.stride)).from_address(m.data)
        return np.frombuffer(memory, dtype)

    def hash(self, name: str, key: np.dtype[Any], value: np.dtype[Any]) -> dict[bytes, Any]:
        """Return a copy of a hash map: key's bytes to value."""
        pointer = self.map(name)
        m = pointer.contents
        assert (m.key_size, m.value_size) == (key.itemsize, value.itemsize), name
        keys = np.zeros(m.used, key)
        values = np.zeros(m.used, value)
        data = POINTER(c_uint8)
        self.lib.nx_dump(pointer, keys.ctypes.data_as(data), values.ctypes.data_as(data), m.used)
        return {k.tobytes(): v for k, v in zip(keys, values, strict=True)}

    def put(self, name: str, key: bytes, value: bytes, flags: int = 0) -> int:
        """Write an element as user space would; return 0 or -errno."""
        return int(self.lib.nx_update(self.map(name), key, value, flags))

    def delete(self, name: str, key: bytes) -> int:
        """Delete an element as user space would; return 0 or -errno."""
        return int(self.lib.nx_delete(self.map(name), key))

    @property
    def stats(self) -> dict[str, int]:
        """What has been counted beside requests: name to number, without zeroes."""
        m = self.map("ax_stats").contents
        total = np.zeros(64, np.uint64)
        for cpu in range(4):
            total += np.array((c_uint64 * 64).from_address(m.data + cpu * m.stride), np.uint64)
        return {self.names[i]: int(n) for i, n in enumerate(total) if n}

    @property
    def losses(self) -> dict[str, int]:
        """What was lost, by reason."""
        return {name: n for name, n in self.stats.items() if name.startswith("LOST_")}

    @property
    def cells(self) -> np.ndarray[Any, Any]:
        """What every series has counted: a copy, summed over shards, shape (max_series,)."""
        cells = self.array("ax_cells", "ax_cell")
        slots = self.map("ax_slots").contents.entries
        total = np.zeros(slots, cells.dtype)
        for name in cells.dtype.names or ():
            shards = cells[name].reshape((-1, slots, *cells[name].shape[1:]))
            total[name] = shards.sum(axis=0)
        return total

    @property
    def counted(self) -> int:
        """How many requests have been counted."""
        return int(self.lib.nx_counted())

    @property
    def idle(self) -> bool:
        """Whether no work area is held or overrun."""
        return bool(self.lib.nx_idle())

    def fail_from(self, first: int, last: int = 2**63) -> None:
        """Make the helpers that may fail do so from the `first` next call on, up to the `last`; 0: none."""
        calls = self.calls
        c_uint64.in_dll(self.lib, "nx_fail_from").value = calls + first if first else 0
        c_uint64.in_dll(self.lib, "nx_fail_to").value = calls + last if first else 0

    @contextmanager
    def failing(self, helper: str) -> Iterator[None]:
        """Have every call of one helper fail meanwhile, by the name of its stand-in (native.h)."""
        name = c_char_p.in_dll(self.lib, "nx_fail_helper")
        name.value = helper.encode()
        self.fail_from(1)
        yield
        self.fail_from(0)
        name.value = None

    @property
    def calls(self) -> int:
        """How many calls of helpers there have been since the reset."""
        return int(c_uint64.in_dll(self.lib, "nx_calls").value)

    def series(self) -> Iterator[tuple[np.void, np.void]]:
        """Yield each series that has counted something: its key and its cell (copies)."""
        cells = self.cells
        slots = self.array("ax_slots", "ax_slot")
        for i in np.flatnonzero(cells["hist"].sum(axis=1)):
            yield slots[i]["key"].copy(), cells[i]

    def route(self, route_id: int) -> bytes:
        """Return a route's text; b"" for the ids that have none."""
        dtype = self.btf.struct("ax_route")
        at = self.lib.nx_lookup(self.map("ax_routes"), int(route_id).to_bytes(8, "little"))
        if not at:
            return b""
        row = _row(at, dtype)
        return bytes(row["text"][: row["len"]])

    def flows(self) -> np.ndarray[Any, Any]:
        """Return the flow records written since the last call, a copy."""
        m = self.map("ax_flows").contents
        memory = (c_uint8 * m.used).from_address(m.data)
        records = np.frombuffer(memory, self.btf.struct("ax_flow")).copy()
        m.used = 0
        return records

    def observe_all(self) -> None:
        """Have a record written of every request, by a filter that says nothing."""
        self.filters[0]["active"] = 1
        self.ctl["filters"] = 1

    def sock(
        self, ends: Ends = LOCAL, state: int = ESTABLISHED, *, cgroup: int | None = None
    ) -> Sock:
        """Make a socket."""
        return Sock(self, self.lib.nx_sock_new(ctypes.byref(ends.raw), state), ends)


class Sock:
    """A made-up socket. Its storage lives until `close`."""

    def __init__(self, machine: Machine, pointer: int, ends: Ends) -> None:
        self.machine = machine
        self.pointer = pointer
        self.ends = ends

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the socket and what the machine keeps with it."""
        if self.pointer:
            self.machine.lib.nx_sock_free(self.pointer)
            self.pointer = 0

    def child(self, ends: Ends) -> Sock:
        """Make the connection that this listener accepts."""
        return Sock(
            self.machine, self.machine.lib.nx_sock_child(self.pointer, ctypes.byref(ends.raw)), ends
        )

    def packet(
        self, direction: int, seq: int, data: bytes, *, ends: Ends, now: int, flags: int = ACK
    ) -> None:
        """Let a hook see a packet with these addresses."""
        self.machine.now = now
        raw = ctypes.byref(ends.raw)
        nx_packet = self.machine.lib.nx_packet
        assert nx_packet(self.pointer, direction, seq, flags, data, len(data), raw) == 1

    def state(self, state: int) -> None:
        """Enter another TCP state, as the sockops hook is told."""
        assert self.machine.lib.nx_state(self.pointer, state) == 1

    def connected(self) -> None:
        """Be connected, once more or for the first time, as the sockops hook is told."""
        assert self.machine.lib.nx_connected(self.pointer) == 1

    def set_state(self, state: int) -> None:
        """Enter another TCP state unseen by the sockops hook."""
        self.machine.lib.nx_set_state(self.pointer, state)

    def timeout(self, *, last: bool = True) -> None:
        """Let a retransmission timer run out."""
        assert self.machine.lib.nx_timeout(self.pointer, last) == 1

    def release(self) -> None:
        """Close the last descriptor."""
        assert self.machine.lib.nx_release(self.pointer) == 1

    def own(self, how: int = 0) -> None:
        """Make a system call on it: 0 connect4, 1 connect6, 2 bind4, 3 bind6."""
        assert self.machine.lib.nx_own(self.pointer, how) == 1

    def storage(self, name: str, struct: str) -> np.void | None:
        """Return a view of what the machine keeps with the socket in a map, or None."""
        at = self.machine.lib.nx_storage_of(self.pointer, self.machine.map(name))
        if not at:
            return None
        dtype = self.machine.btf.struct(struct)
        return _row(at, dtype)

    @property
    def asked(self) -> int:
        """How many requests have been read to their end."""
        return int(self.machine.lib.nx_asked(self.pointer))

    @property
    def kind(self) -> str:
        """What the connection turned out to carry, without the enumerators' prefix."""
        conn = self.storage("ax_conns", "ax_conn")
        value = 0 if conn is None else int(conn["kind"])
        return _kinds(self.machine)[value]


@cache
def _row(address: int, dtype: np.dtype[Any]) -> np.void:
    """Return a view of one structure in the machine's memory."""
    memory = (c_uint8 * dtype.itemsize).from_address(address)
    row: np.void = np.frombuffer(memoryview(memory), dtype)[0]
    return row


def _kinds(machine: Machine) -> dict[int, str]:
    kinds = machine.btf.enum("ax_kind")
    return {value: name.removeprefix("AX_KIND_") for name, value in kinds.items()}
