"""Where the kernel does not describe its types policies are refused, and nothing that is in force changes."""

from __future__ import annotations

import sys

import pytest

from tests.live.kit.enforcing import DENIED, Enforcing, under
from tests.live.kit.gate import expect_403, expect_nothing, policy
from tests.live.kit.wire import Listener, get
from tests.live.kit.world import World

PUBLIC = "{path: /pub/*}"

_BLIND = """
import os, sys
hide = 'mount -t tmpfs none /sys/kernel/btf && exec "$@"'
line = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", hide, "sh"]
os.execvp(line[0], [*line, sys.executable, "-m", "axon", *sys.argv[1:]])
"""
BLIND = ("-c", _BLIND)
"""How Python is told to be Axon where /sys/kernel/btf is empty; see Enforcing.launcher."""


def test_policies_are_refused(agent: Enforcing, world: World) -> None:
    """An agent with policies does not start and says what to do; without any it starts and observes."""
    here = Listener(world, agent.place, agent.place, "127.0.0.1")
    agent.write(policy("web", here.port, PUBLIC))
    agent.launcher = BLIND
    try:
        said = agent.refused()
        assert "CONFIG_DEBUG_INFO_BTF=y" in said
        assert "Without policies (the setting policy) Axon runs here." in said
        here.connect().exchange(get(DENIED))
        agent.start(AXON_POLICY="")
        assert agent.healthy()
        here.connect().exchange(get(DENIED))
    finally:
        here.close()


@pytest.mark.parametrize("directory", ["its own", "none"])
def test_what_is_in_force_stays(agent: Enforcing, world: World, directory: str) -> None:
    """An agent that cannot see them does not take over: what was denied is, what was allowed is, without
    an end of a connection.
    """
    listener = Listener(world, world.server, world.client, world.server.ip4)
    given = {} if directory == "its own" else {"AXON_POLICY": ""}
    with under(agent, listener, policy("web", listener.port, PUBLIC)) as traffic:
        agent.kill()
        seeing, agent.launcher = agent.launcher, BLIND
        said = agent.refused(**given)
        assert "CONFIG_DEBUG_INFO_BTF=y" in said
        assert "stay as they are; `axon detach` ends them" in said
        traffic.flows()
        agent.launcher = seeing
        agent.start(**given)
        traffic.flows()
        assert traffic.broken == []


def test_mode_off_is_no_difference(agent: Enforcing, world: World) -> None:
    """Policies that are switched off may be switched on again, and judge then as they did."""
    here = Listener(world, agent.place, agent.place, "127.0.0.1")
    seeing = agent.launcher
    mode = ("policy", "mode", "--pin-dir", str(agent.pins))
    try:
        agent.write(policy("web", here.port, PUBLIC))
        agent.start()
        agent.place.run(sys.executable, *seeing, *mode, "off")
        agent.kill()
        agent.launcher = BLIND
        agent.refused(AXON_POLICY="")
        agent.place.run(sys.executable, *seeing, *mode, "enforce")
        wire = here.connect()
        wire.exchange(get("/pub/a"))
        wire.client.sendall(get(DENIED))
        expect_403(wire.client)
        expect_nothing(wire.server)
    finally:
        here.close()
