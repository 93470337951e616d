"""Axon's metrics about itself: what was lost and why, how full its tables are, what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from axon.export.families import Family, Scalars
from axon.export.labels import NO_LABELS, Labels

Entries = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the agent knows about itself. Memory is in bytes, `started` Unix time in seconds.

    `counters` are those of enum ax_stat by their name in axon.h in lower case without `ax_`, such as
    `lost_gap`. `tables` gives entries in use and their bound, `programs` runs and ns in them.
    """

    version: str
    kernel: str
    healthy: bool
    counters: Mapping[str, int]
    requests: Mapping[str, int]
    retired: Mapping[str, int]
    tables: Mapping[str, tuple[int, int]]
    programs: Mapping[str, tuple[int, int]]
    kernel_bytes: int
    bytes_per_socket: int
    tick_seconds: float
    started: float
    cpu_seconds: float
    resident_bytes: int


def families(vitals: Vitals) -> list[Family]:
    """Return everything Axon says about itself."""
    counters = vitals.counters
    info = Labels(("version", "kernel"), (vitals.version, vitals.kernel))
    return [
        Scalars("axon_build_info", "Always 1, with the versions.", "gauge", [info], [1]),
        _gauge("axon_healthy", "1 while the programs are attached and readable.", vitals.healthy),
        *_counters(
            ("axon_requests", "Requests counted, by the side seen.", "role", vitals.requests),
            ("axon_retired_requests", "Those of series retired.", "role", vitals.retired),
            (
                "axon_lost",
                "Requests, or positions in a stream, that could not be followed.",
                "reason",
                family_of(counters, "lost_"),
            ),
            (
                "axon_connections",
                "Connections by what they turned out to carry.",
                "kind",
                family_of(counters, "conn_"),
            ),
            (
                "axon_flow_records_dropped",
                "Flow records that were not written; the requests are counted.",
                "reason",
                family_of(counters, "drop_flow_"),
            ),
            (
                "axon_events",
                "Events in the kernel that lose nothing.",
                "event",
                family_of(counters, "info_"),
            ),
            (
                "axon_program_runs",
                "Runs of each program, while the kernel measures them.",
                "program",
                {name: runs for name, (runs, _) in vitals.programs.items()},
            ),
            (
                "axon_program_run_seconds",
                "Time in each program, while the kernel measures it (kernel.bpf_stats_enabled).",
                "program",
                {name: ns / 1e9 for name, (_, ns) in vitals.programs.items()},
                "seconds",
            ),
        ),
        _table("axon_table_entries", "Entries in use of a table.", vitals, lambda t: t[0]),
        _table("axon_table_limit", "Entries that a table has room for.", vitals, lambda t: t[1]),
        _gauge(
            "axon_kernel_memory_bytes", "Bound of all maps together.", vitals.kernel_bytes, "bytes"
        ),
        _gauge(
            "axon_socket_memory_bytes",
            "Taken in the kernel for each TCP socket, outside that bound.",
            vitals.bytes_per_socket,
            "bytes",
        ),
        _gauge("axon_tick_seconds", "What the last tick took.", vitals.tick_seconds, "seconds"),
        Scalars(
            "process_cpu_seconds",
            "User and system CPU time of the agent.",
            "counter",
            [NO_LABELS],
            [vitals.cpu_seconds],
            "seconds",
        ),
        _gauge(
            "process_resident_memory_bytes",
            "Resident memory of the agent.",
            vitals.resident_bytes,
            "bytes",
        ),
        _gauge(
            "process_start_time_seconds",
            "When the agent started, in Unix time.",
            vitals.started,
            "seconds",
        ),
    ]


def family_of(counters: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Return the counters whose names begin so, without that."""
    return {
        name.removeprefix(prefix): value
        for name, value in counters.items()
        if name.startswith(prefix)
    }


def _counters(
    *rows: tuple[str, str, str, Entries] | tuple[str, str, str, Entries, str],
) -> Sequence[Family]:
    return [
        Scalars(
            name,
            text,
            "counter",
            [Labels((label,), (entry,)) for entry in entries],
            list(entries.values()),
            *unit,
        )
        for name, text, label, entries, *unit in rows
    ]


def _gauge(name: str, text: str, value: float, unit: str = "") -> Scalars:
    return Scalars(name, text, "gauge", [NO_LABELS], [float(value)], unit)


def _table(name: str, text: str, vitals: Vitals, pick: Callable[[tuple[int, int]], int]) -> Scalars:
    labels = [Labels(("table",), (table,)) for table in vitals.tables]
    return Scalars(name, text, "gauge", labels, [pick(fill) for fill in vitals.tables.values()])
