"""Requests as lines of text: what `axon observe` prints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from axon.api.schema import End, Flow
from axon.view import format as fmt

Paint = Literal["", "dim", "warn", "bad"]

_CODES: Final[dict[Paint, str]] = {"dim": "2", "warn": "33", "bad": "31"}
_ERRORS: Final = {
    "no_response": "no response",
    "reset": "reset",
    "incomplete": "incomplete",
    "timeout": "timeout",
}
_WIDEST_CELL: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column. It begins `width` cells wide and grows with what it has to hold."""

    title: str
    text: Callable[[Flow], str]
    width: int
    right: bool = False
    paint: Callable[[Flow], Paint] = lambda _: ""


def clock(unix: float) -> str:
    """Return a local time of day in milliseconds: ``14:02:11.123``."""
    thousandths = round(unix * 1000)
    seconds = time.localtime(thousandths // 1000)
    return f"{time.strftime('%H:%M:%S', seconds)}.{thousandths % 1000:03d}"


def end(point: End) -> str:
    """Return an address and port: ``10.0.0.1:80``, ``[::1]:80``."""
    host = f"[{point.address}]" if ":" in point.address else point.address
    return f"{host}:{point.port}"


def _path(flow: Flow) -> str:
    text = fmt.safe(flow.route if flow.path is None else flow.path)
    cut = fmt.ELLIPSIS if flow.path_cut else ""
    why = f" ({_ERRORS.get(flow.error, flow.error)})" if flow.error else ""
    return text + cut + (_judged(flow) or why)


def _judged(flow: Flow) -> str:
    """Return who denied a request, or would, and why."""
    if flow.verdict == "dropped":
        how = "reset" if flow.status is None else "denied"
        return f" ({how} by {fmt.safe(flow.policy or 'policy')}: {flow.denial})"
    if flow.verdict == "audit":
        return f" ({fmt.safe(flow.policy or 'policy')} would deny it: {flow.denial})"
    return ""


def _decider(flow: Flow) -> str:
    if not flow.policy:
        return fmt.NOTHING
    return fmt.safe(f"{flow.policy} {flow.rule}" if flow.rule else flow.policy)


def _status(flow: Flow) -> str:
    return "---" if flow.status is None else str(flow.status)


def _status_paint(flow: Flow) -> Paint:
    if flow.error or flow.status is None or flow.status >= 500:
        return "bad"
    return "warn" if flow.status >= 400 else ""


def _error_paint(flow: Flow) -> Paint:
    return "bad" if flow.error else ""


def _slow(flow: Flow) -> Paint:
    return "warn" if "slow" in flow.reasons else ""


def _dim(_: Flow) -> Paint:
    return "dim"


_TIME: Final = Field(title="TIME", text=lambda f: clock(f.time), width=12, paint=_dim)
_WAY: Final = Field(
    title="WAY", text=lambda f: "in" if f.role == "server" else "out", width=3, paint=_dim
)
_STATUS: Final = Field(title="ST", text=_status, width=3, paint=_status_paint)
_DURATION: Final = Field(
    title="TOOK",
    text=lambda f: fmt.exact_duration(f.duration),
    width=fmt.EXACT_DURATION_WIDTH,
    right=True,
    paint=_slow,
)
_SERVICE: Final = Field(title="SERVICE", text=lambda f: fmt.safe(f.service), width=16)
_METHOD: Final = Field(title="METHOD", text=lambda f: f.method, width=6)
_PATH: Final = Field(title="PATH", text=_path, width=0, paint=_error_paint)

COMPACT: Final = (_TIME, _WAY, _STATUS, _DURATION, _SERVICE, _METHOD, _PATH)
TABLE: Final = (
    _TIME,
    _WAY,
    Field(title="SOURCE", text=lambda f: end(f.source), width=21),
    Field(title="DESTINATION", text=lambda f: end(f.destination), width=21),
    _SERVICE,
    _STATUS,
    _DURATION,
    Field(title="REQ", text=lambda f: fmt.size(f.request_wire), width=fmt.SIZE_WIDTH, right=True),
    Field(title="RESP", text=lambda f: fmt.size(f.response_wire), width=fmt.SIZE_WIDTH, right=True),
    _METHOD,
    _PATH,
)
WIDE: Final = (
    *TABLE[:7],
    Field(
        title="TTFB",
        text=lambda f: fmt.exact_duration(f.ttfb),
        width=fmt.EXACT_DURATION_WIDTH,
        right=True,
    ),
    *TABLE[7:9],
    Field(title="PID", text=lambda f: str(f.pid or fmt.NOTHING), width=7, right=True),
    Field(title="COMMAND", text=lambda f: fmt.safe(f.command) or fmt.NOTHING, width=15),
    Field(title="CONNECTION", text=lambda f: f"{f.connection}#{f.number}", width=10),
    Field(title="WHY", text=lambda f: ",".join(f.reasons) or fmt.NOTHING, width=7),
    Field(title="HOST", text=lambda f: fmt.safe(f.host or fmt.NOTHING), width=20),
    Field(title="VERDICT", text=lambda f: f.verdict or fmt.NOTHING, width=9),
    Field(title="RULE", text=_decider, width=20),
    Field(title="CALLER", text=lambda f: fmt.safe(f.caller or fmt.NOTHING), width=20),
    Field(title="ROUTE", text=lambda f: fmt.safe(f.route), width=20),
    _METHOD,
    _PATH,
)


class Lines:
    """Writes flows below each other, columns in line; remembers how wide they have become."""

    def __init__(self, fields: tuple[Field, ...], *, colours: bool) -> None:
        self._fields = fields
        self._colours = colours
        self._widths = [max(field.width, len(field.title)) for field in fields]

    def heading(self) -> str:
        """Return the columns' titles."""
        cells = [
            _pad(field.title, width, right=field.right)
            for field, width in zip(self._fields, self._widths, strict=True)
        ]
        return "  ".join(cells).rstrip()

    def line(self, flow: Flow) -> str:
        """Return one request."""
        cells = []
        for i, field in enumerate(self._fields):
            text = field.text(flow)
            self._widths[i] = min(max(self._widths[i], len(text)), _WIDEST_CELL)
            last = i == len(self._fields) - 1
            cell = text if last else _pad(text, self._widths[i], right=field.right)
            cells.append(self._coloured(cell, field.paint(flow)))
        return "  ".join(cells)

    def _coloured(self, cell: str, paint: Paint) -> str:
        if not self._colours or not paint:
            return cell
        return f"\x1b[{_CODES[paint]}m{cell}\x1b[0m"


def _pad(text: str, width: int, *, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
