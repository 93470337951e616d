"""Services of the running host are called by their processes, across network namespaces."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from axon.identity import Identity
from axon.kernel.system import cgroup_root
from tests.live.kit.world import World


def mapped(address: str) -> bytes:
    """Return an IPv4 address as the kernel's keys have it."""
    return bytes(10) + b"\xff\xff" + socket.inet_aton(address)


@contextmanager
def serving(world: World, port: int) -> Iterator[None]:
    """Have a server in the servers' place."""
    server = world.server.start("python3", "-m", "http.server", str(port))
    deadline = time.monotonic() + 20
    while True:
        with world.client.socket() as probe:
            if probe.connect_ex((world.server.ip4, port)) == 0:
                break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    try:
        yield
    finally:
        world.server.end(server)


@pytest.fixture
def port(world: World) -> Iterator[int]:
    """Give the port of a server in the servers' place."""
    port = world.port()
    with serving(world, port):
        yield port


def test_a_server_is_named_without_its_command(world: World, port: int) -> None:
    """A server older than the agent, in another namespace, is found by its listening socket."""
    group = world.cgroup.stat().st_ino
    who = Identity(cgroup_root())
    found = who.workload(group, "", port, server=True)
    assert (found.name, found.cgroup) == (f"python3:{port}", "/" + world.cgroup.name)


def test_an_address_leads_to_its_server(world: World, port: int) -> None:
    """The address of another namespace leads to what listens there, and loopback to one's own."""
    group = world.cgroup.stat().st_ino
    who = Identity(cgroup_root())
    assert who.server_at(mapped(world.server.ip4), port) == f"python3:{port}"
    assert who.server_at(mapped(world.client.ip4), port) is None
    assert who.server_at(mapped("127.0.0.1"), port, group) == f"python3:{port}"


def test_a_server_that_starts_later_is_found(world: World) -> None:
    """What listens after the agent's start is found when it is asked for again."""
    now = [0]
    who = Identity(cgroup_root(), clock=lambda: now[0])
    port, group = world.port(), world.cgroup.stat().st_ino
    assert who.workload(group, "", port, server=True).name == f":{port}"
    with serving(world, port):
        now[0] += 3600 * 10**9
        assert who.refresh() == {f":{port}"}
        assert who.workload(group, "", port, server=True).name == f"python3:{port}"
