"""The page behind the key ``?``."""

from __future__ import annotations

from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from axon.view import palette
from axon.view.columns import COLUMNS

KEYS: Final = (
    ("q", "quit"),
    ("s S", "sort by the next, the previous column; or click on a title"),
    ("r", "reverse the order"),
    ("/", "filter: words in service, method or route; !word leaves out"),
    ("e", "only endpoints with errors"),
    ("o", "incoming or outgoing requests"),
    ("p", "pause"),
    ("Esc", "show everything again"),
)


class HelpScreen(ModalScreen[None]):
    """Keys and columns."""

    CSS = f"""
    HelpScreen {{ align: center middle; background: {palette.GROUND} 60%; }}
    HelpScreen > VerticalScroll {{
        width: 76; max-width: 96%; height: auto; max-height: 92%;
        padding: 1 2; background: {palette.RAISED}; color: {palette.TEXT};
        scrollbar-size-vertical: 1;
    }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,h,enter", "dismiss"),
    ]

    def compose(self) -> ComposeResult:
        """Write the page."""
        with VerticalScroll():
            yield Static(_page())


def _page() -> Text:
    text = Text()
    for key, what in KEYS:
        text.append(f"{key:<8}", palette.ACCENT)
        text.append(f"{what}\n", palette.TEXT)
    text.append("\n")
    for column in COLUMNS:
        text.append(f"{column.title:<8}", palette.ACCENT)
        text.append(f"{column.help}\n", palette.MUTED)
    text.rstrip()
    return text
