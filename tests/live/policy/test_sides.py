"""Which end of a connection a socket is, and whose: what it has done itself says so, and nothing else."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path

import pytest

from axon.policy.compiler.compile import Host
from axon.policy.compiler.layout import HostMode
from axon.policy.language.labels import Party
from tests.live.kit.gate import Guarded, caller_cgroup, expect_403, expect_nothing, policy, rest
from tests.live.kit.wire import Listener, get
from tests.live.kit.world import World

PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'
_LIBC = ctypes.CDLL(None, use_errno=True)


def disconnect(sock: socket.socket) -> None:
    """Take a socket's connection away (connect(2), AF_UNSPEC)."""
    if _LIBC.connect(sock.fileno(), bytes(16), 16):
        raise OSError(ctypes.get_errno(), "connect")


def test_a_client_that_listens(gate: Guarded, world: World, anywhere: Listener) -> None:
    """A socket that was connected before is a server's as soon as it listens, and so are those that it accepts."""
    gate.allow(anywhere.port, PUBLIC)
    # a socket that was connected by IPv4 stays one for IPv4
    six = anywhere.family == socket.AF_INET6
    other = Listener(world, world.server, world.server, "", anywhere.family, socket.AF_INET6)
    target = "::1" if six else "::ffff:127.0.0.1"
    sock = anywhere.socket
    anywhere.socket = anywhere.keep(world.server.socket(sock.family))
    sock.close()
    anywhere.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    anywhere.socket.settimeout(5)
    try:
        anywhere.socket.connect((target, other.port))
        other.accept()
        disconnect(anywhere.socket)
        anywhere.socket.bind(("", anywhere.port))
        anywhere.socket.listen()
        wire = anywhere.connect()
        wire.exchange(get("/pub/a"))
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)
    finally:
        other.close()


def test_accepted_while_off_and_nobody_listens(gate: Guarded, anywhere: Listener) -> None:
    """A connection that was accepted is a server's, also where nobody listens any more when it is looked at first."""
    gate.allow(anywhere.port, PUBLIC, mode=HostMode.OFF)
    wire = anywhere.connect()
    anywhere.socket.close()
    gate.gate.mode = HostMode.ENFORCE
    wire.client.sendall(get("/secret"))
    assert rest(wire.server, 1.0).data == b""


@pytest.mark.parametrize("mode", [HostMode.OFF, HostMode.ENFORCE])
def test_bound_once(told: Guarded, anywhere: Listener, mode: HostMode) -> None:
    """Binding a socket that is bound is refused, and changes nothing of whose it is."""
    told.allow(anywhere.port, PUBLIC, mode=mode)

    def again() -> None:
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text("somebody")
        with pytest.raises(OSError, match="Invalid argument"):
            anywhere.socket.bind(("", anywhere.port))

    thread = threading.Thread(target=again)
    thread.start()
    thread.join()
    told.axon.flows()
    wire = anywhere.connect()
    wire.exchange(get("/pub/a"))
    (flow,) = [
        f for f in told.axon.flows() if f["role"] == "server" and int(f["lport"]) == anywhere.port
    ]
    assert int(flow["pid"]) == os.getpid()
    assert int(flow["tid"]) == threading.get_native_id()
    wire.finish()


def test_a_listener_that_is_passed(gate: Guarded, world: World) -> None:
    """A socket stays its maker's, as systemd's for a service that it activates: the policies of whoever it is
    passed to do not judge it, those of its maker and of its port do.
    """
    maker = world.cgroup / "maker.socket"
    maker.mkdir()
    try:
        with world.server.within(maker):
            # made there; bound, listened on and served by this process, in a cgroup of its own
            listener = Listener(world, world.server, world.client, world.server.ip4)
        cgroups = {
            maker.stat().st_ino: Party.of({"app": "maker"}),
            caller_cgroup(): Party.of({"app": "server"}),
        }
        selector = f'axon.dev/port: "{listener.port}"'
        text = policy("web", listener.port, PUBLIC)
        assert selector in text
        for mine, judged in (("app: server", False), ("app: maker", True), (selector, True)):
            gate.force(text.replace(selector, mine), host=Host(cgroups))
            wire = listener.connect()
            wire.exchange(get("/pub/a"))
            if judged:
                wire.client.sendall(get("/secret"))
                expect_403(wire.client)
                expect_nothing(wire.server)
            else:
                wire.exchange(get("/secret"))
                wire.finish()
        listener.close()
    finally:
        maker.rmdir()
