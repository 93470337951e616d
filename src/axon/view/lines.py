"""The lines above and below the live table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from rich.text import Text

from axon.api.schema import Endpoint, Role, Snapshot
from axon.view import format as fmt
from axon.view import palette, summary
from axon.view.columns import BAD_SHARE, BY_NAME, Tone

FILTER_HINT: Final = "words in service, method or route; !word leaves out"
Part = tuple[str, Tone]


class State(Protocol):
    """What the lines say about the view itself."""

    sorted_by: str
    filter_text: str
    role: Role
    only_errors: bool
    paused: bool


def _join(parts: Sequence[Part], gap: str = "  ") -> Text:
    text = Text(no_wrap=True, overflow="ellipsis", end="")
    for i, (part, tone) in enumerate(parts):
        text.append(gap if i else "")
        text.append(part, palette.STYLES[tone])
    return text


def _spread(left: Sequence[Part], right: Sequence[Part], width: int) -> Text:
    """Put parts at both ends of a line; where room is short, the right ones go, last first."""
    line = Text(" ", no_wrap=True, overflow="ellipsis", end="")
    line.append_text(_join(left))
    for end in range(len(right), 0, -1):
        text = _join(right[:end])
        spare = width - 1 - line.cell_len - text.cell_len
        if spare >= 2:
            line.append(" " * spare)
            line.append_text(text)
            break
    return line


def head(snapshot: Snapshot | None, rows: Sequence[Endpoint], state: State, width: int) -> Text:
    """Return the first line: where this is, which way requests go, how many and how well."""
    if snapshot is None:
        return _spread([("axon", "accent")], [("waiting for the agent", "muted")], width)
    left: list[Part] = [
        ("axon", "accent"),
        (fmt.clip(fmt.safe(snapshot.host), 24), "plain"),
        (summary.WAYS[state.role], "muted"),
    ]
    if state.paused:
        left.append(("paused", "warn"))
    if state.only_errors:
        left.append(("only errors", "warn"))
    if state.filter_text:
        left.append((f"/{fmt.clip(fmt.safe(state.filter_text), 24)}", "accent"))
    share = summary.failing(rows)
    tone: Tone = "muted" if not share else "bad" if share >= BAD_SHARE else "warn"
    right: list[Part] = [
        (f"{fmt.rate(sum(row.rate for row in rows))} req/s", "plain"),
        (f"{fmt.share(share)} errors", tone),
        (fmt.plural(len(rows), "endpoint"), "muted"),
        (f"last {round(snapshot.window, 1):g} s", "muted"),
    ]
    return _spread(left, right, width)


def foot(snapshot: Snapshot | None, state: State, trouble: str, width: int) -> Text:
    """Return the line of totals: requests, losses, what is not read; or what is wrong."""
    if trouble:
        return _spread([(trouble, "bad")], [], width)
    if snapshot is None:
        return Text()
    total = summary.totals_of(snapshot, state.role).total
    parts: list[Part] = [
        (fmt.plural(total, "request"), "plain"),
        (summary.lost(snapshot), "warn" if any(snapshot.lost.values()) else "muted"),
    ]
    if unread := summary.not_read(snapshot):
        parts.append((f"not read: {unread}", "muted"))
    parts += [(fmt.safe(note), "warn") for note in snapshot.notes]
    return _spread(parts, [], width)


def keys(state: State, width: int) -> Text:
    """Return the line of keys, as many as there is room for."""
    pairs = [
        ("q", "quit"),
        ("s", f"sort: {BY_NAME[state.sorted_by].title.lower()}"),
        ("/", "filter"),
        ("e", "all" if state.only_errors else "errors"),
        ("o", summary.WAYS[summary.other_way(state.role)]),
        ("p", "go on" if state.paused else "pause"),
        ("?", "help"),
        ("r", "reverse"),
    ]
    line = Text(" ", no_wrap=True, end="")
    for key, what in pairs:
        if line.cell_len + len(key) + len(what) + 3 > width:
            break
        line.append(key, palette.STYLES["accent"])
        line.append(f" {what}   ", palette.STYLES["muted"])
    return line
