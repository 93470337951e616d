"""A whole agent names requests by patterns, given and learned, which change while requests come: none is miscounted."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.agent.conftest import Running
from tests.live.kit.nginx import Nginx, nginx
from tests.live.kit.waiting import until
from tests.live.kit.world import World

LOAD = 200_000
PART = 6000
ROLES = ("server", "client")
NAMES = [a + b for a in "bcdfgh" for b in ("ella", "ora", "ine", "ucy", "anna")]
PLACES = ("users", "accounts", "members", "people", "guests", "clients")
"""What is below each becomes known while requests come, one after the other."""


@pytest.fixture
def site(world: World, tmp_path: Path) -> Iterator[Nginx]:
    """Give a web server."""
    with nginx(world, world.server, tmp_path / "site") as made:
        yield made


def load(world: World, site: Nginx, requests: int, *paths: str) -> subprocess.Popen[str]:
    """Begin to ask for paths in turn."""
    urls = [site.url(path) for path in paths]
    return world.client.start("h2load", "--h1", "-n", str(requests), "-c", "10", "-t", "1", *urls)


def answered(world: World, running: subprocess.Popen[str], requests: int) -> None:
    """Wait until all are answered."""
    output, _ = running.communicate(timeout=120)
    world.client.end(running)
    assert f" {requests} succeeded, 0 failed" in output, output


def tally(agent: Running, port: int, role: str) -> Counter[str]:
    """Return what the agent has counted at a port, by route."""
    counts: Counter[str] = Counter()
    for row in agent.client.snapshot().endpoints:
        if (row.port, row.role) == (port, role):
            counts[row.route] += row.total
    return counts


def expect(agent: Running, site: Nginx, requests: int) -> None:
    """Fail unless the agent has counted what was asked, on each side, with what is not shown any more."""
    assert site.requests() == requests
    agent.tick()
    snapshot = agent.client.snapshot()
    # and those that asked nginx for its count
    requests += tally(agent, site.status_port, "server").total()
    assert (snapshot.server.total, snapshot.client.total) == (requests, requests)
    assert snapshot.lost == {}
    for role in ROLES:
        assert agent.total("axon_requests_total", role=role) == requests, role


def test_patterns_of_a_file(agent: Running, world: World, site: Nginx, tmp_path: Path) -> None:
    """Under load agents follow each other with other files: every request has one of their names, and none is missed."""
    texts = ["/any/{first}", "/any/{second}", "/any/**"]
    file = tmp_path / "routes"

    def start(text: str) -> None:
        file.write_text(f"# for this test\n/elsewhere/{{id}}\n{text}\n")
        agent.start("--routes", str(file), AXON_KEEP="true")

    start(texts[0])
    running = load(world, site, LOAD, *(f"/any/{name}" for name in NAMES))
    turn = 0
    while running.poll() is None:
        assert set(tally(agent, site.port, "server")) <= set(texts)
        assert agent.terminate() == 0
        turn += 1
        start(texts[turn % 3])
        until(
            lambda text=texts[turn % 3]: text in tally(agent, site.port, "client"),  # type: ignore[misc]
            "the new pattern has been used",
        )
    answered(world, running, LOAD)
    assert turn >= 3
    expect(agent, site, LOAD)
    # from now on by the file of the last
    before = tally(agent, site.port, "server")
    answered(world, load(world, site, 500, "/any/unheard-of", "/any/ella"), 500)
    expect(agent, site, LOAD + 500)
    assert tally(agent, site.port, "server") - before == {texts[turn % 3]: 500}


@contextmanager
def asking(world: World, site: Nginx, path: str) -> Iterator[list[int]]:
    """Ask for a path without a pause, on one connection, for as long as the block lasts; give the count."""
    count, stop = [0], threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection(site.place.ip4, site.port, timeout=20)
        connection.auto_open = 0  # which would be from this process's network
        connection.sock = world.client.socket()
        connection.sock.connect((site.place.ip4, site.port))
        while not stop.is_set():
            connection.request("GET", path)
            connection.getresponse().read()
            count[0] += 1
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join()


def test_templates_learned_under_load(agent: Running, world: World, site: Nginx) -> None:
    """New templates come into use one after the other: every request is counted once, and rows have their names."""
    agent.start(AXON_LEARN_ROUTES="true")
    requests = 0
    with asking(world, site, "/any/steady") as steady:
        for place in PLACES:
            template, before = f"/any/{place}/{{*}}/profile", steady[0]
            while template not in tally(agent, site.port, "server"):
                running = load(world, site, PART, *(f"/any/{place}/{n}/profile" for n in NAMES))
                answered(world, running, PART)
                requests += PART
                assert requests < LOAD * len(PLACES), "the template is not learned"
            assert steady[0] > before
    requests += steady[0]
    expect(agent, site, requests)

    templates = {f"/any/{place}/{{*}}/profile" for place in PLACES}
    asked = {f"/any/{place}/unheard-of/profile" for place in PLACES}
    was = {role: tally(agent, site.port, role) for role in ROLES}
    answered(world, load(world, site, 600, *asked), 600)
    expect(agent, site, requests + 600)
    for role in ROLES:
        assert tally(agent, site.port, role) - was[role] == dict.fromkeys(templates, 100), role

    def settled() -> bool:
        """Whether only the templates are left, which every request is then counted by."""
        return all(set(tally(agent, site.port, r)) == {*templates, "/any/steady"} for r in ROLES)

    until(settled, "rows with the names from before are gone")
    shown = subprocess.run(
        [sys.executable, "-m", "axon", "top", "--once", "-o", "json"],
        env=agent.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [row for row in json.loads(shown.stdout)["endpoints"] if row["port"] == site.port]
    assert {row["route"] for row in rows} == {*templates, "/any/steady"}
