"""The live table: `axon top`, and `axon run` on a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.widgets import Input, Static

from axon.api.schema import Role, Snapshot
from axon.errors import AxonError
from axon.view import lines, palette, summary
from axon.view.columns import BY_NAME, SORTABLE, sort_rows
from axon.view.help import HelpScreen
from axon.view.rows import select
from axon.view.table import EndpointTable

Source = Callable[[], Awaitable[Snapshot]]
"""Where the numbers come from. Raises AxonError while there are none."""

TICK: Final = 1.0
"""Seconds from one picture to the next."""


class TopApp(App[None]):
    """Shows what `source` says, once a second, until somebody leaves."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "axon"
    CSS = f"""
    Screen {{ background: {palette.GROUND}; color: {palette.TEXT}; }}
    #head, #foot, #keys {{ height: 1; width: 100%; background: {palette.GROUND}; }}
    EndpointTable {{ height: 1fr; }}
    #filter {{
        height: 1; border: none; padding: 0 1; display: none;
        background: {palette.RAISED}; color: {palette.TEXT};
    }}
    #filter:focus {{ border: none; }}
    #filter.open {{ display: block; }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", priority=False),
        Binding("ctrl+c", "quit", priority=True),
        Binding("s,right,greater_than_sign", "sort(1)"),
        Binding("S,left,less_than_sign", "sort(-1)"),
        Binding("r", "reverse"),
        Binding("slash", "filter"),
        Binding("escape", "clear"),
        Binding("e", "errors"),
        Binding("tab,o", "role", priority=False),
        Binding("p,space", "pause"),
        Binding("question_mark,h", "help"),
    ]

    def __init__(
        self,
        source: Source,
        *,
        sorted_by: str = "rate",
        text: str = "",
        role: Role = "server",
        tick: float = TICK,
    ) -> None:
        super().__init__()
        self._source = source
        self._tick = tick
        self._snapshot: Snapshot | None = None
        self._trouble = ""
        self.sorted_by = sorted_by
        self.descending = True
        self.filter_text = text
        self.role: Role = role
        self.only_errors = False
        self.paused = False

    def compose(self) -> ComposeResult:
        """Lay out: a line about everything, the table, two lines about the rest."""
        yield Static(id="head")
        yield EndpointTable()
        yield Input(value=self.filter_text, id="filter", placeholder=lines.FILTER_HINT)
        yield Static(id="foot")
        yield Static(id="keys")

    def on_mount(self) -> None:
        """Start the clock."""
        self.query_one(EndpointTable).focus()
        self.run_worker(self._follow(), exclusive=True)

    async def _follow(self) -> None:
        while True:
            if not self.paused:
                try:
                    self._snapshot = await self._source()
                    self._trouble = ""
                except AxonError as error:
                    self._trouble = str(error)
                # When the application is left, its parts go before this ends.
                with suppress(NoMatches):
                    self._paint()
            await asyncio.sleep(self._tick)

    def _paint(self) -> None:
        snapshot = self._snapshot
        rows = (
            select(
                snapshot.endpoints,
                role=self.role,
                text=self.filter_text,
                errors=self.only_errors,
            )
            if snapshot
            else []
        )
        self.query_one(EndpointTable).show(
            sort_rows(rows, self.sorted_by, descending=self.descending),
            sorted_by=self.sorted_by,
            descending=self.descending,
            slow=snapshot.slow if snapshot else 0,
        )
        width = self.size.width
        self._line("head", lines.head(snapshot, rows, self, width))
        self._line("foot", lines.foot(snapshot, self, self._trouble, width))
        self._line("keys", lines.keys(self, width))

    def _line(self, name: str, text: Text) -> None:
        self.query_one(f"#{name}", Static).update(text, layout=False)

    def on_resize(self) -> None:
        """Draw again for the new width."""
        self._paint()

    def action_sort(self, step: int) -> None:
        """Sort by the next (or previous) column."""
        self._sort_by(SORTABLE[(SORTABLE.index(self.sorted_by) + step) % len(SORTABLE)])

    def on_endpoint_table_heading_clicked(self, message: EndpointTable.HeadingClicked) -> None:
        """Sort by the column, or the other way round where it is sorted by already."""
        if message.column == self.sorted_by:
            self.action_reverse()
        else:
            self._sort_by(message.column)

    def _sort_by(self, name: str) -> None:
        self.sorted_by = name
        self.descending = BY_NAME[name].numeric
        self._paint()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.descending = not self.descending
        self._paint()

    def action_errors(self) -> None:
        """Show only endpoints with errors, or all again."""
        self.only_errors = not self.only_errors
        self._paint()

    def action_role(self) -> None:
        """Change between requests that arrive here and requests that leave from here."""
        self.role = summary.other_way(self.role)
        self._paint()

    def action_pause(self) -> None:
        """Hold the picture, or let it go on."""
        self.paused = not self.paused
        self._paint()

    def action_filter(self) -> None:
        """Open the filter's line."""
        box = self.query_one("#filter", Input)
        box.add_class("open")
        box.focus()

    def action_clear(self) -> None:
        """Close the filter's line and show everything again."""
        self.query_one("#filter", Input).value = ""
        self.only_errors = False
        self._close_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter as one types."""
        self.filter_text = event.value
        self._paint()

    def on_input_submitted(self) -> None:
        """Keep the filter and go back to the table."""
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).remove_class("open")
        self.query_one(EndpointTable).focus()
        self._paint()

    def action_help(self) -> None:
        """Say what the keys and columns are."""
        self.push_screen(HelpScreen())
