"""Of two agents with pin directories of their own only one can have policies in force."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from axon.kernel import tc
from tests.live.kit.enforcing import Enforcing, under
from tests.live.kit.gate import expect_403, inside, policy
from tests.live.kit.wire import Listener, get
from tests.live.kit.world import World

PUBLIC = "{path: /pub/*}"


@pytest.fixture
def other(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enforcing]:
    """Give a second agent in the same place."""
    made = Enforcing(world, world.server, tmp_path_factory.mktemp("other"))
    yield made
    made.close()


def filters(agent: Enforcing) -> list[int]:
    """Return which programs judge on the loopback device and the cable."""
    return inside(agent.place, lambda: [tc.attached(tc.Point(i)) for i in (1, 2)])


def test_the_second_is_refused(agent: Enforcing, other: Enforcing, world: World) -> None:
    """It is told where the first one is pinned, also if that has ended, and disturbs nothing."""
    listener = Listener(world, world.server, world.server, "127.0.0.1")
    text = policy("web", listener.port, PUBLIC)
    with under(agent, listener, text) as traffic:
        before = filters(agent)
        other.write(text)
        assert f"pinned in {agent.pins}" in other.refused()
        agent.kill()
        assert f"axon detach --pin-dir {agent.pins}" in other.refused()
        traffic.flows()
        assert filters(agent) == before
        agent.start()
        other.start(AXON_POLICY="")  # only one that judges as well would be in the way
        traffic.flows()
    assert traffic.broken == []


def test_what_nobody_has_any_more(agent: Enforcing, other: Enforcing, world: World) -> None:
    """A filter whose pins were removed is in nobody's way."""
    listener = Listener(world, world.server, world.server, "127.0.0.1")
    text = policy("web", listener.port, PUBLIC)
    agent.write(text)
    agent.start()
    agent.kill()
    before = filters(agent)
    shutil.rmtree(agent.pins)
    other.write(text)
    other.start()
    assert not set(filters(agent)) & set(before)
    client = listener.connect().client
    client.sendall(get("/secret"))
    expect_403(client)
    listener.close()
