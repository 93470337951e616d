"""A kernel map without room leaves what is in force as it is: nothing opens, and nothing is half-applied."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from axon.kernel.maps import Map
from axon.kernel.pins import open_map
from axon.policy.compiler.compile import Host
from axon.policy.language.labels import Party
from tests.live.kit.enforcing import Enforcing, under
from tests.live.kit.gate import Guarded, caller_cgroup, expect_403, policy
from tests.live.kit.waiting import until
from tests.live.kit.wire import Listener, get
from tests.live.kit.world import World

TABLES = ("ax_pol_target", "ax_pol_caller", "ax_pol_addr")
_NEITHER = 7  # a half that nothing is looked up in
_MORE = 9
_ELSEWHERE = 30_000


@contextmanager
def filled(table: Map) -> Iterator[None]:
    """Have a map full with entries that say nothing."""
    keys = np.zeros(table.entries + 1, table.key)
    keys["half"] = _NEITHER
    numbers = np.arange(1, len(keys) + 1)
    if "bits" in (keys.dtype.names or ()):
        keys["bits"] = 32 + 128
        keys["addr"][:, 12:] = numbers.astype(">u4").view("u1").reshape(-1, 4)
    else:
        keys["cgroup"] = numbers
    with pytest.raises(OSError, match=r"too long|No space") as caught:
        table.update_many(keys, np.zeros(len(keys), table.value))
    assert caught.value.errno in {errno.E2BIG, errno.ENOSPC}
    try:
        yield
    finally:
        table.delete_many(keys)


def text(port: int, *paths: str, more: int = 0) -> str:
    """Return policies by which callers with a label, and of some addresses, may ask for paths; and so many other ones."""
    blocks = "".join(f", {{ipBlock: {{cidr: 192.0.2.{n}/32}}}}" for n in range(more + 1))
    rules = ", ".join(f"{{path: {path}}}" for path in paths)
    mine = policy("web", port, rules).replace(
        "- httpRules",
        f"- from: [{{podSelector: {{matchLabels: {{app: front}}}}}}{blocks}]\n      httpRules",
    )
    others = [policy(f"other-{n}", _ELSEWHERE + n, "{path: /}") for n in range(more)]
    return "---\n".join([mine, *others])


def fronts(more: int = 0) -> Host:
    """Return a host where the callers of this process, and of so many other cgroups, have the label."""
    cgroups = [caller_cgroup(), *(1 << 40 | n for n in range(more))]
    return Host(cgroups=dict.fromkeys(cgroups, Party.of({"app": "front"})))


@pytest.mark.parametrize("name", TABLES)
def test_what_was_in_force_stays(gate: Guarded, world: World, name: str) -> None:
    """Policies for which there is no room open nothing and close nothing; they come into force when there is."""
    listener = Listener(world, world.server, world.server, "127.0.0.1")
    try:
        for _ in range(2):  # both halves: what is there already takes no room
            gate.force(text(listener.port, "/pub/*"), host=fronts())
        wire = listener.connect()
        wire.exchange(get("/pub/a"))
        before = gate.gate.generation
        with filled(gate.axon.kernel.gate._maps[name]):
            for paths in (("/secret",), ("/pub/*", "/secret")):
                with pytest.raises(OSError, match=f"{name}.*full"):
                    gate.force(text(listener.port, *paths, more=_MORE), host=fronts(_MORE))
                assert gate.gate.generation == before
                wire.exchange(get("/pub/a"))
                new = listener.connect()
                new.exchange(get("/pub/a"))
                new.client.sendall(get("/secret"))
                expect_403(new.client)
        gate.force(text(listener.port, "/secret", more=_MORE), host=fronts(_MORE))
        new = listener.connect()
        new.exchange(get("/secret"))
        wire.client.sendall(get("/pub/a"))
        expect_403(wire.client)
    finally:
        listener.close()


@pytest.mark.usefixtures("alone")
def test_an_agent_says_so(agent: Enforcing, world: World) -> None:
    """The agent says what is full, denies what it has denied, and takes the policies up when there is room."""
    listener = Listener(world, world.server, world.server, "127.0.0.1")
    few = policy("web", listener.port, "{path: /pub/*}")
    with under(agent, listener, few) as traffic:
        table = open_map(agent.pins / "maps", TABLES[0])
        assert table
        with filled(table):
            agent.write(text(listener.port, "/pub/*", "/secret", more=_MORE))
            until(lambda: bool(agent.client.policies().problem), "it says that there is no room")
            assert f"{TABLES[0]} is full" in agent.client.policies().problem
            assert not agent.healthy()
            traffic.flows()
            agent.write(few + "---\n" + policy("more", _ELSEWHERE, "{path: /}"))
        until(lambda: len(agent.client.policies().policies) == 2, "they are in force")
        until(agent.healthy, "all is well")
        traffic.flows()
        table.close()
