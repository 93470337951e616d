"""The table of endpoints as one widget that draws its own lines.

Textual's DataTable costs ten times as much at this size and hides what does not fit behind a scroll
bar; this one leaves whole columns out (see `columns.place`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rich.segment import Segment
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from axon.api.schema import Endpoint
from axon.view import palette
from axon.view.columns import Tone
from axon.view.layout import MARGIN, Layout, place, wanted

_VARIABLE: Final = re.compile(r"(\{[^{}]*\})")
_MEASURED: Final = 200
_DOWN: Final = "▾"
_UP: Final = "▴"


class EndpointTable(ScrollView, can_focus=True):
    """A heading that stays, and rows below it that scroll."""

    DEFAULT_CSS = f"""
    EndpointTable {{
        background: {palette.GROUND};
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        scrollbar-background: {palette.GROUND};
        scrollbar-background-hover: {palette.GROUND};
        scrollbar-background-active: {palette.GROUND};
        scrollbar-color: {palette.RAISED};
        scrollbar-color-hover: {palette.FAINT};
        scrollbar-color-active: {palette.FAINT};
    }}
    """

    class HeadingClicked(Message):
        """Somebody clicked on a column's title."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Endpoint] = []
        self._sorted_by = ""
        self._descending = True
        self._slow = 0.0
        self._wants: dict[str, int] = {}
        self._layout_now = Layout((), 1)
        self._blank = Strip.blank(1)

    def show(self, rows: list[Endpoint], *, sorted_by: str, descending: bool, slow: float) -> None:
        """Show these rows in this order; the heading says what they are sorted by.

        Durations of at least `slow` seconds stand out; 0: none do.
        """
        self._rows = rows
        self._sorted_by = sorted_by
        self._descending = descending
        self._slow = slow
        # Those further down are measured when they come up: there may be ten thousand.
        top = self.scroll_offset.y
        self._wants = wanted(rows[top : top + _MEASURED], self._wants)
        self._arrange()
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        self.refresh()

    def _arrange(self) -> None:
        width = self.size.width
        self._layout_now = place(width, self._wants)
        self._blank = Strip.blank(width, palette.STYLES["plain"])

    def on_resize(self, _: Resize) -> None:
        """Choose the columns anew."""
        self._arrange()
        self.refresh()

    def on_click(self, event: Click) -> None:
        """Tell the application which title was clicked on."""
        if event.y != 0:
            return
        left = MARGIN
        for placed in self._layout_now.columns:
            if left <= event.x < left + placed.width + self._layout_now.gap:
                self.post_message(self.HeadingClicked(placed.column.name))
            left += placed.width + self._layout_now.gap

    def render_line(self, y: int) -> Strip:
        """Draw one line of the screen."""
        width = self.size.width
        if y == 0:
            return Strip(list(self._heading())).adjust_cell_length(width, palette.HEADING)
        index = self.scroll_offset.y + y - 1
        if index >= len(self._rows):
            return self._blank
        return _strip(_join(self._parts(self._rows[index])), width)

    def _heading(self) -> Iterator[Segment]:
        yield Segment(" " * MARGIN, palette.HEADING)
        for i, placed in enumerate(self._layout_now.columns):
            if i:
                yield Segment(" " * self._layout_now.gap, palette.HEADING)
            here = placed.column.name == self._sorted_by
            mark = (_DOWN if self._descending else _UP) if here else ""
            yield Segment(placed.heading(mark), palette.HEADING_SORTED if here else palette.HEADING)

    def _parts(self, row: Endpoint) -> Iterator[tuple[str, Tone]]:
        blanks = " " * MARGIN
        for placed in self._layout_now.columns:
            tone = placed.column.tone(row, self._slow)
            text = blanks + placed.cell(row)
            blanks = " " * self._layout_now.gap
            if placed.column.name == "route" and tone != "faint" and "{" in text:
                for part in _VARIABLE.split(text):
                    yield part, "accent" if part.startswith("{") else tone
            else:
                yield text, tone


def _strip(segments: Iterator[Segment], width: int) -> Strip:
    """Return a line of exactly `width` cells; every character of ours takes one."""
    line = list(segments)
    spare = width - sum(len(segment.text) for segment in line)
    if spare > 0:
        line.append(Segment(" " * spare, palette.STYLES["plain"]))
    strip = Strip(line, max(width, width - spare))
    return strip if spare >= 0 else strip.crop(0, width)


def _join(parts: Iterator[tuple[str, Tone]]) -> Iterator[Segment]:
    """Yield as few segments as there are changes of colour: each costs as much as its text."""
    joined = ""
    now: Tone = "plain"
    for text, tone in parts:
        if tone != now and joined:
            yield Segment(joined, palette.STYLES[now])
            joined = ""
        joined += text
        now = tone
    yield Segment(joined, palette.STYLES[now])
