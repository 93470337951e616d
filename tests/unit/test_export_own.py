"""Axon's metrics about itself, and the file that carries counters over a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.openmetrics import parser

from axon.export import own, state, text
from axon.export.labels import Labels

VITALS = own.Vitals(
    version="1.0",
    kernel="6.1",
    healthy=True,
    counters={"lost_gap": 3, "conn_tls": 4, "drop_flow_rate": 5, "info_rewound": 6},
    requests={"server": 10, "client": 20},
    retired={"server": 1, "client": 2},
    tables={"series": (5, 100)},
    programs={"ax_ingress": (7, 8_000_000_000)},
    kernel_bytes=1 << 20,
    bytes_per_socket=640,
    tick_seconds=0.001,
    started=1.75e9,
    cpu_seconds=1.5,
    resident_bytes=50 << 20,
)


def samples() -> dict[tuple[str, str], float]:
    """Return the parsed samples by name and the value of the label, if there is one."""
    document = b"".join(text.openmetrics(own.families(VITALS))).decode()
    read: Any = parser.text_string_to_metric_families
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in read(document)
        for sample in family.samples
    }


def test_what_axon_says_about_itself() -> None:
    """Every counter of the kernel and every vital sign is a valid OpenMetrics sample."""
    found = samples()
    for name, label, value in (
        ("axon_build_info", "1.06.1", 1),
        ("axon_healthy", "", 1),
        ("axon_requests_total", "server", 10),
        ("axon_retired_requests_total", "client", 2),
        ("axon_lost_total", "gap", 3),
        ("axon_connections_total", "tls", 4),
        ("axon_flow_records_dropped_total", "rate", 5),
        ("axon_events_total", "rewound", 6),
        ("axon_program_runs_total", "ax_ingress", 7),
        ("axon_program_run_seconds_total", "ax_ingress", 8),
        ("axon_table_entries", "series", 5),
        ("axon_table_limit", "series", 100),
        ("axon_kernel_memory_bytes", "", 1 << 20),
        ("process_cpu_seconds_total", "", 1.5),
    ):
        assert found[name, label] == value


def carries() -> state.Carries:
    """Return carries with hostile labels and numbers near the ends of their range."""
    cell = np.zeros(248, np.uint64)
    cell[[0, 7, 247]] = [1, 2**64 - 1, 2**63]
    return {
        "as_server": {Labels.of([("service_name", 'a"\n\udcff'), ("x", "y")]): cell},
        "empty": {},
    }


def test_carries_survive(tmp_path: Path) -> None:
    """What is saved is what is loaded, for the same set of maps only."""
    path = tmp_path / state.FILE
    maps = state.maps_name(2**64 - 1)
    assert state.load(path, maps) == {}
    state.save(path, maps, carries())
    loaded = state.load(path, maps)
    (labels, cell), *more = loaded["as_server"].items()
    assert not more
    assert labels == next(iter(carries()["as_server"]))
    assert np.array_equal(cell, carries()["as_server"][labels])
    assert state.load(path, state.maps_name(1)) == {}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"version": 1, "maps": "MAPS", "carries": {"as_server": [[[["a", "b"]], [1000000000000]]]}}',
        '{"version": 1, "maps": "MAPS", "carries": {"as_server": [[[["a", "b"]], [5, 9, 9]]]}}',
        '{"version": 1, "maps": "MAPS", "carries": {"as_server": [[["a"], []]]}}',
        '{"version": 1, "maps": "MAPS", "carries": [1]}',
        '{"version": 1, "maps": "MAPS", "carries": {"as_server": [[[["a", "b"]], [5, 1, -9]]]}}',
    ],
)
def test_a_damaged_file_is_an_error_and_not_a_crash(tmp_path: Path, content: str) -> None:
    """Whatever is in the file, the agent can say that it is damaged and go on."""
    path = tmp_path / state.FILE
    maps = state.maps_name(5)
    path.write_text(content.replace("MAPS", maps))
    with pytest.raises(ValueError):  # noqa: PT011 - json's and ours
        state.load(path, maps)
