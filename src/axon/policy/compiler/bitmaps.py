"""An image's cells while it is made: bitmaps, each once, and what points to them."""

from __future__ import annotations

from array import array

_WORD = (1 << 64) - 1
_FEW = 8


class Cells:
    """64-bit cells, and which of them hold the number of another cell of the same image.

    `low` are the cells whose lower half or whole is one, `high` those whose upper half is.
    """

    def __init__(self) -> None:
        self.cells = array("Q", (0,))
        """The first is for the number of cells, so that an image's extent can be read back."""
        self.low: list[int] = []
        self.high: list[int] = []
        self._bitmaps: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.cells)

    def bitmap(self, bits: int) -> int:
        """Return the cell of a bitmap; 0, that of the arena's, for an empty one."""
        if not bits:
            return 0
        at = self._bitmaps.get(bits)
        if at is None:
            at = self._bitmaps[bits] = len(self.cells)
            self.cells.extend(_sparse(bits))
        return at

    def point(self, at: int) -> None:
        """Append a cell that holds a cell's number."""
        if at:
            self.low.append(len(self.cells))
        self.cells.append(at)

    def text(self, text: bytes) -> None:
        """Append a text in whole cells, filled up with zeros."""
        self.cells.frombytes(text + bytes(-len(text) % 8))


def _sparse(bits: int) -> list[int]:
    """Return a bitmap as the kernel has it: four summary words, then the words that are not 0."""
    summary = [0, 0, 0, 0]
    words = []
    if bits.bit_count() <= _FEW:
        while bits:
            at = ((bits & -bits).bit_length() - 1) >> 6
            word = bits >> (at << 6) & _WORD
            bits ^= word << (at << 6)
            summary[at >> 6] |= 1 << (at & 63)
            words.append(word)
    else:
        size = (bits.bit_length() + 63) >> 6
        for at, word in enumerate(array("Q", bits.to_bytes(size * 8, "little"))):
            if word:
                summary[at >> 6] |= 1 << (at & 63)
                words.append(word)
    return summary + words
