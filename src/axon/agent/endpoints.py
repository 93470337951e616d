"""The last snapshot as the API gives it: endpoints with rates, errors and percentiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.api import schema
from axon.export.counters import Counters
from axon.export.series import Series
from axon.snapshot import Snapshot, Stats

Rows = NDArray[np.intp]


def endpoints(
    snapshot: Snapshot, groups: Counters, of_row: Rows, series: Sequence[Series]
) -> list[schema.Endpoint]:
    """Return every endpoint. Row i of the snapshot is `series[of_row[i]]`."""
    n = len(groups.labels)
    stats = snapshot.window.stats(snapshot.slots, groups.groups, n, _failed(of_row, series))
    statuses = _statuses(snapshot, groups.groups, of_row, series, n)
    totals = groups.requests().tolist()
    columns = _columns(stats)
    out = []
    for i, label in enumerate(groups.labels):
        name = dict(label.pairs)
        out.append(
            schema.Endpoint(
                service=name.get("service", ""),
                namespace=name.get("namespace", ""),
                role="client" if name["role"] == "client" else "server",
                method=name["method"],
                route=name.get("route", ""),
                port=int(name["port"]),
                total=totals[i],
                statuses=statuses[i],
                **{key: column[i] for key, column in columns.items()},
            )
        )
    return out


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


def _columns(stats: Stats) -> dict[str, list[Any]]:
    return {
        "rate": stats.rate.tolist(),
        "error_rate": stats.error_rate.tolist(),
        "count": stats.count.astype(np.int64).tolist(),
        "p50": _known(stats.p50),
        "p95": _known(stats.p95),
        "p99": _known(stats.p99),
        "ttfb": _known(stats.ttfb),
        "request_bytes": (stats.req_wire / stats.seconds).tolist(),
        "response_bytes": (stats.resp_wire / stats.seconds).tolist(),
    }


def _known(column: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in column.tolist()]


def _statuses(
    snapshot: Snapshot, groups: Rows, of_row: Rows, series: Sequence[Series], n: int
) -> list[dict[str, int]]:
    """Return the requests within the window of each group, by status or type of error."""
    out: list[dict[str, int]] = [{} for _ in range(n)]
    counts = snapshot.window.counts(snapshot.slots)
    rows = np.flatnonzero((counts > 0) & (groups >= 0))
    for row, group in zip(rows.tolist(), groups[rows].tolist(), strict=True):
        one = series[of_row[row]]
        name = one.error or str(one.status)
        out[group][name] = out[group].get(name, 0) + int(counts[row])
    return out
