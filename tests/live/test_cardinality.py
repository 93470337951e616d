"""However many different requests come, memory stays what was announced and totals stay exact."""

from __future__ import annotations

import random
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from axon.kernel import bpf
from axon.kernel.pins import open_maps
from tests.live.kit.axon import ROLES, Attacher, Axon
from tests.live.kit.wire import Listener, answer, head
from tests.live.kit.world import World

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
TOKEN = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"  # RFC 9110 section 5.6.2


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Attacher]]:
    """Give a world that no other Axon observes, and what attaches to it."""
    world = World("-many")
    attacher = Attacher(world.name, world.cgroup, tmp_path_factory.mktemp("many") / "run")
    yield world, attacher
    attacher.close()
    world.close()


def taken(axon: Axon) -> int:
    """Return the bytes that the kernel says all maps take."""
    maps = open_maps(axon.settings.pin_dir / "maps").values()
    return sum(bpf.fd_info(opened.fd)["memlock"] for opened in maps)


def noise(draw: random.Random) -> str:
    """Draw a path."""
    letters = string.ascii_letters + "-._~%!$"
    parts = ("".join(draw.choices(letters, k=draw.randrange(1, 30))) for _ in range(3))
    return "/" + "/".join(list(parts)[: draw.randrange(1, 4)])


def method(draw: random.Random) -> str:
    """Draw a method: any token, and every other time one that is told by name."""
    if draw.random() < 0.5:
        return draw.choice(METHODS)
    made = "".join(draw.choices(TOKEN, k=draw.randrange(1, 25)))
    # the two whose answers are framed in another way
    return made if made not in {"HEAD", "CONNECT"} else "X" + made


def ask(listener: Listener, requests: list[tuple[str, str, int]]) -> None:
    """Ask on one connection, twenty requests at a time: methods, paths and statuses."""
    wire = listener.connect()
    for at in range(0, len(requests), 20):
        few = requests[at : at + 20]
        wire.ask(b"".join(head(f"{m} {path} HTTP/1.1", "Host: h") for m, path, _ in few))
        wire.answer(b"".join(answer(status) for _, _, status in few))


def method_of(text: str) -> str:
    """Return how a method is told: those that are not standard are one."""
    return text if text in METHODS else "OTHER"


def test_random_paths_and_methods(apart: tuple[World, Attacher]) -> None:
    """Of 10^5 random requests every one is in the totals, the series keep to their bounds, and
    memory does not grow.
    """
    world, attach = apart
    axon = attach(max_series=4000, max_routes=100)
    announced, before = axon.kernel.bytes_total, taken(axon)
    listener = Listener(world, world.server, world.client, world.server.ip4)
    draw = random.Random(11)
    statuses = [200, 201, 301, 404, 500]
    requests = [(method(draw), noise(draw), draw.choice(statuses)) for _ in range(100_000)]
    ask(listener, requests)
    rows = axon.rows()
    assert len({m for m, _, _ in requests}) > 40_000
    expected = Counter((method_of(m), status) for m, _, status in requests)
    for role in ROLES:
        counts: Counter[tuple[str, int]] = Counter()
        for row in rows:
            if row.role == role:
                counts[row.method, row.status] += row.count
        assert counts == expected, role
        routes = {row.route for row in rows if row.role == role}
        assert len(routes) == 101
        assert "other" in routes
    stats = axon.stats()
    assert len(rows) <= 2 * 101 * 8 * len(statuses)
    assert {k for k, n in stats.items() if k.startswith("LOST_") and n} == set()
    assert stats["INFO_OTHER_ROUTE"] > 0
    assert stats["INFO_OTHER_SERIES"] == 0
    assert before == taken(axon) <= announced
    listener.close()
    axon.close()


def test_more_series_than_slots(apart: tuple[World, Attacher]) -> None:
    """When every slot is taken, further series are counted under other, and no request is missed."""
    world, attach = apart
    axon = attach(max_series=100, max_routes=100_000)
    before = taken(axon)
    listener = Listener(world, world.server, world.client, world.server.ip4)
    letters = string.ascii_lowercase
    requests = [("GET", f"/{a}{b}", 200) for a in letters for b in letters] * 3
    ask(listener, requests)
    rows = axon.rows()
    assert len(rows) == 100
    for role in ROLES:
        mine = [row for row in rows if row.role == role]
        assert sum(row.count for row in mine) == len(requests)
        other = [row for row in mine if row.route == "other"]
        assert [row.count for row in other] == [len(requests) - 3 * (len(mine) - 1)]
        assert sum(row.resp_wire for row in mine) == len(requests) * len(answer(200))
    assert axon.stats()["INFO_OTHER_SERIES"] == sum(r.count for r in rows if r.route == "other")
    assert before == taken(axon) <= axon.kernel.bytes_total
    listener.close()
    axon.close()


def test_more_routes_than_names(apart: tuple[World, Attacher]) -> None:
    """When the table of route names is full, further routes are other, and that is counted."""
    world, attach = apart
    axon = attach(max_series=20_000, max_routes=100_000)
    listener = Listener(world, world.server, world.client, world.server.ip4)
    draw = random.Random(1)
    paths = ["/" + "".join(draw.choices(string.ascii_lowercase, k=12)) for _ in range(6000)]
    ask(listener, [("GET", path, 200) for path in paths])
    for role in ROLES:
        assert axon.total(role) == len(paths)
    stats = axon.stats()
    assert stats["INFO_ROUTES_FULL"] > 0
    assert axon.tally(listener.port, "server")["GET other 200"] * 2 == stats["INFO_ROUTES_FULL"]
    listener.close()
    axon.close()


def test_more_peers_than_are_told_apart(apart: tuple[World, Attacher]) -> None:
    """Peers beyond the bound are put together; every request is counted."""
    world, attach = apart
    axon = attach(max_series=1000, max_peers=3)
    listener = Listener(world, world.server, world.server, "127.0.0.1")
    for i in range(10):
        client = world.server.socket()
        client.bind((f"127.0.1.{i}", 0))
        client.connect(("127.0.0.1", listener.port))
        server = listener.accept()
        for _ in range(2):
            client.sendall(head("GET /a HTTP/1.1", "Host: h"))
            assert server.recv(4096)
            server.sendall(answer(200))
            assert client.recv(4096)
        client.close()
    peers = {row.peer: row.count for row in axon.rows() if row.role == "server"}
    assert peers == {f"127.0.1.{i}": 2 for i in range(3)} | {"": 14}
    assert axon.stats()["INFO_OTHER_PEER"] == 7
    listener.close()
    axon.close()


def test_roles_can_be_turned_off(apart: tuple[World, Attacher], tmp_path: Path) -> None:
    """With one role in the settings only that side is counted, and nothing is lost by it."""
    world, attach = apart
    for role in ROLES:
        axon = attach(roles=(role,))
        listener = Listener(world, world.server, world.client, world.server.ip4)
        ask(listener, [("GET", "/a", 200)] * 40)
        assert {r.role: r.count for r in axon.rows()} == {role: 40}
        assert {k for k, n in axon.stats().items() if k.startswith("LOST_") and n} == set()
        listener.close()
        axon.close()
