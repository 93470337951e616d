"""A real Prometheus scrapes a real agent that watches real requests."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.agent.conftest import Running, Server
from tests.live.kit.waiting import until
from tests.live.kit.world import World

DURATION = "http_server_request_duration_seconds"


class Prometheus:
    """A Prometheus that scrapes one agent every second."""

    def __init__(self, scratch: Path, target: int, port: int, *flags: str) -> None:
        program = shutil.which("prometheus")
        if program is None:
            pytest.fail("prometheus is missing: apt install prometheus, or make setup")
        config = scratch / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
            "scrape_configs:\n"
            "  - job_name: axon\n"
            f"    static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
        )
        self._url = f"http://127.0.0.1:{port}"
        self._log = (scratch / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={scratch / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                *flags,
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return an instant vector, or nothing while Prometheus does not answer."""
        url = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                found = json.load(response)["data"]["result"]
        except OSError:
            return []
        return [(one["metric"], float(one["value"][1])) for one in found]

    def wait(self, expression: str, value: float) -> None:
        """Wait until an expression has one value."""
        until(
            lambda: [v for _, v in self.query(expression)] == [value],
            f"{expression} is {value}",
        )

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


@pytest.fixture(params=[(), ("--enable-feature=native-histograms",)], ids=["text", "native"])
def prometheus(
    request: pytest.FixtureRequest, agent: Running, world: World, tmp_path: Path
) -> Iterator[Prometheus]:
    """Give a Prometheus that scrapes a running agent, with and without native histograms."""
    agent.start(AXON_LEGACY_METRICS="true", AXON_KEEP="true")
    made = Prometheus(tmp_path, agent.port, world.port(), *request.param)
    yield made
    made.close()


def test_prometheus_reads_what_was_requested(
    prometheus: Prometheus, agent: Running, server: Server, request: pytest.FixtureRequest
) -> None:
    """Counts, sums, quantiles, errors and the graph arrive as they were, over a restart too."""
    native = "native" in request.node.name
    for path, times in (("/", 30), ("/slow", 10), ("/status/503", 5), ("/abort", 2)):
        for _ in range(times):
            server.request(path)
    mine = f'{{server_port="{server.port}"}}'
    prometheus.wait("up", 1)
    count = f"histogram_count({DURATION}{mine})" if native else f"{DURATION}_count{mine}"
    prometheus.wait(f"sum({count})", 47)
    by_route = {metric["http_route"]: value for metric, value in prometheus.query(f"{count}")}
    assert by_route == {"/": 30, "/slow": 10, "/status/{id}": 5, "/abort": 2}
    errors = {m.get("error_type", "") for m, _ in prometheus.query(count)}
    assert errors == {"", "503", "no_response"}

    slow = f'{DURATION}{{server_port="{server.port}",http_route="/slow"}}'
    if native:
        (_, total), *_ = prometheus.query(f"histogram_sum({slow})")
        (_, median), *_ = prometheus.query(f"histogram_quantile(0.5, {slow})")
        (_, share), *_ = prometheus.query(f"histogram_fraction(0.14, 10, {slow})")
        assert share == pytest.approx(1)
        assert median == pytest.approx(total / 10, rel=0.1)
    else:
        (_, total), *_ = prometheus.query(slow.replace("seconds{", "seconds_sum{"))
        bucket = slow.replace("seconds{", "seconds_bucket{")
        (_, median), *_ = prometheus.query(f"histogram_quantile(0.5, {bucket})")
        assert 0.1 <= median <= 0.25
    assert 1.5 <= total < 3

    graph = prometheus.query("traces_service_graph_request_total")
    assert [value for _, value in graph] == [47]
    assert f":{server.port}" in graph[0][0]["server"]
    assert [v for _, v in prometheus.query("traces_service_graph_request_failed_total")] == [7]
    prometheus.wait("sum(http_requests_total)", 47)
    assert prometheus.query('axon_lost_total{reason="gap"}')[0][1] == 0
    assert prometheus.query("axon_healthy")[0][1] == 1

    agent.terminate()
    for _ in range(3):
        server.request("/")
    agent.start(AXON_KEEP="true")
    prometheus.wait(f"sum({count})", 50)
    assert [v for _, v in prometheus.query('resets(axon_requests_total{role="server"}[5m])')] == [0]
