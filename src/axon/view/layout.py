"""Which columns a terminal has room for, and how wide each is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from axon.api.schema import Endpoint
from axon.view.columns import COLUMNS, Column

MARGIN: Final = 1
ROOMY: Final = 140
"""Cells from which on two blanks stand between columns instead of one."""
_PLEASANT: Final = 60
"""Columns that are kept less than this only come when the texts before them are shown in full."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A column with the cells that it got."""

    column: Column
    width: int

    def cell(self, row: Endpoint) -> str:
        """Return the row's text for this column, exactly as wide as the column."""
        text = self.column.text(row)
        if self.column.numeric:
            return text.rjust(self.width)
        return self.column.clip(text, self.width).ljust(self.width)

    def heading(self, mark: str = "") -> str:
        """Return the column's title, with a mark beside it, exactly as wide as the column."""
        if self.column.numeric:
            return f"{mark}{self.column.title}".rjust(self.width)
        return f"{self.column.title}{mark}".ljust(self.width)


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that there is room for, in order, and the blanks between two of them."""

    columns: tuple[Placed, ...]
    gap: int


def wanted(rows: Iterable[Endpoint], before: Mapping[str, int]) -> dict[str, int]:
    """Return the longest text of each flexible column, in these rows and `before`.

    Handing over what was wanted before keeps columns in place when a long name comes and goes.
    """
    rows = list(rows)
    return {
        column.name: max(
            before.get(column.name, 0),
            max((len(column.text(row)) for row in rows), default=0),
        )
        for column in COLUMNS
        if column.most
    }


def place(width: int, wants: Mapping[str, int]) -> Layout:
    """Return the layout for `width` cells and what the flexible columns want.

    Room that is left when every column has what it wants stays empty on the right.
    """
    gap = 2 if width >= ROOMY else 1
    aims = {
        column.name: max(column.width, min(column.most, wants.get(column.name, 0)))
        for column in COLUMNS
    }
    chosen = list(COLUMNS)
    while len(chosen) > 1:
        least = min(chosen, key=lambda column: column.keep)
        needed = {column.name: column.width for column in chosen}
        if least.keep < _PLEASANT:
            needed |= {c.name: aims[c.name] for c in chosen if c.keep >= _PLEASANT}
        if _taken(needed.values(), gap) <= width:
            break
        chosen.remove(least)
    widths = {column.name: column.width for column in chosen}
    aims = {name: aims[name] for name in widths}
    for _ in range(width - _taken(widths.values(), gap)):
        # The column that is furthest from its aim gets the next cell.
        neediest = max(aims, key=lambda name: aims[name] - widths[name])
        if aims[neediest] == widths[neediest]:
            break
        widths[neediest] += 1
    return Layout(tuple(Placed(column, widths[column.name]) for column in chosen), gap)


def _taken(widths: Collection[int], gap: int) -> int:
    return 2 * MARGIN + sum(widths) + gap * (len(widths) - 1)
