"""What is dropped because nothing judges it does not keep its client waiting: its connection is ended."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from axon.agent.ending import Ending
from axon.kernel import diag
from axon.kernel.system import cgroup_root
from axon.policy.compiler.layout import HostMode
from tests.live.agent.test_privileges import confined
from tests.live.kit.axon import Axon
from tests.live.kit.enforcing import Enforcing, take_all
from tests.live.kit.gate import End, Guarded, inside, policy, rest
from tests.live.kit.packet import ACK, PSH, RST
from tests.live.kit.raw import Raw
from tests.live.kit.waiting import until
from tests.live.kit.wire import OK, Listener, Wire, get
from tests.live.kit.world import Place, World

PUBLIC = "{path: /pub/*}"
CABLE = "cable1"
_ROOM = 1024  # AX_UNJUDGED
_AT_MOST = (
    2.5  # seconds until a client knows: it comes again after 0.2, and the agent looks every second
)
_PLACE = ("dev", CABLE, "ingress")


@pytest.fixture(scope="module")
def guarded(world: World, judging: Axon) -> Iterator[Guarded]:
    """Give a gate that is in front of nothing yet: only the sockets' own hook is there."""
    made = Guarded(judging, world.server)
    yield made
    made.close()


@pytest.fixture
def ending(gate: Guarded) -> Ending:
    """Give what ends connections in the servers' place, as the agent there would have it."""
    return Ending(gate.gate, cgroup_root())


@pytest.fixture
def blocked(agent: Enforcing) -> Iterator[Enforcing]:
    """Give an agent that cannot attach to the cable: the first place there is somebody else's."""
    agent.place.run("tc", "qdisc", "replace", "dev", CABLE, "clsact")
    take_all(agent.place, CABLE, protocol="ip")
    yield agent
    agent.place.run("tc", "qdisc", "del", "dev", CABLE, "clsact")


@pytest.fixture
def box(world: World) -> Iterator[Place]:
    """Give a network namespace whose loopback device no agent watches."""
    made = world.place("box")
    yield made
    world.remove(made)


def look(gate: Guarded, ending: Ending) -> dict[str, int]:
    """Have it look once in the servers' place; return what it has counted until now."""
    inside(gate.place, ending.look)
    ending.close()
    return dict(ending.counts)


def told(gate: Guarded) -> list[int]:
    """Take what the hook tells of: the cookies of sockets, one for each packet."""
    found: list[int] = gate.gate.unjudged(2 * _ROOM)["cookie"].tolist()
    return found


def dropped(gate: Guarded) -> int:
    """Return how many packets were dropped because nothing has judged them."""
    return gate.denials().get("UNJUDGED", 0)


@contextmanager
def more(gate: Guarded, count: int = 1) -> Iterator[None]:
    """Wait in the end until so many more have been dropped."""
    before = dropped(gate)
    yield
    until(lambda: dropped(gate) >= before + count, "packets are dropped")


@contextmanager
def attached(gate: Guarded) -> Iterator[None]:
    """Have the gate in front of what arrives by the cable."""
    gate.attach(CABLE)
    yield
    gate.close()


def expect_reset(wire: Wire) -> None:
    """Fail unless both ends of a connection read at once that it has ended, and nothing else."""
    began = time.monotonic()
    assert rest(wire.client) == End(b"", "reset")
    assert time.monotonic() - began < _AT_MOST
    wire.server.settimeout(_AT_MOST)
    with pytest.raises(ConnectionAbortedError):
        wire.server.recv(1)


def metric(agent: Enforcing, result: str) -> float:
    """Return how many connections have had that result."""
    return agent.metric(f'axon_policy_sockets_destroyed_total{{result="{result}"}}')


@pytest.mark.parametrize("six", [False, True])
def test_where_no_filter_can_be_attached(blocked: Enforcing, world: World, six: bool) -> None:
    """A client reads a reset, and not silence; what listens goes on, and is asked when it is judged."""
    family, address = socket.AF_INET, world.server.ip4
    if six:
        family, address = socket.AF_INET6, world.server.ip6
    listener = Listener(world, world.server, world.client, address, family, socket.AF_INET6)
    blocked.write(policy("web", listener.port, PUBLIC))
    blocked.start()
    assert not blocked.healthy()
    for i in range(1, 4):
        wire = listener.connect()
        wire.client.sendall(get("/pub/a"))
        expect_reset(wire)
        until(lambda i=i: metric(blocked, "destroyed") == i, "it is counted")  # type: ignore[misc]
    assert metric(blocked, "unreachable") == 0
    blocked.place.run("tc", "filter", "del", *_PLACE, "prio", "1")
    until(blocked.healthy, "the interface is judged")
    wire = listener.connect()
    wire.exchange(get("/pub/a"))
    listener.close()


