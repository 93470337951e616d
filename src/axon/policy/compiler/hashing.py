"""The keys of a set's table: FNV-1a, keyed with a secret so that nobody can aim at a bucket."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_FNV = 0x100000001B3
_MIX = np.uint64(0x9FB21C651E98DF25)
_U64 = (1 << 64) - 1
_MOST = 1 << 16
_SHIFT = np.uint64(32)


class Hashes:
    """Hashes texts; remembers those that it has seen lately, which are the same over and over."""

    def __init__(self, secret: int) -> None:
        self.secret = secret
        self._known: dict[bytes, int] = {}

    def texts(self, texts: Iterable[bytes]) -> list[int]:
        """Return the hash of each text before its kind is mixed in."""
        known = self._known
        if len(known) > _MOST:
            known.clear()
        return [known[text] if text in known else self._text(text) for text in texts]

    def _text(self, text: bytes) -> int:
        h = self.secret
        for byte in text:
            h = ((h ^ byte) * _FNV) & _U64
        self._known[text] = h
        return h


def mixed(texts: Iterable[int], kinds: Iterable[int]) -> NDArray[np.uint64]:
    """Return the hashes of keys from those of their texts and their `kind << 8 | sub`."""
    hashes = np.fromiter(texts, np.uint64)
    hashes ^= np.fromiter(kinds, np.uint64) * _MIX
    hashes ^= hashes >> _SHIFT
    return hashes
