"""A snapshot in a sentence or two: totals, losses, and what is not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from axon.api.schema import Endpoint, Role, Snapshot, Totals
from axon.view import format as fmt

WAYS: Final[Mapping[Role, str]] = {"server": "incoming", "client": "outgoing"}
UNREAD: Final[Mapping[str, str]] = {
    "tls": "TLS",
    "http2": "HTTP/2",
    "upgraded": "upgraded",
    "other": "other",
}
"""Kinds of connection that are not read, by their names in a snapshot."""


def other_way(role: Role) -> Role:
    """Return the other end of a connection."""
    return "client" if role == "server" else "server"


def totals_of(snapshot: Snapshot, role: Role) -> Totals:
    """Return everything about one side."""
    return snapshot.server if role == "server" else snapshot.client


def failing(rows: Sequence[Endpoint]) -> float | None:
    """Return the failed requests among all of these endpoints' together, 0 to 1."""
    total = sum(row.rate for row in rows)
    return min(1.0, sum(row.error_rate for row in rows) / total) if total else None


def lost(snapshot: Snapshot) -> str:
    """Return what could not be followed, with the most frequent reason: ``12 lost (gap)``."""
    total = sum(snapshot.lost.values())
    if not total:
        return "0 lost"
    worst = max(snapshot.lost, key=lambda reason: snapshot.lost[reason])
    return f"{fmt.grouped(total)} lost ({worst.removeprefix('lost_').replace('_', ' ')})"


def not_read(snapshot: Snapshot) -> str:
    """Return the connections that are not read, by kind: ``12 TLS, 3 HTTP/2``."""
    return ", ".join(
        f"{fmt.count(snapshot.connections[kind])} {name}"
        for kind, name in UNREAD.items()
        if snapshot.connections.get(kind)
    )
