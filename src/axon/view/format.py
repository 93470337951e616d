"""Numbers and texts as the terminal shows them: short, of a known width, and never jumping about.

Every function of a number returns at most as many characters as its ``*_WIDTH`` says, so that a
column that is right-aligned to that width keeps its shape whatever the traffic does. A value that
does not exist (``None``) is shown as ``NOTHING``.

Texts come from the network: ``safe`` turns everything that is not printable ASCII into
percent-encoded bytes (RFC 3986, section 2.1), so that no path can move the reader's cursor and one
character is always one cell.
"""

from __future__ import annotations

from typing import Final

NOTHING: Final = "-"
ELLIPSIS: Final = "…"

DURATION_WIDTH: Final = 5
EXACT_DURATION_WIDTH: Final = 6
SIZE_WIDTH: Final = 5
RATE_WIDTH: Final = 5
SHARE_WIDTH: Final = 4
COUNT_WIDTH: Final = 5

_Ladder = tuple[tuple[str, float], ...]
"""Suffixes with what one of each is worth, ascending."""

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86400.0

_DURATIONS: Final[_Ladder] = (
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", _MINUTE),
    ("h", _HOUR),
    ("d", _DAY),
    ("y", 365 * _DAY),
)
_SIZES: Final[_Ladder] = (
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("PB", 1e15),
    ("EB", 1e18),
)
_COUNTS: Final[_Ladder] = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12), ("P", 1e15))

_PER_MILLE: Final = 0.001


def _climb(value: float, ladder: _Ladder, *, decimals: tuple[float, ...], limit: float) -> str:
    """Return the value in the first unit in which it is shorter than `limit`.

    `decimals[i]` is the bound below which a number gets ``len(decimals) - i`` digits after the
    point; bounds are tested against the rounded number, so that 9.96 becomes 10 and not 10.0.
    """
    for suffix, worth in ladder:
        number = value / worth
        for i, bound in enumerate(decimals):
            digits = len(decimals) - i
            if round(number, digits) < bound:
                return f"{number:.{digits}f}{suffix}"
        if round(number) < limit or suffix == ladder[-1][0]:
            return f"{number:.0f}{suffix}"
    raise AssertionError("the last unit takes everything")


def duration(seconds: float | None) -> str:
    """Return a duration in two significant digits, as precise as a histogram: ``1.2ms``."""
    if seconds is None:
        return NOTHING
    if seconds < 0.95e-6:
        return "<1µs" if seconds > 0 else "0s"
    return _climb(seconds, _DURATIONS, decimals=(10,), limit=1000)


def exact_duration(seconds: float | None) -> str:
    """Return a measured duration in three significant digits: ``1.23ms``, ``12.3ms``, ``123ms``."""
    if seconds is None:
        return NOTHING
    if seconds < 0.995e-6:
        return "<1µs" if seconds > 0 else "0s"
    return _climb(seconds, _DURATIONS, decimals=(10, 100), limit=1000)


def size(count: float | None) -> str:
    """Return a number of bytes in units of a thousand: ``999B``, ``1.2kB``, ``12MB``."""
    if count is None:
        return NOTHING
    if round(count) < 1000:
        return f"{count:.0f}B"
    return _climb(count, _SIZES[1:], decimals=(10,), limit=1000)


def rate(per_second: float | None) -> str:
    """Return events a second: ``0.3``, ``12.3``, ``1234``, ``12.3k``. Nothing but zero is shown as 0."""
    if per_second is None:
        return NOTHING
    if per_second == 0:
        return "0"
    if per_second < 0.05:
        return "<0.1"
    if round(per_second) < 10_000:
        return _climb(per_second, _COUNTS[:1], decimals=(100,), limit=10_000)
    return _climb(per_second, _COUNTS[1:], decimals=(10, 100), limit=1000)


def count(number: int | None) -> str:
    """Return a number of things, short: ``9999``, ``12.3k``, ``1.23M``."""
    if number is None:
        return NOTHING
    if number < 10_000:
        return str(number)
    return _climb(number, _COUNTS[1:], decimals=(10, 100), limit=1000)


def grouped(number: int) -> str:
    """Return a number of things in full: ``1,234,567``."""
    return f"{number:,}"


def share(part: float | None) -> str:
    """Return a part of one as a percentage. Only nothing is ``0%`` and only all is ``100%``."""
    if part is None:
        return NOTHING
    if part <= 0:
        return "0%"
    if part >= 1:
        return "100%"
    if part < _PER_MILLE:
        return "<.1%"
    percent = part * 100
    if round(percent, 1) < 10:
        return f"{percent:.1f}%"
    return f"{percent:.0f}%" if round(percent) < 100 else ">99%"


def plural(number: int, thing: str) -> str:
    """Return ``1 endpoint``, ``2 endpoints``, ``1,234 endpoints``."""
    return f"{grouped(number)} {thing}{'' if number == 1 else 's'}"


def safe(text: str) -> str:
    """Return the text with everything but printable ASCII as percent-encoded bytes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else _percent(c) for c in text)


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))


def clip(text: str, width: int) -> str:
    """Return the beginning of a text, with an ellipsis where something had to go."""
    if len(text) <= width:
        return text
    return text[: width - 1] + ELLIPSIS if width > 0 else ""


def clip_path(text: str, width: int) -> str:
    """Return both ends of a path: the end tells more than the middle (``/api/v2/…/orders/{id}``)."""
    if len(text) <= width:
        return text
    if width < 8:
        return clip(text, width)
    head = (width - 1) * 2 // 5
    return text[:head] + ELLIPSIS + text[len(text) - (width - 1 - head) :]
