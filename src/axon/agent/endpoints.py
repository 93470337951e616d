"""The last snapshot as the API gives it: endpoints with rates, errors and percentiles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.api import schema
from axon.export.counters import Counters, Groups
from axon.export.labels import Labels
from axon.export.series import Series
from axon.snapshot import Snapshot, Stats

Rows = NDArray[np.intp]

_BLOCK = 256  # endpoints that are in memory as objects at a time


def endpoints(
    snapshot: Snapshot, groups: Counters, of_row: Rows, series: Sequence[Series]
) -> Iterator[list[schema.Endpoint]]:
    """Yield every endpoint, some at a time. Row i of the snapshot is `series[of_row[i]]`."""
    n = len(groups.labels)
    stats = snapshot.window.stats(snapshot.slots, groups.groups, n, _failed(of_row, series))
    statuses = _statuses(snapshot, groups.groups, of_row, series)
    totals = groups.requests()
    for start in range(0, n, _BLOCK):
        block = slice(start, min(start + _BLOCK, n))
        columns = _columns(stats, block) | {"total": totals[block].tolist()}
        yield [
            _endpoint(label, statuses.get(start + i, {}), {k: c[i] for k, c in columns.items()})
            for i, label in enumerate(groups.labels[block])
        ]


def _endpoint(
    label: Labels, statuses: dict[str, int], numbers: Mapping[str, Any]
) -> schema.Endpoint:
    name = dict(label.pairs)
    return schema.Endpoint(
        service=name.get("service", ""),
        namespace=name.get("namespace", ""),
        role="client" if name["role"] == "client" else "server",
        method=name["method"],
        route=name.get("route", ""),
        port=int(name["port"]),
        statuses=statuses,
        **numbers,
    )


def totals(
    snapshot: Snapshot, roles: Mapping[str, int], of_row: Rows, series: Sequence[Series]
) -> dict[str, schema.Totals]:
    """Return every request of each side. `roles` is enum ax_role by the API's names."""
    role = snapshot.keys["role"].astype(np.intp)
    n = len(snapshot.retired)
    stats = snapshot.window.stats(snapshot.slots, role, n, _failed(of_row, series))
    columns = _columns(stats)
    del columns["ttfb"]
    ever = requests(snapshot, roles)
    return {
        name: schema.Totals(total=ever[name], **{key: c[number] for key, c in columns.items()})
        for name, number in roles.items()
    }


def requests(snapshot: Snapshot, roles: Mapping[str, int]) -> dict[str, int]:
    """Return the requests of each side since Axon first started."""
    live = np.bincount(snapshot.keys["role"], snapshot.count, max(roles.values()) + 1)
    gone = retired(snapshot, roles)
    return {name: int(live[number]) + gone[name] for name, number in roles.items()}


def retired(snapshot: Snapshot, roles: Mapping[str, int]) -> dict[str, int]:
    """Return the requests of each side in series that are no longer."""
    return {name: int(snapshot.retired["hist"][number].sum()) for name, number in roles.items()}


def _failed(of_row: Rows, series: Sequence[Series]) -> NDArray[np.bool_]:
    failed: NDArray[np.bool_] = np.array([one.failed for one in series], np.bool_)[of_row]
    return failed


def _columns(stats: Stats, rows: slice = slice(None)) -> dict[str, list[Any]]:
    return {
        "rate": stats.rate[rows].tolist(),
        "error_rate": stats.error_rate[rows].tolist(),
        "count": stats.count[rows].astype(np.int64).tolist(),
        "p50": _known(stats.p50[rows]),
        "p95": _known(stats.p95[rows]),
        "p99": _known(stats.p99[rows]),
        "ttfb": _known(stats.ttfb[rows]),
        "request_bytes": (stats.req_wire[rows] / stats.seconds).tolist(),
        "response_bytes": (stats.resp_wire[rows] / stats.seconds).tolist(),
    }


def _known(column: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in column.tolist()]


def _statuses(
    snapshot: Snapshot, groups: Groups, of_row: Rows, series: Sequence[Series]
) -> dict[int, dict[str, int]]:
    """Return the requests within the window of each group that had any, by status or error."""
    out: dict[int, dict[str, int]] = {}
    counts = snapshot.window.counts(snapshot.slots)
    rows = np.flatnonzero((counts > 0) & (groups >= 0))
    for row, group in zip(rows.tolist(), groups[rows].tolist(), strict=True):
        one = series[of_row[row]]
        name = one.error or str(one.status)
        mine = out.setdefault(group, {})
        mine[name] = mine.get(name, 0) + int(counts[row])
    return out
