"""Durations against the load generator's own, which stand in its log, one by one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from axon.snapshot import quantiles
from tests.live.kit.books import Books
from tests.live.kit.nginx import nginx, wait_until_listening
from tests.live.kit.world import World

PROGRAMS = Path(__file__).with_name("programs")
SHARES = (0.5, 0.9, 0.99)


def generate(world: World, url: str, log: Path, requests: int, connections: int) -> np.ndarray:
    """Ask so many times; return each request's duration in seconds as the generator saw it."""
    counts = ("-n", str(requests), "-c", str(connections))
    world.client.run("h2load", "--h1", *counts, f"--log-file={log}", url)
    rows = np.loadtxt(log)
    assert rows.shape == (requests, 3)
    assert (rows[:, 1] == 200).all()
    return rows[:, 2] / 1e6


def test_percentiles(world: World, books: Books, tmp_path: Path) -> None:
    """P50, P90 and P99 are within 5 % of the generator's, at the server and at the client."""
    port = world.port()
    server = world.server.start(sys.executable, str(PROGRAMS / "delays.py"), str(port), "3")
    wait_until_listening(world.server, port, server)
    url = f"http://{world.server.ip4}:{port}/delayed"
    taken = generate(world, url, tmp_path / "log", 3000, 100)
    world.server.end(server)
    books.expect(port, {"GET /delayed 200": 3000})
    theirs = np.quantile(taken, SHARES, method="inverted_cdf")
    for row in books.rows(port, "GET /delayed 200"):
        ours = quantiles(row.hist[np.newaxis], SHARES)[:, 0]
        assert ours == pytest.approx(theirs, rel=0.05), row.role
        assert row.dur_sum / 1e9 == pytest.approx(taken.sum(), rel=0.05), row.role


def test_difference_is_the_generators_queue(world: World, books: Books, tmp_path: Path) -> None:
    """Under load a generator measures the time in its own queues, too: Axon's durations are never
    longer, at the client no shorter than at the server, and at the server those of the wire.
    """
    with nginx(world, world.server, tmp_path / "nginx") as site:
        taken = generate(world, site.url("/small"), tmp_path / "log", 20_000, 20)
        books.expect(site.port, {"GET /small 200": 20_000})
        server, client = books.rows(site.port, "GET /small 200")
    assert server.dur_sum < client.dur_sum < taken.sum() * 1e9
    for place in SHARES:
        inside, outside = (quantiles(r.hist[np.newaxis], (place,))[0, 0] for r in (server, client))
        assert inside <= outside * 1.1
        assert outside <= np.quantile(taken, place, method="inverted_cdf") * 1.05
