"""The running kernel names paths as the reference does, while its patterns are exchanged."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from axon.kernel import Kernel
from axon.routes import Pattern, RouteManager, parse
from axon.routes.tables import compile_tables
from axon.snapshot import Collector
from tests.live.kit.axon import Attach, Axon
from tests.live.kit.wire import Listener, get
from tests.live.kit.world import World

WORDS = ("api", "users", "me", "orders", "v", "x-y", "a.b", "%20", "items", "zz")


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
    """Under load the set is exchanged a dozen times: each request has one of the routes it could."""
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
