"""Ports and addresses that the host's own NAT changes: behind the gate, and in front of it."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from axon.agent.ending import Ending
from axon.kernel.system import cgroup_root
from axon.policy.compiler.compile import Host
from axon.policy.language.labels import Party
from tests.live.kit.axon import Axon
from tests.live.kit.gate import (
    End,
    Guarded,
    caller_cgroup,
    expect_403,
    expect_nothing,
    inside,
    policy,
    rest,
)
from tests.live.kit.waiting import until
from tests.live.kit.wire import OK, Listener, get
from tests.live.kit.world import Place, World, ip

PUBLIC = "{path: /pub/*}"
_ORIGINAL = 80  # SO_ORIGINAL_DST


@contextmanager
def translating(place: Place, hook: str, port: int, to: str) -> Iterator[None]:
    """Have a place's NAT send what is for a port elsewhere, at one of its hooks."""
    chain = f"{{ type nat hook {hook} priority -100; tcp dport {port} {to}; }};"
    place.run("nft", f"table ip axon {{ chain axon {chain} }}")
    yield
    place.run("nft", "delete table ip axon")


def translated(server: socket.socket) -> int:
    """Return the port that a connection's client has asked for."""
    found = server.getsockopt(socket.IPPROTO_IP, _ORIGINAL, 16)
    (port,) = struct.unpack_from("!H", found, 2)
    return int(port)


def dropped(gate: Guarded, before: int) -> None:
    """Wait until more packets than before were dropped because nothing has judged them."""
    until(lambda: gate.denials().get("UNJUDGED", 0) > before, "it is dropped")


@pytest.mark.parametrize("rules", [[PUBLIC], []])
def test_a_redirect_behind_the_gate(gate: Guarded, world: World, rules: list[str]) -> None:
    """What a host redirects to another port of its own is not judged, and so nothing of it gets there; who
    asks at the port itself is judged.
    """
    listener = Listener(world, world.server, world.client, world.server.ip4)
    front = world.port()
    try:
        with translating(world.server, "prerouting", front, f"redirect to :{listener.port}"):
            gate.release()
            client = listener.keep(listener.client.socket())
            client.connect((listener.address, front))
            server = listener.accept()
            assert translated(server) == front
            client.sendall(get("/pub/a"))
            assert server.recv(1000) == get("/pub/a")
            # the port that clients ask for is nobody's: it is the socket's own that selects
            for port, judged in ((front, False), (listener.port, True)):
                gate.force(policy("web", port, *rules))
                before = gate.denials().get("UNJUDGED", 0)
                client = listener.keep(listener.client.socket())
                client.connect((listener.address, front))
                server = listener.accept()
                client.sendall(get("/pub/a"))
                if judged:
                    dropped(gate, before)
                    assert rest(server, 0.5).data == b""
                else:
                    assert server.recv(1000) == get("/pub/a")
                client.close()
            wire = listener.connect()
            wire.exchange(get("/pub/a"))
            if rules:
                wire.client.sendall(get("/secret"))
                expect_403(wire.client)
                expect_nothing(wire.server)
    finally:
        listener.close()


