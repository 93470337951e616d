"""BPF bytecode by hand: for probes, and to add to a counter that programs are adding to.

Encoding: Documentation/bpf/standardization/instruction-set.rst. Little-endian machines only, as
is everything that the packaged object is built for.
"""

from __future__ import annotations

import struct

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP = range(11)
MAP_LOOKUP, SK_STORAGE_GET, GET_CURRENT_TASK, PROBE_READ_KERNEL = 1, 107, 35, 113


def raw(code: int, dst: int = 0, src: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """Return one instruction."""
    return struct.pack("<BBhi", code, src << 4 | dst, offset, value)


def mov(dst: int, value: int) -> bytes:
    """Set dst to a constant."""
    return raw(0xB7, dst, value=value)


def copy(dst: int, src: int) -> bytes:
    """Set dst to src."""
    return raw(0xBF, dst, src)


def add(dst: int, value: int) -> bytes:
    """Add a constant to dst."""
    return raw(0x07, dst, value=value)


def load_map(dst: int, fd: int) -> bytes:
    """Set dst to a map."""
    return raw(0x18, dst, 1, value=fd) + raw(0)


def load32(dst: int, src: int, offset: int) -> bytes:
    """Set dst to the 32 bits at src + offset."""
    return raw(0x61, dst, src, offset)


def load64(dst: int, src: int, offset: int) -> bytes:
    """Set dst to the 64 bits at src + offset."""
    return raw(0x79, dst, src, offset)


def store32(dst: int, src: int, offset: int) -> bytes:
    """Store 32 bits of src at dst + offset."""
    return raw(0x63, dst, src, offset)


def store32_value(dst: int, offset: int, value: int) -> bytes:
    """Store a 32-bit constant at dst + offset."""
    return raw(0x62, dst, offset=offset, value=value)


def atomic_add64(dst: int, src: int, offset: int) -> bytes:
    """Add src to the 64 bits at dst + offset, atomically."""
    return raw(0xDB, dst, src, offset)


def call(helper: int) -> bytes:
    """Call a helper: arguments in R1 to R5, result in R0."""
    return raw(0x85, value=helper)


def skip_unless_zero(reg: int, count: int) -> bytes:
    """Jump over `count` instructions if reg is not 0."""
    return raw(0x55, reg, offset=count)


def leave() -> bytes:
    """Return R0."""
    return raw(0x95)
