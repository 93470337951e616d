"""The table of endpoints as plain text, for scripts and for the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from axon.api.schema import Endpoint, Role, Snapshot
from axon.view import format as fmt
from axon.view import summary
from axon.view.columns import COLUMNS
from axon.view.layout import Layout, Placed, place, wanted


def table(snapshot: Snapshot, rows: Sequence[Endpoint], role: Role, width: int | None) -> str:
    """Return heading, rows and totals as lines of text.

    With a `width` columns are left out and texts shortened as on a terminal so wide; without one
    (a pipe, a file) everything is there in full.
    """
    wants = wanted(rows, {})
    layout = _full(wants) if width is None else place(width, wants)
    gap = " " * layout.gap
    lines = [gap.join(placed.heading() for placed in layout.columns)]
    lines += [gap.join(placed.cell(row) for placed in layout.columns) for row in rows]
    if not rows:
        lines.append(f"no {summary.WAYS[role]} requests yet")
    lines += ["", *_totals(snapshot, rows, role)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _full(wants: dict[str, int]) -> Layout:
    return Layout(
        tuple(Placed(column, max(column.width, wants.get(column.name, 0))) for column in COLUMNS),
        2,
    )


def _totals(snapshot: Snapshot, rows: Sequence[Endpoint], role: Role) -> list[str]:
    rate = fmt.rate(sum(row.rate for row in rows))
    share = fmt.share(summary.failing(rows))
    total = fmt.plural(summary.totals_of(snapshot, role).total, f"{summary.WAYS[role]} request")
    lines = [
        f"{fmt.plural(len(rows), 'endpoint')}, {rate} req/s, {share} errors in {round(snapshot.window, 1):g} s",
        f"{total} so far, {summary.lost(snapshot)}",
    ]
    if unread := summary.not_read(snapshot):
        lines.append(f"not read: {unread}")
    return lines + [fmt.safe(note) for note in snapshot.notes]
