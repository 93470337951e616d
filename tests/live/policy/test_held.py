"""What is asked of a workload that is too new to be known waits until it is."""

from __future__ import annotations

import random
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from axon.policy.compiler.compile import Host
from axon.policy.compiler.layout import HostMode
from axon.policy.language.labels import Party
from tests.live.kit.enforcing import Enforcing
from tests.live.kit.gate import Guarded, expect_403, forbidden, rest
from tests.live.kit.wire import Listener, Wire, get
from tests.live.kit.world import World

POLICY = """
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchExpressions: [{key: axon.dev/unit, operator: Exists}]}
  ingress: [{httpRules: [{path: /pub/*}]}]
"""
UNIT = Party.of({"axon.dev/unit": "late.service"})
ROUNDS = 8


@contextmanager
def started(world: World, name: str) -> Iterator[tuple[Listener, int]]:
    """Give a server in a cgroup that was made a moment ago, and the cgroup's id."""
    cgroup = world.cgroup / name
    cgroup.mkdir()
    try:
        with world.server.within(cgroup):
            made = Listener(world, world.server, world.client, world.server.ip4)
        yield made, cgroup.stat().st_ino
        made.close()
    finally:
        _remove(cgroup)


def _remove(cgroup: Path) -> None:
    # what the broker has left may take a moment to be gone
    for _ in range(100):
        try:
            cgroup.rmdir()
        except OSError:
            time.sleep(0.02)
        else:
            return
    cgroup.rmdir()


def begin(listener: Listener) -> socket.socket:
    """Begin to connect, and do not wait."""
    client = listener.keep(listener.client.socket())
    client.settimeout(0)
    assert client.connect_ex((listener.address, listener.port))
    return client


def answered(listener: Listener, client: socket.socket) -> Wire:
    """Wait until it is connected; TCP asks again after a second."""
    server = listener.accept()
    client.settimeout(20)
    return Wire(client, server, listener.port)


def test_until_it_is_known(gate: Guarded, world: World) -> None:
    """Nothing reaches a server in a newer cgroup than those that are known; then it is judged."""
    known = world.cgroup.stat().st_ino
    gate.force(POLICY, host=Host({known: Party.of({})}, newest=known))
    with started(world, "late.service") as (listener, cgroup):
        client = begin(listener)
        listener.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            listener.accept()
        assert gate.denials()["HELD"] > 0
        listener.socket.settimeout(20)
        gate.force(POLICY, host=Host({cgroup: UNIT}, newest=cgroup))
        wire = answered(listener, client)
        wire.exchange(get("/pub/a"))
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)


def test_the_older_ones_are_not(gate: Guarded, world: World) -> None:
    """A server in an older cgroup, of which nothing is known, is not held."""
    with started(world, "late.service") as (listener, cgroup):
        gate.force(POLICY, host=Host({}, newest=cgroup))
        listener.connect().exchange(get("/secret"))


def test_what_it_asks_itself(gate: Guarded, world: World) -> None:
    """Connections that such a workload opens are not held."""
    known = world.cgroup.stat().st_ino
    other = Listener(world, world.client, world.server, world.client.ip4)
    gate.force(POLICY, host=Host({known: Party.of({})}, newest=known))
    (world.cgroup / "late.service").mkdir()
    try:
        with world.server.within(world.cgroup / "late.service"):
            wire = other.connect()
        wire.exchange(get("/secret"))
    finally:
        other.close()
        _remove(world.cgroup / "late.service")


def test_not_under_audit(gate: Guarded, world: World) -> None:
    """In the mode audit nothing is held, nor by policies that audit, nor without anything that holds."""
    known = world.cgroup.stat().st_ino
    holds = Host({known: Party.of({})}, newest=known)
    audits = POLICY.replace("spec:", "spec:\n  mode: audit")
    for name, text, mode, host in (
        ("host", POLICY, HostMode.AUDIT, holds),
        ("policy", audits, HostMode.ENFORCE, holds),
        ("none", POLICY, HostMode.ENFORCE, Host({known: UNIT})),
    ):
        gate.force(text, mode=mode, host=host)
        with started(world, f"{name}.service") as (listener, _):
            listener.connect().exchange(get("/secret"))


@pytest.mark.usefixtures("alone")
def test_the_window_otherwise(world: World, tmp_path: Path) -> None:
    """Without being held a workload that starts is judged from the agent's next look on: within a second."""
    agent = Enforcing(world, world.server, tmp_path)
    agent.write(POLICY)
    windows: list[float] = []
    try:
        agent.start()
        for i in range(ROUNDS):
            time.sleep(random.random())
            with started(world, f"soon-{i}.service") as (listener, _):
                listener.socket.settimeout(0.2)
                begun = time.monotonic()
                while not _denied(listener):
                    assert time.monotonic() - begun < 3, windows
                windows.append(time.monotonic() - begun)
    finally:
        agent.close()
    print(f"judged {min(windows):.2f} to {max(windows):.2f} s after it began to listen")  # noqa: T201 - docs/policy.md states it
    assert statistics.median(windows) < 1, windows


def _denied(listener: Listener) -> bool:
    """Ask for what is denied on a new connection; return whether it is."""
    with closing(listener.connect().client) as client:
        client.sendall(get("/secret"))
        client.settimeout(0.05)
        try:
            return client.recv(1000) == forbidden()
        except TimeoutError:
            return False


@pytest.mark.usefixtures("alone")
def test_by_an_agent(world: World, tmp_path: Path) -> None:
    """However a workload's start falls between an agent's looks, no request is answered unjudged."""
    agent = Enforcing(world, world.server, tmp_path)
    agent.write(POLICY)
    try:
        agent.start(AXON_POLICY_HOLD="true")
        for i in range(ROUNDS):
            time.sleep(random.random())
            with started(world, f"late-{i}.service") as (listener, _):
                client = begin(listener)
                wire = answered(listener, client)
                wire.client.sendall(get("/secret"))
                seen = rest(wire.client)
                assert (seen.data, seen.how) == (forbidden(), "eof"), i
                assert rest(wire.server).data == b""
        assert agent.metric('axon_policy_denials_total{reason="held"}') > 0
    finally:
        agent.close()
