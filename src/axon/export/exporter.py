"""From snapshots to metric families."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from operator import attrgetter

import numpy as np

from axon.export import buckets
from axon.export.counters import Counters, Rows
from axon.export.families import Block, Counts, Family, Histograms, Scalars
from axon.export.labels import Labels
from axon.export.series import Series
from axon.snapshot import Snapshot

_GROUPINGS = (
    "as_endpoint",
    "as_server",
    "as_client",
    "as_edge",
    "as_failed_edge",
    "as_server_edge",
    "as_client_edge",
)
_LEGACY = ("as_legacy", "as_legacy_path")
_NS = 1e9


class Exporter:
    """Holds the last snapshot, grouped in every way that is exported."""

    def __init__(self, *, legacy: bool = False) -> None:
        """`legacy` adds http_requests_total and its like."""
        names = _GROUPINGS + (_LEGACY if legacy else ())
        self._legacy = legacy
        self._groups = {name: Counters() for name in names}
        self._of_row: Rows | None = None
        self._state = (-1, 0)

    def update(self, snapshot: Snapshot, of_row: Rows, series: list[Series]) -> None:
        """Take in the next snapshot, whose row i is `series[of_row[i]]`.

        `of_row` is the same object for as long as neither the rows nor their names change.
        """
        # Nothing is said of a series before its first request: "other" may never have one.
        empty = snapshot.count == 0
        state = (snapshot.epoch, int(empty.sum()))
        if state == self._state and of_row is self._of_row:
            for group in self._groups.values():
                group.refresh(snapshot)
            return
        self._state, self._of_row = state, of_row
        of_row = np.where(empty, len(series), of_row)
        for name, group in self._groups.items():
            group.update(snapshot, of_row, [*map(attrgetter(name), series), None])

    @property
    def endpoints(self) -> Counters:
        """The endpoints of the API, as of the last snapshot."""
        return self._groups["as_endpoint"]

    def take_changed(self) -> bool:
        """Return whether `carries` have changed since this was asked the last time."""
        changed = any(group.changed for group in self._groups.values())
        for group in self._groups.values():
            group.changed = False
        return changed

    @property
    def carries(self) -> dict[str, Mapping[Labels, Counts]]:
        """What retired series have left to groups that go on; see `Counters`."""
        return {name: group.carries for name, group in self._groups.items()}

    def inherit(self, carries: Mapping[str, Mapping[Labels, Counts]]) -> None:
        """Take over the carries of an earlier process; to be called before the first update."""
        for name, cells in carries.items():
            if name in self._groups:
                self._groups[name].inherit(cells)

    def forget_inherited(self) -> None:
        """Let go of inherited carries whose groups have not come up by now."""
        for group in self._groups.values():
            group.forget_inherited()

    def families(self) -> list[Family]:
        """Return every family of requests, as of the last snapshot however late they are read."""
        if self._of_row is None:
            return []
        # Copies: what is being read must not change when the next snapshot comes.
        groups = {name: copy(group) for name, group in self._groups.items()}
        server, client = groups["as_server"], groups["as_client"]
        families: list[Family] = [
            _durations(
                "http_server_request_duration_seconds",
                "Time from a request's first byte to its response's last, at the server.",
                server,
            ),
            _sizes(
                "http_server_request_body_size_bytes",
                "Size of request bodies, without chunk framing.",
                server,
                "req",
            ),
            _sizes(
                "http_server_response_body_size_bytes",
                "Size of response bodies, without chunk framing.",
                server,
                "resp",
            ),
            _durations(
                "http_client_request_duration_seconds",
                "Time from a request's first byte to its response's last, at the client.",
                client,
            ),
        ]
        families += _graph(groups)
        if self._legacy:
            families += _as_first_asked(groups["as_legacy"], groups["as_legacy_path"])
        return families


def _graph(groups: Mapping[str, Counters]) -> list[Family]:
    edges, failed = groups["as_edge"], groups["as_failed_edge"]
    return [
        Scalars(
            "traces_service_graph_request",
            "Requests from one service to another.",
            "counter",
            edges.labels,
            edges.requests(),
        ),
        Scalars(
            "traces_service_graph_request_failed",
            "Requests from one service to another that were answered by 5xx or not completely.",
            "counter",
            failed.labels,
            failed.requests(),
        ),
        _durations(
            "traces_service_graph_request_server_seconds",
            "Time that requests from one service to another took at the server.",
            groups["as_server_edge"],
        ),
        _durations(
            "traces_service_graph_request_client_seconds",
            "Time that requests from one service to another took at the client.",
            groups["as_client_edge"],
        ),
    ]


def _as_first_asked(by_status: Counters, by_path: Counters) -> list[Family]:
    return [
        Scalars(
            "http_requests",
            "Requests that arrived at servers.",
            "counter",
            by_status.labels,
            by_status.requests(),
        ),
        _durations(
            "http_request_duration_seconds", "Time that requests took at the server.", by_path
        ),
        _sizes("http_request_size_bytes", "Size of request bodies.", by_path, "req"),
    ]


def _durations(name: str, text: str, groups: Counters) -> Histograms:
    def read(rows: slice) -> Block:
        hist = groups.counts(rows, "hist")
        return Block(buckets.classic(hist), groups.sums("dur_sum", rows) / _NS, hist)

    return Histograms(name, text, groups.labels, buckets.SECONDS, read, unit="seconds")


def _sizes(name: str, text: str, groups: Counters, end: str) -> Histograms:
    def read(rows: slice) -> Block:
        counts = buckets.sizes(groups.counts(rows, end + "_size"), groups.requests(rows))
        return Block(counts, groups.sums(end + "_body", rows).astype(np.float64))

    return Histograms(name, text, groups.labels, buckets.SIZES, read, unit="bytes")
