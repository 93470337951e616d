"""The tables that the kernel matches paths with: a bitmap for each literal segment at each depth.

A pattern is a bit. A wildcard stands for a segment that is not empty, except below a tail (`/*`),
which therefore lists the empty segment as well. The patterns that match a path are what is left after intersecting, at every
depth, those with any segment there and those with this segment there, and finally those that a path
of so many segments can match. The lowest bit left names the route. (T. V. Lakshman, D. Stiliadis:
High-Speed Policy-Based Packet Forwarding Using Efficient Multi-dimensional Range Matching, 1998.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.routes.pattern import Pattern

_FNV = 0x100000001B3
_U64 = (1 << 64) - 1
_RESERVED = 2  # AX_ROUTE_OTHER and AX_ROUTE_NONE

LEAVE = 0
"""The route of a pattern that shields paths from those behind it: the kernel names them itself."""


def segment_hash(segment: bytes, secret: int) -> int:
    """Return the key of a segment in ax_rt_seg: FNV-1a over 64 bits that begins with the secret."""
    h = secret
    for byte in segment:
        h = ((h ^ byte) * _FNV) & _U64
    return h ^ h >> 32


def route_id(text: str) -> int:
    """Return the route that a pattern names: 64 bits of its text's BLAKE2b, never a reserved one."""
    digest = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
    return max(digest, _RESERVED)


def split(path: bytes) -> list[bytes]:
    """Return the segments of a path, query and fragment cut, as the kernel takes them apart."""
    for mark in b"?#":
        path = path.partition(bytes((mark,)))[0]
    return path[1:].split(b"/")


@dataclass(frozen=True)
class Tables:
    """The tables of some patterns, bitmaps as integers.

    `routes` are their routes by bit; `literal` maps (segment hash, depth) to a bitmap; `wild` has
    one for each depth and `length` one for each number of segments, of which the last stands for
    that many or more.
    """

    secret: int
    routes: tuple[int, ...]
    literal: dict[tuple[int, int], int]
    wild: tuple[int, ...]
    length: tuple[int, ...]

    def match(self, path: bytes) -> int | None:
        """Return the bit of the pattern that names a path, or None: what the kernel does."""
        segments = split(path)
        bits = (1 << len(self.routes)) - 1
        for depth, segment in enumerate(segments[: len(self.wild)]):
            digest = segment_hash(segment, self.secret)
            wild = self.wild[depth] if segment else 0
            bits &= wild | self.literal.get((digest, depth), 0)
        bits &= self.length[min(len(segments), len(self.length) - 1)]
        return (bits & -bits).bit_length() - 1 if bits else None

    def segments(self, words: int) -> dict[tuple[int, int], NDArray[np.uint64]]:
        """Return the rows of ax_rt_seg, without the number of the set."""
        return {key: _words(bits, words) for key, bits in self.literal.items()}

    def rt_set(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the row of ax_rt_set, shape ()."""
        row = np.zeros((), dtype)
        words = row["wild"].shape[1]
        row["words"] = -(-len(self.routes) // 64)
        for depth, bits in enumerate(self.wild):
            row["wild"][depth] = _words(bits, words)
        for count, bits in enumerate(self.length):
            row["len"][count] = _words(bits, words)
        row["route"][: len(self.routes)] = self.routes
        return row


def compile_tables(patterns: Sequence[tuple[Pattern, int]], secret: int, depths: int) -> Tables:
    """Return the tables of (pattern, route) pairs: an earlier one wins where two match.

    `depths` is AX_RT_DEPTH; no pattern may have as many segments, because at that depth the kernel
    stops telling lengths apart.
    """
    literal: dict[tuple[int, int], int] = {}
    wild = [0] * depths
    length = [0] * (depths + 1)
    for i, (pattern, _) in enumerate(patterns):
        bit, n = 1 << i, len(pattern.segments)
        if n >= depths:
            raise ValueError(f"{pattern.text} has too many segments")
        for depth, segment in enumerate(pattern.segments):
            if segment is None:
                wild[depth] |= bit
            else:
                key = (segment_hash(segment.encode(), secret), depth)
                literal[key] = literal.get(key, 0) | bit
        if pattern.tail:
            for depth in range(n, depths):
                wild[depth] |= bit
                key = (segment_hash(b"", secret), depth)
                literal[key] = literal.get(key, 0) | bit
                length[depth + 1] |= bit
        else:
            length[n] |= bit
    routes = tuple(route for _, route in patterns)
    return Tables(secret, routes, literal, tuple(wild), tuple(length))


def _words(bits: int, words: int) -> NDArray[np.uint64]:
    return np.frombuffer(bits.to_bytes(words * 8, "little"), np.uint64)
