"""Listeners, their processes and addresses, from /proc."""

from __future__ import annotations

import os
import socket

from axon.identity.sockets import is_any, process_of, scan
from tests.unit.identity.host import Host, v4


def test_this_process_is_found_by_its_sockets() -> None:
    """On the real /proc, listeners of both families are found with their owner."""
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        found = scan()
        expected = {
            (v4("127.0.0.1"), four.getsockname()[1]),
            (bytes(15) + b"\1", six.getsockname()[1]),
        }
        mine = [one for one in found.listeners if any(p.pid == os.getpid() for p in one.holders)]
        assert expected <= {(one.address, one.port) for one in mine}
        me = process_of(os.getpid())
        assert me
        assert {one.netns for one in mine} == {me.netns}
        assert me.cgroup in found.residents[me.netns]


def test_namespaces_are_told_apart(host: Host) -> None:
    """Each network namespace is read once, by one of its processes, and has its own addresses."""
    host.network("host", listeners={11: ("0.0.0.0", 80)}, addresses=("192.0.2.2",))
    host.network("box", listeners={22: ("172.17.0.2", 80)}, addresses=("172.17.0.2",))
    host.process(1, "systemd", "/init.scope", sockets=(11,))
    host.process(50, "nginx", "/web", sockets=(11,))
    host.process(40, "nginx", "/web", sockets=(11,))
    host.process(60, "node", "/box", sockets=(22,), netns="box")
    found = scan(host.proc)
    web, box = sorted(found.listeners, key=lambda one: one.address)
    assert (web.port, is_any(web.address), web.owner and web.owner.pid) == (80, True, 40)
    assert (box.address, box.owner and box.owner.name) == (v4("172.17.0.2"), "node")
    assert found.addresses == {v4("192.0.2.2"): {web.netns}, v4("172.17.0.2"): {box.netns}}
    assert found.residents == {web.netns: {"/init.scope", "/web"}, box.netns: {"/box"}}


def test_systemd_owns_what_nobody_else_does(host: Host) -> None:
    """A socket that systemd keeps for a service not started yet is systemd's."""
    host.network("host", listeners={11: ("0.0.0.0", 80)})
    host.process(1, "systemd", "/init.scope", sockets=(11,))
    [one] = scan(host.proc).listeners
    assert one.owner
    assert one.owner.name == "systemd"


def test_connections_are_not_listeners(host: Host) -> None:
    """Reading stops at the first connection, which the kernel lists after all listeners."""
    host.network("host", listeners={11: ("0.0.0.0", 80)})
    host.process(7, "nginx", sockets=(11, 77))
    assert [one.port for one in scan(host.proc).listeners] == [80]


def test_processes_that_end_meanwhile_are_left_out(host: Host) -> None:
    """Missing, unreadable or odd files are no error."""
    host.network("host", listeners={11: ("0.0.0.0", 80)})
    host.process(7, "nginx", sockets=(11,))
    for pid in (5, 6):
        (host.proc / str(pid)).mkdir()
    (host.proc / "6" / "comm").write_text("gone")
    (host.proc / "version").write_text("Linux")
    assert [one.port for one in scan(host.proc).listeners] == [80]
    assert process_of(5, host.proc) is None


def test_a_namespace_that_cannot_be_told_is_ours(host: Host) -> None:
    """Without the right to look at a process's namespace, it is taken to be in our own."""
    host.network("host", listeners={})
    host.process(7, "nginx")
    (host.proc / "7/ns/net").unlink()
    seven = process_of(7, host.proc)
    assert seven
    assert seven.netns == (host.proc / "self/ns/net").stat().st_ino


def test_node_is_called_by_its_program(host: Host) -> None:
    """Node.js names its main thread MainThread; the program's file says more."""
    host.process(7, "MainThread")
    seven = process_of(7, host.proc)
    assert seven
    assert seven.name == "mainthread-exe"
