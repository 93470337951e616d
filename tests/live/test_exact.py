"""A million requests, counted by Axon and by nginx itself: the difference is 0."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.kit.books import Books
from tests.live.kit.emulated import share
from tests.live.kit.nginx import Nginx, nginx
from tests.live.kit.world import Place, World


@pytest.fixture
def site(world: World, books: Books, tmp_path: Path) -> Iterator[Nginx]:
    """Run nginx. After a thousand requests it closes a connection."""
    with nginx(world, world.server, tmp_path / "site", kept=1000) as running:
        yield running


def h2load(place: Place, url: str, requests: int, connections: int) -> int:
    """Ask so many times over HTTP/1.1; return how many were answered."""
    command = ["h2load", "--h1", "-n", str(requests), "-c", str(connections), "-t", "1"]
    output = place.run(*command, url, timeout=280)
    found = re.search(r"requests: .* (\d+) succeeded", output)
    assert found, output
    return int(found[1])


@pytest.mark.timeout(300)
def test_a_million_requests(site: Nginx, world: World, books: Books) -> None:
    """A million requests on connections of a thousand each are counted exactly, at both ends."""
    assert h2load(world.client, site.url("/small"), 1_000_000, 200) == 1_000_000
    assert site.requests() == 1_000_000
    books.expect(site.port, {"GET /small 200": 1_000_000})
    assert books.since("CONN_HTTP1") >= 2 * 1000


def test_a_connection_for_each_request(site: Nginx, world: World, books: Books) -> None:
    """Fifty thousand connections of a request each are counted exactly, at both ends."""
    output = world.client.run("ab", "-q", "-n", "50000", "-c", "50", site.url("/small"))
    assert re.search(r"Complete requests: +50000\n", output)
    assert site.requests() == 50_000
    books.expect(site.port, {"GET /small 200": 50_000})


def test_kept_connections(site: Nginx, world: World, books: Books) -> None:
    """The same by another generator on kept connections."""
    many = share(100_000)
    output = world.client.run("ab", "-q", "-k", "-n", str(many), "-c", "20", site.url("/small"))
    assert re.search(rf"Complete requests: +{many}\n", output)
    assert site.requests() == many
    books.expect(site.port, {"GET /small 200": many})


@contextmanager
def steered(place: Place, device: str) -> Iterator[None]:
    """Have every CPU take part in receiving from a device: they interrupt one another for it."""
    file = f"/sys/class/net/{device}/queues/rx-0/rps_cpus"
    every = f"{(1 << min(os.cpu_count() or 1, 32)) - 1:x}"
    for mask in (every, "0"):
        subprocess.run(
            ["ip", "netns", "exec", place.name, "sh", "-c", f"echo {mask} > {file}"], check=True
        )
        if mask == every:
            yield


@pytest.mark.timeout(300)
def test_nested_runs(site: Nginx, world: World, books: Books, tmp_path: Path) -> None:
    """Nothing of a million is missed or counted twice while runs of the programs interrupt one another."""
    here, there = world.server, world.client
    many, files = share(1_000_000), share(20_000)
    (site.www / "file").write_bytes(b"f" * 500_000)
    with (
        steered(here, "lo"),
        steered(here, "cable1"),
        steered(there, "cable1"),
        nginx(world, there, tmp_path / "other") as other,
    ):
        load = ["h2load", "--h1", "-n", str(many), "-c", "20", "-t", "1", other.url("/small")]
        beside = here.start(*load)
        bulk = there.start("h2load", "--h1", "-n", str(files), "-c", "4", site.url("/file"))
        assert h2load(there, site.url("/small"), many, 50) == many
        assert bulk.wait(280) == 0
        assert beside.wait(280) == 0
        for process, place in ((beside, here), (bulk, there)):
            place.end(process)
        assert site.requests() == many + files
        assert other.requests() == many
    books.expect(site.port, {"GET /small 200": many, "GET /file 200": files})
    books.expect(other.port, {"GET /small 200": many})
    assert books.row(site.port, "client", "GET /file 200").resp_body == files * 500_000
    assert books.since("INFO_NEST") > 0


def test_wrk(site: Nginx, world: World, books: Books) -> None:
    """A generator that stops by time leaves requests under way: each of them is accounted for.

    Of those that nginx has read and wrk has not, the kernel of the client's side tells which had their response: a
    connection that is closed with data unread is reset, and counted.
    """
    closed_unread = world.client.extended_counter("TCPAbortOnClose")
    output = world.client.run("wrk", "-t1", "-c50", "-d3", site.url("/small"))
    found = re.search(r"(\d+) requests in", output)
    assert found, output
    read_by_wrk, read_by_nginx = int(found[1]), site.requests()
    remainder = read_by_nginx - read_by_wrk
    assert 0 <= remainder <= 50
    unread = world.client.extended_counter("TCPAbortOnClose") - closed_unread
    answered, cut = read_by_wrk + unread, remainder - unread
    books.expect(
        site.port,
        server={"GET /small 200": read_by_nginx},
        client={"GET /small 200": answered, "GET /small - no_response": cut},
    )
