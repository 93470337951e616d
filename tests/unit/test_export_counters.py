"""Exported counters: sums over series, which never fall when series retire or are named anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.openmetrics import parser

from axon.export import state, text
from axon.export.exporter import Exporter
from axon.export.series import Series
from axon.snapshot import Collector, Grouping, Snapshot
from tests.unit.snapshot.fake import SECOND, FakeKernel

CLIENT = "http_client_request_duration_seconds_count"

Label = Callable[[np.void, int], Series]


class Host:
    """A fake kernel with everything up to the exporter behind it."""

    def __init__(self, tmp_path: Path, *, legacy: bool = False) -> None:
        self.kernel = FakeKernel(max_series=256)
        self.tmp_path = tmp_path
        self.service = "web"
        self.exporter = Exporter(legacy=legacy)
        self.start()

    def start(self) -> None:
        """Begin as a new process does."""
        self.collector = Collector(
            self.kernel,
            ledger=self.tmp_path / "ledger",
            idle_seconds=5,
            clock=self.kernel.clock,
        )
        self.names = Grouping(self.name)

    def name(self, key: np.void, _: int) -> Series:
        """Name a series as the agent would."""
        peer = int(key["peer"][15])
        return Series(
            role="client" if key["role"] else "server",
            service=self.service,
            namespace="",
            method="GET",
            route=f"/{key['route']}",
            port=int(key["port"]),
            status=int(key["status"]),
            error="" if key["status"] else "reset",
            version="1.1",
            peer=f"peer{peer}" if peer else "",
            server_address=f"127.0.0.{peer}" if peer and key["role"] else "",
        )

    def tick(self, seconds: float = 1.0) -> Snapshot:
        """Let time go by and look."""
        self.kernel.now += int(seconds * SECOND)
        snapshot = self.collector.tick()
        rows = self.names.of(snapshot)
        self.exporter.update(snapshot, rows, self.names.labels)
        return snapshot

    def request(self, *, peer: int = 0, **fields: int) -> None:
        """Count one request."""
        key = self.kernel.key(**{"route": 1, "port": 80, "status": 200, "method": 1, **fields})
        key["peer"][15] = peer
        self.kernel.request(key, duration=20_000_000, body=1000)

    def scrape(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Scrape; return labels and values of the samples of a name."""
        document = b"".join(text.openmetrics(self.exporter.families())).decode()
        read: Any = parser.text_string_to_metric_families
        return [
            (sample.labels, sample.value)
            for family in read(document)
            for sample in family.samples
            if sample.name == name
        ]

    def samples(self, name: str, **labels: str) -> list[float]:
        """Scrape; return the values of the samples that have these labels."""
        return [value for found, value in self.scrape(name) if labels.items() <= found.items()]

    def asked(self) -> list[tuple[str | None, float]]:
        """Return the counts of the client's duration histograms, each by the address asked."""
        return [(labels.get("server_address"), value) for labels, value in self.scrape(CLIENT)]

    def count(self, **labels: str) -> list[float]:
        """Return the counts of the server's duration histograms."""
        return self.samples("http_server_request_duration_seconds_count", **labels)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host without requests."""
    return Host(tmp_path)


def test_peers_are_summed_away(host: Host) -> None:
    """Series that differ only in their peer are one in the http families, and two edges."""
    for peer in (1, 1, 2):
        host.request(peer=peer)
    host.tick()
    assert host.count() == [3]
    name = "traces_service_graph_request_total"
    assert host.samples(name, client="peer1", server="web") == [2]
    assert host.samples(name, client="peer2", server="web") == [1]
    assert host.samples("traces_service_graph_request_server_seconds_count", client="peer1") == [2]


def test_the_names_and_labels_of_the_design(host: Host) -> None:
    """A request is found under OpenTelemetry's names, in seconds and bytes."""
    host.request()
    host.request(status=503)
    host.request(status=0)
    host.request(role=1, status=404)
    host.tick()
    duration = "http_server_request_duration_seconds"
    ok = {
        "service_name": "web",
        "server_port": "80",
        "http_request_method": "GET",
        "http_route": "/1",
        "http_response_status_code": "200",
        "url_scheme": "http",
        "network_protocol_version": "1.1",
    }
    assert host.samples(duration + "_count", **ok) == [1]
    assert host.samples(duration + "_sum", **ok) == [0.02]
    assert host.samples(duration + "_bucket", le="0.025", **ok) == [1]
    assert host.samples(duration + "_bucket", le="0.01", **ok) == [0]
    assert host.count(error_type="503", http_response_status_code="503") == [1]
    assert host.count(error_type="reset") == [1]
    assert host.samples(CLIENT, error_type="404") == [1]
    assert host.samples("http_server_response_body_size_bytes_sum", **ok) == [1000]
    assert host.samples("http_server_response_body_size_bytes_bucket", le="1024.0", **ok) == [1]
    assert host.samples("http_server_request_body_size_bytes_bucket", le="256.0", **ok) == [1]


