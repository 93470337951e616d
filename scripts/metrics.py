"""Every metric family that Axon can export, from the exporter itself and one request on each side."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from axon.export import active, own, policy
from axon.export.exporter import Exporter
from axon.export.families import Family, Scalars
from axon.export.series import Series
from axon.snapshot import Snapshot
from axon.snapshot.layout import Layout
from axon.snapshot.sparse import Sparse
from axon.snapshot.window import Window

_LAYOUT = Layout.of(
    np.dtype(
        [(name, "<u8") for name in ("dur_sum", "ttfb_sum", "req_body", "resp_body")]
        + [(name, "<u8", (n,)) for name, n in (("req_size", 12), ("resp_size", 12), ("hist", 216))]
    )
)
_SERIES = [
    Series("server", "web", "shop.slice", "GET", "/", 80, 503, "", "1.1", "client"),
    Series("client", "web", "shop.slice", "GET", "/", 80, 0, "reset", "1.1", "server", "10.0.0.1"),
    Series("client", "web", "shop.slice", "GET", "/", 80, 404, "", "1.1", "server", "10.0.0.1"),
]


def of_requests() -> tuple[list[Family], list[Family]]:
    """The families of requests: those that are always there, and those of `legacy_metrics`."""
    n = len(_SERIES)
    zeros = np.zeros(n, np.uint64)
    snapshot = Snapshot(
        t_ns=0,
        epoch=0,
        slots=np.arange(n),
        gens=np.zeros(n, np.uint32),
        fresh=np.arange(n),
        keys=zeros,
        created=zeros,
        pids=np.zeros(n, np.uint32),
        count=np.ones(n, np.uint64),
        sums=np.zeros((n, _LAYOUT.first), np.uint64),
        retired=zeros,
        stats=zeros,
        taken=n,
        max_series=n,
        window=Window(_LAYOUT, (), 0, 1),
        layout=_LAYOUT,
        buckets=Sparse.empty(),
    )
    exporter = Exporter(legacy=True)
    exporter.update(snapshot, np.arange(n), _SERIES)
    families = exporter.families()
    usual = Exporter()
    usual.update(snapshot, np.arange(n), _SERIES)
    names = {family.name for family in usual.families()}
    flight = {active.Flight("web", "shop.slice", 80, "GET"): 1}
    return (
        [
            *(family for family in families if family.name in names),
            *active.requests({"server": flight, "client": flight}),
        ],
        [family for family in families if family.name not in names],
    )


def of_axon(reasons: Iterable[str]) -> list[Family]:
    """What Axon says about itself; `reasons` are the counters' names, such as `lost_gap`."""
    vitals = own.families(
        own.Vitals(
            version="1",
            kernel="1",
            healthy=True,
            counters=dict.fromkeys(reasons, 0),
            requests={"server": 0, "client": 0},
            retired={"server": 0, "client": 0},
            tables={"series": (0, 1)},
            programs={"ax_ingress": (0, 0)},
            kernel_bytes=0,
            bytes_per_socket=0,
            tick_seconds=0,
            started=0,
            cpu_seconds=0,
            resident_bytes=0,
        )
    )
    return [*vitals, *active.sockets({("http1", "server"): 0})]


def of_policies(reasons: Iterable[str]) -> list[Family]:
    """What policies decided; `reasons` are those of denials."""
    return [
        *policy.families({"default/web": (0, 0, 0)}, dict.fromkeys(reasons, 0)),
        *policy.watch({"judged": 0}, {"missing": 0}, {"destroyed": 0}, current=True),
    ]


def sample_name(family: Family) -> str:
    """The name that a query uses: that of a counter ends in `_total`."""
    counter = isinstance(family, Scalars) and family.kind == "counter"
    return family.name + "_total" if counter else family.name


def table(families: Iterable[Family]) -> list[str]:
    """The rows of a table in Markdown."""
    rows = ["| metric | type | labels | what it is |", "|---|---|---|---|"]
    for family in families:
        kind = family.kind if isinstance(family, Scalars) else "histogram"
        names = dict.fromkeys(name for labels in family.labels for name, _ in labels.pairs)
        labels = " ".join(f"`{name}`" for name in names)
        rows.append(f"| `{sample_name(family)}` | {kind} | {labels} | {family.help} |")
    return rows
