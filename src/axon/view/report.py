"""The agent's status as text: what `axon status` prints."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from axon.api.schema import Status
from axon.view import format as fmt

_FAMILIES = (
    ("conn_", "connections"),
    ("lost_", "lost"),
    ("drop_", "flow records not shown"),
    ("info_", "events"),
)

_SETTLED = 60.0
"""Seconds after which the cost of starting no longer hides what running costs."""


def status(now: Status, host_time: float | None = None) -> str:
    """Return the whole report. `host_time` is the Unix time to count from, by default this moment."""
    age = (time.time() if host_time is None else host_time) - now.started
    blocks: list[Iterable[str]] = [_head(now, age), _tables(now)]
    if now.programs:
        blocks.append(_programs(now))
    blocks += _counters(now)
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _head(now: Status, age: float) -> Iterator[str]:
    bound, socket = fmt.size(now.kernel_bytes), now.bytes_per_socket
    memory, look = fmt.size(now.resident_bytes), fmt.duration(now.snapshot_seconds)
    cpu = f"{fmt.duration(now.cpu_seconds)} of CPU time"
    if age > _SETTLED:
        cpu += f" ({fmt.share(now.cpu_seconds / age)} of a core)"
    yield f"axon {now.version}, process {now.pid}, for {fmt.duration(age)}: {_health(now)}"
    yield from _pairs(
        [
            ("attached to", now.cgroup if now.attached else "nothing"),
            ("pinned in", now.pin_dir),
            ("metrics", now.metrics),
            ("kernel", f"{now.kernel}, at most {bound} of its memory and {socket} bytes a socket"),
            ("agent", f"{memory}, {cpu}, last look {look}"),
            *_in_flight(now),
        ]
    )


def _in_flight(now: Status) -> Iterator[tuple[str, str]]:
    for name, side in (("serving", now.server), ("calling", now.client)):
        if side is not None:
            requests = fmt.plural(side.requests, "request")
            if side.oldest is not None:
                requests += f", the oldest for {fmt.duration(side.oldest)}"
            yield name, f"{requests}, on {fmt.plural(side.connections, 'open HTTP/1 connection')}"


def _health(now: Status) -> str:
    return "healthy" if now.healthy else f"NOT HEALTHY: {now.problem}"


def _tables(now: Status) -> Iterator[str]:
    rows = [
        (t.name, fmt.grouped(t.used), fmt.grouped(t.size), fmt.share(t.used / (t.size or 1)))
        for t in now.tables
    ]
    return _columns(("table", "used", "of", ""), rows)


def _programs(now: Status) -> Iterator[str]:
    rows = [
        (
            p.name,
            fmt.grouped(p.run_count) if p.run_count else fmt.NOTHING,
            f"{p.run_seconds / p.run_count * 1e9:.0f}" if p.run_count else fmt.NOTHING,
            fmt.grouped(p.verified_instructions),
        )
        for p in now.programs
    ]
    return _columns(("program", "runs", "ns a run", "instructions verified"), rows)


def _counters(now: Status) -> Iterator[Iterable[str]]:
    for prefix, title in _FAMILIES:
        counted = [
            (name.removeprefix(prefix).replace("_", " "), fmt.grouped(count))
            for name, count in now.counters.items()
            if name.startswith(prefix) and count
        ]
        if counted:
            yield _columns((title, ""), counted)


def _pairs(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in rows)
    return (f"  {name:<{width}}  {text}" for name, text in rows)


def _columns(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines in which the first column is left-aligned and the others stand below each other."""
    widths = [max(len(cell) for cell in column) for column in zip(titles, *rows, strict=True)]
    for indent, row in [("", titles), *(("  ", row) for row in rows)]:
        first = f"{indent}{row[0]}".ljust(widths[0] + 2)
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([first, *cells]).rstrip()