def test_servers_are_told_apart_by_their_address(host: Host) -> None:
    """A client's series that differ in the address asked are apart, without the label where there is
    none; a server's are one.
    """
    for peer in (1, 1, 2, 0):
        host.request(role=1, peer=peer)
        host.request(peer=peer)
    host.tick()
    assert sorted(host.asked(), key=str) == [("127.0.0.1", 2), ("127.0.0.2", 1), (None, 1)]
    assert host.samples(CLIENT, server_address="127.0.0.2", server_port="80") == [1]
    sums = "http_client_request_duration_seconds_sum"
    assert host.samples(sums, server_address="127.0.0.1") == [0.04]
    assert host.count() == [4]
    ((labels, _),) = host.scrape("http_server_request_duration_seconds_count")
    assert "server_address" not in labels


def test_an_address_that_is_asked_no_more_ends(host: Host) -> None:
    """Its counter is gone and begins at zero when it is asked again; that of others goes on."""
    for _ in range(5):
        host.request(role=1, peer=1)
    for _ in range(12):
        host.request(role=1, peer=2)
        host.tick()
    assert host.asked() == [("127.0.0.2", 12)]
    host.request(role=1, peer=1)
    host.tick()
    assert sorted(host.asked(), key=str) == [("127.0.0.1", 1), ("127.0.0.2", 12)]


def test_a_restart_keeps_addresses_apart(host: Host) -> None:
    """What an address' retired series counted is found under it by the next process, by the file."""
    for peer in (1, 2):
        for _ in range(4 + peer):
            host.request(role=1, peer=peer, cgroup=7)
    for _ in range(12):
        for peer in (1, 2):
            host.request(role=1, peer=peer, cgroup=8)
        host.tick()
    file = host.tmp_path / "carries"
    state.save(file, "maps", host.exporter.carries)
    host.exporter = Exporter()
    host.exporter.inherit(state.load(file, "maps"))
    host.start()
    host.tick()
    assert sorted(host.asked(), key=str) == [("127.0.0.1", 17), ("127.0.0.2", 18)]


def test_a_retired_series_does_not_make_a_counter_fall(host: Host) -> None:
    """While another peer's series lives, what the retired one counted stays in the sum."""
    for _ in range(5):
        host.request(peer=1)
    for _ in range(12):
        host.request(peer=2)
        host.tick()
    assert len(host.tick()) < 4
    assert host.count() == [17]
    assert host.samples("http_server_request_duration_seconds_sum") == [pytest.approx(17 * 0.02)]
    assert host.samples("http_server_response_body_size_bytes_count") == [17]
    assert host.samples("traces_service_graph_request_total", client="peer1") == []


def test_a_group_without_series_disappears(host: Host) -> None:
    """When the last series of a group has retired, so has the group; a new one begins at zero."""
    host.request()
    for _ in range(12):
        host.tick()
    assert host.count() == []
    host.request()
    host.tick()
    assert host.count() == [1]


def test_a_restart_does_not_make_a_counter_fall(host: Host) -> None:
    """What retired series left to a group is handed from process to process."""
    for _ in range(5):
        host.request(peer=1)
    for _ in range(12):
        host.request(peer=2)
        host.tick()
    assert [host.exporter.take_changed() for _ in range(2)] == [True, False]
    carries = host.exporter.carries
    host.exporter = Exporter()
    host.exporter.inherit(carries)
    host.start()
    host.tick()
    assert host.count() == [17]
    assert host.samples("traces_service_graph_request_total") == [12]


def test_a_new_name_counts_from_there_if_the_old_one_goes_on(host: Host) -> None:
    """A renamed series takes its counts along only if nothing else has the old name."""
    host.request(peer=1)
    host.request(peer=2)
    host.tick()
    host.service = "nginx.service"
    host.names.forget(lambda series: series.peer == "peer1")
    # The rows are the same and the names are not.
    host.tick()
    assert host.count(service_name="web") == [2]
    assert host.count(service_name="nginx.service") == [0]
    host.request(peer=1)
    host.tick()
    assert host.count(service_name="nginx.service") == [1]
    host.names.forget()
    host.tick()
    assert host.count(service_name="web") == []
    assert host.count(service_name="nginx.service") == [2]


def test_counters_add_up_under_churn(host: Host) -> None:
    """Random peers come and go: no counter ever falls, and their sum is what was requested."""
    rng = np.random.default_rng(5)
    last, total = 0.0, 0
    for _ in range(60):
        for peer in rng.integers(1, 40, 5):
            host.request(peer=int(peer))
            total += 1
        host.tick()
        (now,) = host.count()
        assert now == total
        assert now >= last
        last = now


def test_what_is_being_scraped_does_not_change(host: Host) -> None:
    """Families that were handed out stay as they are when the next snapshot comes."""
    host.request()
    host.tick()
    families = host.exporter.families()
    host.request()
    host.request(route=2)
    host.tick()
    document = b"".join(text.openmetrics(families)).decode()
    assert "_count" in document
    assert 'http_route="/2"' not in document
    assert " 1.0\n" not in document
    assert 'le="+Inf"} 1\n' in document


def test_legacy_names_by_option(tmp_path: Path) -> None:
    """The names first asked for are there when the option says so, and not otherwise."""
    host = Host(tmp_path, legacy=True)
    host.request()
    host.request(port=81)
    host.tick()
    assert host.samples("http_requests_total", method="GET", path="/1", status="200") == [2]
    assert host.samples("http_request_duration_seconds_count", path="/1") == [2]
    assert host.samples("http_request_size_bytes_count", path="/1") == [2]
    assert Host(tmp_path).samples("http_requests_total") == []
