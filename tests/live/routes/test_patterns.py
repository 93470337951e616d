"""The running kernel names paths as the reference does, while its patterns are exchanged."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from axon.kernel import Kernel
from axon.routes import Pattern, RouteManager, parse
from axon.routes.tables import compile_tables
from axon.snapshot import Collector
from tests.live.kit.axon import ROLES, Attach, Axon
from tests.live.kit.nginx import nginx
from tests.live.kit.wire import OK, Listener, get
from tests.live.kit.world import World

WORDS = ("api", "users", "me", "orders", "v", "x-y", "a.b", "%20", "items", "zz")
LOAD = 300_000


@pytest.fixture
def axon(attach_live: Attach) -> Axon:
    """Give an Axon of this test's own."""
    return attach_live(max_series=4000, max_routes=4000)


@pytest.fixture
def listener(world: World, axon: Axon) -> Iterator[Listener]:
    """Give a listening socket."""
    made = Listener(world, world.server, world.client, world.server.ip4)
    yield made
    made.close()


def manager(kernel: Kernel, patterns: list[Pattern], *, learn: bool = False) -> RouteManager:
    """Use these patterns."""
    return RouteManager(kernel, patterns, learn=learn, max_routes=4000)


def random_patterns(rng: random.Random, count: int) -> list[Pattern]:
    """Return distinct patterns of every kind."""
    found: dict[object, Pattern] = {}
    while len(found) < count:
        parts = [rng.choice((*WORDS, "{p}")) for _ in range(rng.randint(1, 6))]
        pattern = parse("/" + "/".join(parts) + rng.choice(("", "", "", "/", "/**")))
        found.setdefault(pattern.shape, pattern)
    return list(found.values())


def random_path(rng: random.Random) -> str:
    """Return a path that the kernel's normaliser leaves as it is, now and then a deep one."""
    depth = rng.choice((1, 2, 2, 3, 3, 4, 5, 6, 7, 15, 16, 17, 20))
    return "/" + "/".join(rng.choice(WORDS) for _ in range(depth)) + rng.choice(("", "", "/"))


def test_every_path_is_named_as_the_reference_says(axon: Axon, listener: Listener) -> None:
    """Three hundred patterns, a thousand paths: the kernel's choice is the reference's."""
    rng = random.Random(11)
    patterns = random_patterns(rng, 300)
    manager(axon.kernel, patterns)
    ordered = sorted(patterns, key=lambda p: p.rank)
    depths = axon.kernel.abi.rt_set["wild"].shape[0]
    tables = compile_tables([(p, 0) for p in ordered], 1, depths)
    wire = listener.connect()
    expected: Counter[str] = Counter()
    for _ in range(1000):
        path = random_path(rng)
        wire.exchange(get(path + rng.choice(("", "?q=/a/b", "#frag/x"))))
        bit = tables.match(path.encode())
        expected[path if bit is None else ordered[bit].text] += 1
    wire.finish()
    counted: Counter[str] = Counter()
    for row in axon.rows(listener.port):
        if row.role == "server":
            counted[row.route] += row.count
    assert counted == expected
    assert len({text for text in expected if "{" in text or "**" in text}) > 30


def test_nothing_is_miscounted_while_patterns_are_exchanged(
    axon: Axon, world: World, listener: Listener
) -> None:
    """Between requests the set is exchanged a dozen times: each has the route of the set then in use."""
    wires = [listener.connect() for _ in range(4)]
    texts = ["/users/{a}", "/users/{b}", "/users/**"]
    requests = 0
    for turn in range(12):
        routes = manager(axon.kernel, [parse(texts[turn % 3]), *([parse("/z")] * (turn % 2))])
        for i in range(50):
            wires[i % 4].exchange(get(f"/users/{WORDS[i % 10]}"))
            requests += 1
        assert not routes.problem
    for wire in wires:
        wire.finish()
    tally = axon.tally(listener.port, "server")
    assert sum(tally.values()) == requests
    assert tally == {f"GET {text} 200": requests // 3 for text in texts}


def test_nothing_is_miscounted_while_patterns_are_exchanged_under_load(
    axon: Axon, world: World, listener: Listener, tmp_path: Path
) -> None:
    """While a generator asks, the set is exchanged dozens of times: every request is counted, once, by one of the sets.

    Beside it, at every exchange: a head of which the request line, or a part of it, has come; requests that
    wait for their answers; and one that is asked right behind it.
    """
    texts = ["/any/{a}", "/any/{b}", "/any/**"]
    request = get("/any/beside", "X-More: field")
    within = {"line": 12, "fields": len(request) - 9}
    wires = {name: listener.connect() for name in (*within, "waiting", "next")}
    beside: Counter[str] = Counter()
    with nginx(world, world.server, tmp_path / "site", kept=10_000) as site:
        urls = [site.url(f"/any/{word}") for word in WORDS]
        manager(axon.kernel, [parse(texts[0])])
        load = world.client.start("h2load", "--h1", "-n", str(LOAD), "-c", "20", "-t", "1", *urls)
        exchanges = 0
        while load.poll() is None:
            then, now = texts[exchanges % 3], texts[(exchanges + 1) % 3]
            for name, cut in within.items():
                wires[name].ask(request[:cut])
            wires["waiting"].ask(request * 3)
            exchanges += 1
            routes = manager(axon.kernel, [parse(now), *([parse("/z")] * (exchanges % 2))])
            assert not routes.problem
            for name, cut in within.items():
                wires[name].ask(request[cut:])
                wires[name].answer(OK)
            wires["waiting"].answer(OK * 3)
            wires["next"].exchange(request)
            # a request has the route that was in use when its line was read to its end
            beside.update({then: 4})
            beside.update({now: 2})
        output, _ = load.communicate()
        world.client.end(load)
        assert f" {LOAD} succeeded, 0 failed" in output, output
        assert exchanges >= 36
        asked = site.requests()
        assert asked == LOAD
        for role in ROLES:
            tally = axon.tally(site.port, role)
            assert tally.total() == asked, role
            assert set(tally) == {f"GET {text} 200" for text in texts}, role
    for wire in wires.values():
        wire.finish()
    for role in ROLES:
        tally = axon.tally(listener.port, role)
        assert tally == {f"GET {text} 200": n for text, n in beside.items()}, role
    assert {name: n for name, n in axon.stats().items() if name.startswith("LOST_") and n} == {}


def test_templates_are_learned_from_traffic(axon: Axon, listener: Listener) -> None:
    """Users that are asked for one after the other become one route; a shielded name stays."""
    collector = Collector(axon.kernel, ledger=axon.settings.run_dir / "routes.json")
    routes = manager(axon.kernel, [], learn=True)
    wire = listener.connect()
    names = [a + b for a in "bcdfgh" for b in ("ella", "ora", "ine", "ucy", "anna")]
    wire.exchange(get("/users/me/profile"))
    for name in names:
        wire.exchange(get(f"/users/{name}/profile"))
    time.sleep(0.01)
    look = collector.tick()
    routes.update(look.keys, look.keys[look.fresh])
    superseded = look.slots[routes.superseded(look.keys)]
    assert len(superseded) == 2 * len(names)
    for _ in range(5):
        wire.exchange(get("/users/unheard-of/profile"))
        wire.exchange(get("/users/me/profile"))
    wire.finish()
    tally = axon.tally(listener.port, "server")
    assert tally["GET /users/{*}/profile 200"] == 5
    assert tally["GET /users/me/profile 200"] == 6
    assert len(tally) == len(names) + 2
