"""The colours of the terminal views: few, calm, and each with one meaning."""

from __future__ import annotations

from typing import Final

from rich.style import Style

from axon.view.columns import Tone

GROUND: Final = "#0f1319"
RAISED: Final = "#171d26"
TEXT: Final = "#d5dce6"
MUTED: Final = "#8792a2"
FAINT: Final = "#515c6b"
ACCENT: Final = "#7aa2f7"
WARN: Final = "#e2a84b"
BAD: Final = "#f0647a"

_COLOURS: Final[dict[Tone, str]] = {
    "plain": TEXT,
    "muted": MUTED,
    "faint": FAINT,
    "accent": ACCENT,
    "warn": WARN,
    "bad": BAD,
}

STYLES: Final[dict[Tone, Style]] = {
    tone: Style(color=colour, bgcolor=GROUND) for tone, colour in _COLOURS.items()
}
HEADING: Final = Style(color=MUTED, bgcolor=RAISED)
HEADING_SORTED: Final = Style(color=ACCENT, bgcolor=RAISED, bold=True)