def test_in_another_network_namespace(agent: Enforcing, world: World, box: Place) -> None:
    """A server is found in the network namespace of its cgroup's processes."""
    listener = Listener(world, box, box, "127.0.0.1")
    agent.write(policy("web", listener.port, PUBLIC))
    agent.start()
    wire = listener.connect()
    wire.client.sendall(get("/pub/a"))
    expect_reset(wire)
    until(lambda: metric(agent, "destroyed") == 1, "it is counted")
    assert metric(agent, "unreachable") == 0
    listener.close()


def test_without_the_privilege(blocked: Enforcing, world: World, box: Place) -> None:
    """With the capabilities of the systemd unit connections of the agent's own network namespace are
    ended; others are counted, and their clients wait.
    """
    near = Listener(world, world.server, world.client, world.server.ip4)
    far = Listener(world, box, box, "127.0.0.1")
    command = [*confined(), sys.executable, "-m", "axon"]
    code = f"import os, sys; os.execvp('setpriv', {command} + sys.argv[1:])"
    blocked.launcher = ("-c", code)
    blocked.write(policy("near", near.port, PUBLIC), "near.yaml")
    blocked.write(policy("far", far.port, PUBLIC), "far.yaml")
    blocked.start()
    wire = near.connect()
    wire.client.sendall(get("/pub/a"))
    expect_reset(wire)
    assert metric(blocked, "unreachable") == 0
    other = far.connect()
    other.client.sendall(get("/pub/a"))
    until(lambda: metric(blocked, "unreachable") >= 1, "it is counted")
    assert rest(other.client, _AT_MOST) == End(b"", "silence")
    assert metric(blocked, "destroyed") == 1
    near.close()
    far.close()


def test_one_packet_ends_nothing(world: World, gate: Guarded, ending: Ending) -> None:
    """A connection is ended when its packet comes again: the gate may just have missed the first."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    gate.allow(listener.port, PUBLIC)
    raw = Raw(world, listener.port).connect()
    for ended in range(2):
        with more(gate):
            raw.send(get("/pub/a"))
        assert look(gate, ending) == {"destroyed": ended, "unreachable": 0}
    raw.wait(lambda s: bool(s.flags & RST))
    raw.close()
    listener.close()


def test_a_policy_for_an_open_connection(gate: Guarded, ending: Ending, listener: Listener) -> None:
    """A connection that is open when its server becomes selected is judged, and goes on if nothing came on it before."""
    with attached(gate):
        wire = listener.connect()
        gate.allow(listener.port, PUBLIC)
        for i in range(5):
            wire.exchange(get(f"/pub/{i}"))
            assert look(gate, ending) == {"destroyed": 0, "unreachable": 0}


def test_what_was_judged_is_not_ended(gate: Guarded, ending: Ending, listener: Listener) -> None:
    """A connection whose filter is taken away waits for it, and goes on when it is back."""
    gate.allow(listener.port, PUBLIC)
    with attached(gate):
        wire = listener.connect()
        wire.exchange(get("/pub/a"))
    with more(gate, 3):
        wire.client.sendall(get("/pub/b"))
    assert told(gate) == []
    assert look(gate, ending) == {"destroyed": 0, "unreachable": 0}
    with attached(gate):
        wire.server.settimeout(10)
        assert wire.server.recv(1000) == get("/pub/b")
        wire.answer(OK)


def test_allowed_unread(gate: Guarded, ending: Ending, listener: Listener) -> None:
    """What a rule without httpRules allows goes on without its filter, and is ended if it had none."""
    gate.allow(listener.port)
    with attached(gate):
        wire = listener.connect()
        wire.ask(b"\x16\x03\x01 this is no HTTP")
    wire.ask(b"and goes on")
    assert told(gate) == []
    other = listener.connect()
    with more(gate, 2):
        other.client.sendall(b"\x16\x03\x01 this is no HTTP")
    assert look(gate, ending) == {"destroyed": 0, "unreachable": 0}
    with more(gate):
        pass
    assert look(gate, ending) == {"destroyed": 1, "unreachable": 0}
    expect_reset(other)
    wire.answer(b"as it was")


def test_only_what_tcp_would_take(world: World, gate: Guarded) -> None:
    """A segment that is not the very next one, or acknowledges what was not sent, ends nothing."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    gate.allow(listener.port, PUBLIC)
    raw = Raw(world, listener.port).connect()
    server = listener.accept()
    data = get("/pub/a")
    stray = (
        {"at": 1},
        {"at": -1},
        {"at": 5000},
        {"ack": (raw.ack + 1) % 2**32},
        {"ack": (raw.ack - 1) % 2**32},
        {"flags": PSH},
        {"flags": ACK | RST},
    )
    for how in stray:
        with more(gate):
            raw.send(data, **how)
    assert told(gate) == []
    with more(gate):
        raw.send(data)
    assert told(gate) == [diag.cookie(server)]
    raw.close()
    listener.close()


