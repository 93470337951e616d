"""The columns of the table of endpoints: what each says, how it is sorted and coloured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from axon.api.schema import Endpoint
from axon.view import format as fmt
from axon.view.rows import error_share, key_of

Tone = Literal["plain", "muted", "faint", "accent", "warn", "bad"]
"""What a cell's colour means; the palette is the renderer's."""

BAD_SHARE: Final = 0.05
"""Share of failed requests from which on an endpoint is shown as failing, not only as imperfect."""

Text = Callable[[Endpoint], str]
Order = Callable[[Endpoint], float | str]
ToneOf = Callable[[Endpoint, float], Tone]
"""The tone of a row's cell; the second argument is how many seconds are slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    `width` is what it needs, in cells; a column with a `most` above it takes up to that many if
    its texts are so long and there is room. Where there is too little room the columns with the
    lowest `keep` go first.
    """

    name: str
    title: str
    help: str
    keep: int
    width: int
    most: int = 0
    text: Text
    order: Order
    tone: ToneOf
    clip: Callable[[str, int], str] = fmt.clip
    numeric: bool = True


def received(row: Endpoint) -> float:
    """Return the bytes a second that come in: a server's requests, a client's responses."""
    return row.request_bytes if row.role == "server" else row.response_bytes


def sent(row: Endpoint) -> float:
    """Return the bytes a second that go out."""
    return row.response_bytes if row.role == "server" else row.request_bytes


def statuses(row: Endpoint) -> str:
    """Return the statuses in the window, most frequent first: ``200`` or ``200 97% 404 3%``."""
    by_count = sorted(row.statuses.items(), key=lambda item: (-item[1], item[0]))
    if len(by_count) == 1:
        return by_count[0][0]
    total = sum(row.statuses.values())
    return " ".join(f"{status} {fmt.share(n / total)}" for status, n in by_count if n)


def _traffic(row: Endpoint, _slow: float) -> Tone:
    return "plain" if row.rate else "faint"


def _muted(row: Endpoint, _slow: float) -> Tone:
    return "muted" if row.rate else "faint"


def _failing(row: Endpoint, _slow: float) -> Tone:
    if not row.error_rate:
        return "faint"
    return "bad" if (error_share(row) or 0) >= BAD_SHARE else "warn"


def _slow(value: Callable[[Endpoint], float | None]) -> ToneOf:
    def tone(row: Endpoint, slow: float) -> Tone:
        seconds = value(row)
        if seconds is None:
            return "faint"
        return "warn" if 0 < slow <= seconds else "plain"

    return tone


def _duration(name: str, keep: int, value: Callable[[Endpoint], float | None], text: str) -> Column:
    return Column(
        name=name, title=name.upper(), help=text, keep=keep, width=fmt.DURATION_WIDTH,
        text=lambda row: fmt.duration(value(row)),
        order=lambda row: value(row) or 0.0,
        tone=_slow(value),
    )  # fmt: skip


COLUMNS: Final = (
    Column(
        name="service", title="SERVICE", keep=100, width=14, most=40, numeric=False,
        help="systemd unit, container or process",
        text=lambda row: fmt.safe(row.service), order=lambda row: row.service, tone=_traffic,
    ),
    Column(
        name="method", title="METHOD", keep=90, width=7, numeric=False,
        help="HTTP method; _OTHER stands for those that no RFC names",
        text=lambda row: row.method, order=lambda row: row.method, tone=_muted,
    ),
    Column(
        name="route", title="ROUTE", keep=100, width=18, most=72, numeric=False,
        clip=fmt.clip_path,
        help="path with its variable parts in braces",
        text=lambda row: fmt.safe(row.route), order=lambda row: row.route, tone=_traffic,
    ),
    Column(
        name="rate", title="REQ/S", keep=95, width=fmt.RATE_WIDTH + 1,
        help="requests a second",
        text=lambda row: fmt.rate(row.rate), order=lambda row: row.rate, tone=_traffic,
    ),
    Column(
        name="errors", title="ERR", keep=94, width=fmt.SHARE_WIDTH + 1,
        help="share answered by 5xx (outgoing: or 4xx) or not at all",
        text=lambda row: fmt.share(error_share(row)), order=lambda row: row.error_rate,
        tone=_failing,
    ),
    _duration("p50", 80, lambda row: row.p50, "half of the requests took no longer"),
    _duration("p95", 93, lambda row: row.p95, "19 of 20 requests took no longer"),
    _duration("p99", 92, lambda row: row.p99, "99 of 100 requests took no longer"),
    _duration("ttfb", 40, lambda row: row.ttfb, "mean time to the response's first byte"),
    Column(
        name="in", title="IN/S", keep=70, width=fmt.SIZE_WIDTH + 1,
        help="bytes received a second, heads included",
        text=lambda row: fmt.size(received(row) if row.rate else None), order=received, tone=_traffic,
    ),
    Column(
        name="out", title="OUT/S", keep=71, width=fmt.SIZE_WIDTH + 1,
        help="bytes sent a second, heads included",
        text=lambda row: fmt.size(sent(row) if row.rate else None), order=sent, tone=_traffic,
    ),
    Column(
        name="total", title="TOTAL", keep=50, width=fmt.COUNT_WIDTH + 1,
        help="requests since the endpoint appeared",
        text=lambda row: fmt.count(row.total), order=lambda row: row.total, tone=_muted,
    ),
    Column(
        name="status", title="STATUS", keep=30, width=14, most=32, numeric=False,
        help="statuses within the window, most frequent first",
        text=statuses, order=statuses, tone=_muted,
    ),
)  # fmt: skip

BY_NAME: Final = {column.name: column for column in COLUMNS}
SORTABLE: Final = tuple(BY_NAME)


def sort_rows(rows: Iterable[Endpoint], name: str, *, descending: bool) -> list[Endpoint]:
    """Return the rows by one column; equal ones stand by name, so that they keep their places."""
    by_name = sorted(rows, key=key_of)
    return sorted(by_name, key=BY_NAME[name].order, reverse=descending)
