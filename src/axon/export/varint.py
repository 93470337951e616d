"""Protocol buffers' wire format: variable-length integers, one by one and by the array.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_VARINT = 0
_FIXED64 = 1
_LENGTH = 2
_SEVEN = np.uint64(7)


def varint(value: int) -> bytes:
    """Return an unsigned integer as base-128 groups, least significant first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> int:
    """Return a signed integer as sint32 and sint64 fields hold it."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def integer(field: int, value: int) -> bytes:
    """Return a field that holds an unsigned integer."""
    return varint(field << 3 | _VARINT) + varint(value)


def double(field: int, value: float) -> bytes:
    """Return a field that holds a 64-bit float."""
    return varint(field << 3 | _FIXED64) + np.float64(value).tobytes()


def delimited(field: int, content: bytes) -> bytes:
    """Return a field that holds bytes, text or a message."""
    return varint(field << 3 | _LENGTH) + varint(len(content)) + content


def varints(values: NDArray[np.uint64]) -> tuple[bytes, NDArray[np.int64]]:
    """Encode an array of unsigned integers.

    Returns all of them one after another, and the n + 1 offsets at which they begin and end.
    """
    lengths = np.ones(len(values), np.int64)
    rest = values >> _SEVEN
    while rest.any():
        lengths += rest != 0
        rest >>= _SEVEN
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    out = np.empty(ends[-1], np.uint8)
    starts, rest = ends[:-1], values.copy()
    for i in range(int(lengths.max(initial=0))):
        if i:
            longer = lengths > i
            starts, rest, lengths = starts[longer], rest[longer] >> _SEVEN, lengths[longer]
        more = (lengths > i + 1).astype(np.uint8) << 7
        out[starts + i] = (rest & np.uint64(0x7F)).astype(np.uint8) | more
    return out.tobytes(), ends


def zigzags(values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return signed integers as sint64 fields hold them."""
    return ((values << 1) ^ (values >> 63)).view(np.uint64)