def test_audit(gate: Guarded, ending: Ending, listener: Listener) -> None:
    """In mode audit nothing is dropped, and nothing is ended."""
    gate.allow(listener.port, PUBLIC, mode=HostMode.AUDIT)
    wire = listener.connect()
    wire.exchange(get("/secret"))
    assert told(gate) == []
    assert look(gate, ending) == {"destroyed": 0, "unreachable": 0}
    wire.exchange(get("/secret"))
    gate.gate.mode = HostMode.ENFORCE
    with more(gate):
        wire.client.sendall(get("/secret"))
    assert look(gate, ending) == {"destroyed": 0, "unreachable": 0}
    with more(gate):
        pass
    assert look(gate, ending) == {"destroyed": 1, "unreachable": 0}
    expect_reset(wire)


def test_what_listens_is_not_ended(gate: Guarded, ending: Ending, listener: Listener) -> None:
    """First data that meets the listener, for it is accepted with data only, ends nothing."""
    listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
    gate.allow(listener.port, PUBLIC)
    client = listener.dial()
    with more(gate, 3):
        client.sendall(get("/pub/a"))
    assert told(gate) == []
    assert look(gate, ending) == {"destroyed": 0, "unreachable": 0}
    listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
    gate.release()
    assert listener.connect().client.getpeername()[1] == listener.port


def test_full(world: World, gate: Guarded, ending: Ending) -> None:
    """Of more than there is room for nobody is told, and who comes again is ended then."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    gate.allow(listener.port, PUBLIC)
    busy, late = (Raw(world, listener.port).connect() for _ in range(2))
    _, server = listener.accept(), listener.accept()
    with more(gate, _ROOM + 1):
        for _ in range(_ROOM):
            busy.send(get("/pub/a"))
        late.send(get("/pub/a"))
    cookies = told(gate)
    assert len(cookies) == _ROOM
    assert len(set(cookies)) == 1
    for ended in (0, 1):
        with more(gate):
            late.send(get("/pub/a"))
        assert look(gate, ending) == {"destroyed": ended, "unreachable": 0}
    with pytest.raises(ConnectionAbortedError):
        server.recv(1)
    late.close()
    busy.close()
    listener.close()


def test_what_was_dropped_before(world: World, gate: Guarded) -> None:
    """What was dropped while no agent ran does not end what the filters of the next one judge."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    gate.allow(listener.port, PUBLIC)
    raw = Raw(world, listener.port).connect()
    with more(gate, 2):
        raw.send(get("/pub/a"))
        raw.send(get("/pub/a"))
    ending = Ending(gate.gate, cgroup_root())
    assert look(gate, ending) == {"destroyed": 0, "unreachable": 0}
    with attached(gate):
        raw.send(get("/pub/a"))
        assert listener.accept().recv(1000) == get("/pub/a")
    raw.close()
    listener.close()


def test_doctor() -> None:
    """`axon doctor` says that connections can be ended, and where."""
    command = (sys.executable, "-m", "axon", "doctor", "--output", "json")
    for prefix, where in (((), "in other network namespaces too"), (confined(), "CAP_SYS_ADMIN")):
        shown = json.loads(
            subprocess.run((*prefix, *command), check=True, capture_output=True).stdout
        )
        (row,) = [one for one in shown["features"] if one["name"] == "ending sockets"]
        assert row["state"] == "ok"
        assert where in row["detail"]


def test_first_data_of_an_older_connection(gate: Guarded, world: World) -> None:
    """What was judged on a connection with the same ports says nothing of first data that nobody has judged."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    gate.allow(listener.port, PUBLIC)
    gate.forged = True
    first = Raw(world, listener.port, isn=1 << 20)
    with attached(gate):
        first.connect(last=False)
        request = get("/pub/" + "a" * 900)
        first.send(request)
        assert rest(listener.accept(), 0.2).data == request
        first.seq += len(request)
        first.close()
    for before in (500, 0):
        second = Raw(world, listener.port, isn=(1 << 20) - before)
        second.sport = first.sport
        if not before:
            time.sleep(1)
        second.connect(last=False)
        with more(gate):
            second.send(get("/secret"))
        listener.socket.settimeout(0.3)
        with suppress(TimeoutError):
            assert rest(listener.accept(), 0.3).data == b""
        second.close()
    listener.close()
