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
_SHORT = [bytes((value,)) for value in range(0x80)]


def varint(value: int) -> bytes:
    """Return an unsigned integer as base-128 groups, least significant first."""
    if value < len(_SHORT):
        return _SHORT[value]
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


def lengths(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return how many bytes each integer takes."""
    found = np.ones(len(values), np.int64)
    rest = values >> _SEVEN
    while rest.any():
        found += rest != 0
        rest >>= _SEVEN
    return found


def scatter(
    out: NDArray[np.uint8],
    starts: NDArray[np.int64],
    values: NDArray[np.uint64],
    sizes: NDArray[np.int64],
) -> None:
    """Write each integer into `out` where `starts` says; `sizes` are their `lengths`."""
    rest = values
    for i in range(int(sizes.max(initial=0))):
        if i:
            longer = sizes > i
            starts, rest, sizes = starts[longer], rest[longer] >> _SEVEN, sizes[longer]
        more = (sizes > i + 1).astype(np.uint8) << 7
        out[starts + i] = (rest & np.uint64(0x7F)).astype(np.uint8) | more


def offsets(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the n + 1 offsets at which n things of these sizes begin and end."""
    ends = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    return ends


def varints(values: NDArray[np.uint64]) -> tuple[bytes, NDArray[np.int64]]:
    """Encode an array of unsigned integers.

    Returns all of them one after another, and the n + 1 offsets at which they begin and end.
    """
    sizes = lengths(values)
    ends = offsets(sizes)
    out = np.empty(ends[-1], np.uint8)
    scatter(out, ends[:-1], values, sizes)
    return out.tobytes(), ends


def zigzags(values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return signed integers as sint64 fields hold them."""
    return ((values << 1) ^ (values >> 63)).view(np.uint64)