def test_such_a_connection_is_ended(gate: Guarded, world: World) -> None:
    """A client whose packets are redirected and dropped reads a reset, and not silence."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    front = world.port()
    ending = Ending(gate.gate, cgroup_root())
    try:
        with translating(world.server, "prerouting", front, f"redirect to :{listener.port}"):
            gate.force(policy("web", listener.port, PUBLIC))
            client = listener.keep(listener.client.socket())
            client.connect((listener.address, front))
            server = listener.accept()
            client.sendall(get("/pub/a"))
            seen = End(b"", "silence")
            for _ in range(10):
                inside(gate.place, ending.look)
                seen = rest(client, 0.5)
                if seen.how == "reset":
                    break
            assert seen == End(b"", "reset")
            with pytest.raises(ConnectionAbortedError):
                server.recv(1)
    finally:
        ending.close()
        listener.close()


def test_a_redirect_on_the_way_out(gate: Guarded, world: World) -> None:
    """What a host redirects as it leaves a caller of its own is judged by the server's port, and nothing that
    is denied gets there; its caller is not known.
    """
    listener = Listener(world, world.server, world.server, "127.0.0.1")
    front = world.port()
    text = policy("web", listener.port, PUBLIC)
    known = "from: [{podSelector: {matchLabels: {app: known}}}]\n      httpRules"
    host = Host({caller_cgroup(): Party.of({"app": "known"})})
    try:
        with translating(world.server, "output", front, f"redirect to :{listener.port}"):
            for peers, port, allowed in (
                ("httpRules", front, True),
                (known, listener.port, True),
                (known, front, False),
            ):
                gate.force(text.replace("- httpRules", f"- {peers}"), host=host)
                before = gate.verdicts()
                client = listener.keep(listener.client.socket())
                client.connect((listener.address, port))
                server = listener.accept()
                if allowed:
                    client.sendall(get("/pub/a"))
                    assert server.recv(1000) == get("/pub/a")
                    server.sendall(OK)
                    assert client.recv(1000) == OK
                client.sendall(get("/secret" if allowed else "/pub/a"))
                if port != front:
                    expect_403(client)
                assert rest(server, 0.5).data == b""
                after = gate.verdicts()
                assert after.forwarded - before.forwarded == allowed
                assert after.dropped > before.dropped
    finally:
        listener.close()


@contextmanager
def published(world: World, judging: Axon) -> Iterator[tuple[Guarded, Place, Listener]]:
    """Give a host whose port leads into a container of its own, and what listens there; the listener's port is the host's."""
    host, box = world.place("dnat-h"), world.place("dnat-b")
    try:
        mine = world.client.ip4, world.client.ip6  # joining sets the newest cable's
        world.join(host, world.client)
        world.client.ip4, world.client.ip6 = mine
        address = host.ip4
        ip("-n", host.name, "link", "add", "pod", "type", "veth", "peer", "eth0", "netns", box.name)
        for place, device, own in ((host, "pod", "10.78.9.1"), (box, "eth0", "10.78.9.2")):
            ip("-n", place.name, "addr", "add", f"{own}/24", "dev", device)
            ip("-n", place.name, "link", "set", device, "up")
        ip("-n", box.name, "route", "add", "default", "via", "10.78.9.1")
        host.sysctl("net.ipv4.ip_forward", "1")
        listener = Listener(world, box, world.client, address)
        inner, listener.port = listener.port, world.port()
        guarded = Guarded(judging, host)
        to = f"dnat to 10.78.9.2:{inner}"
        with guarded.everywhere(), translating(host, "prerouting", listener.port, to):
            yield guarded, host, listener
        listener.close()
    finally:
        world.remove(host)
        world.remove(box)


def test_in_front_of_a_container(world: World, judging: Axon) -> None:
    """A published port is another one before the gate on the container's cable, which judges it."""
    with published(world, judging) as (guarded, _, listener):
        guarded.force(policy("web", listener.socket.getsockname()[1], PUBLIC))
        before = guarded.denials().get("UNJUDGED", 0)
        wire = listener.connect()
        wire.exchange(get("/pub/a"))
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)
        assert guarded.denials().get("UNJUDGED", 0) == before


def test_listened_at_on_the_host_too(world: World, judging: Axon) -> None:
    """Where the host itself has a server at a published port, as Docker's proxy is, what goes to the container is whole:
    a policy for the host's server has nothing to do with it.
    """
    sent = random.Random(1).randbytes(3 << 20)
    with published(world, judging) as (guarded, host, listener), host.socket() as other:
        other.bind(("0.0.0.0", listener.port))
        other.listen()
        guarded.force(policy("web", listener.port, PUBLIC))
        before = guarded.denials()
        wire = listener.connect()
        sender = threading.Thread(target=wire.client.sendall, args=(sent,))
        sender.start()
        taken = bytearray()
        while len(taken) < len(sent) and (piece := wire.server.recv(1 << 20)):
            taken += piece
        sender.join()
        assert taken == sent
        wire.server.sendall(OK)
        assert wire.client.recv(1000) == OK
        assert guarded.denials() == before
