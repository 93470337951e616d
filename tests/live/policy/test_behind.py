"""Filters behind ours at the same place have their turn: they see what is allowed, and their verdict counts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from axon.kernel import bpf, tc
from axon.kernel.insn import (
    FP,
    MAP_LOOKUP,
    R0,
    R1,
    R2,
    R6,
    add,
    atomic_add64,
    call,
    copy,
    leave,
    load32,
    load_map,
    mov,
    skip_unless_zero,
    store32_value,
)
from axon.kernel.maps import Map
from axon.kernel.netlink import put_filter
from tests.live.kit.axon import Axon
from tests.live.kit.gate import Guarded, expect_403, expect_nothing, inside, policy, rest
from tests.live.kit.wire import Listener, get
from tests.live.kit.world import Place, World, ip

PUBLIC = "{path: /pub/*}"
_PASS, _DROP = 0, 2  # TC_ACT_OK, TC_ACT_SHOT
_PADDING = tuple(f"X-{i}: " + "x" * 900 for i in range(8))


class Counter:
    """A filter of somebody else's, behind ours: counts the bytes of what it is given."""

    def __init__(self, verdict: int) -> None:
        self.table = bpf.map_create(bpf.MAP_ARRAY, "behind", 4, 8, 1)
        say = mov(R0, verdict) + leave()
        code = (
            load32(R6, R1, 0)  # skb->len
            + store32_value(FP, -4, 0)
            + copy(R2, FP)
            + add(R2, -4)
            + load_map(R1, self.table.fileno())
            + call(MAP_LOOKUP)
            + skip_unless_zero(R0, len(say) // 8)
            + say
            + atomic_add64(R0, R6, 0)
            + say
        )
        self.program = bpf.prog_load(bpf.PROG_SCHED_CLS, "behind", code)
        self._values = Map(self.table, np.dtype("u4"), np.dtype("u8"))

    @property
    def seen(self) -> int:
        """How many bytes it was given."""
        value = self._values.lookup(0)
        assert value is not None
        return int(value)

    @contextmanager
    def behind(self, place: Place, interface: str, *, egress: bool = False) -> Iterator[None]:
        """Have it at a place of an interface that is judged there."""
        way = "egress" if egress else "ingress"
        parent = 0xFFFF_FFF3 if egress else 0xFFFF_FFF2

        def attach() -> None:
            index = socket.if_nametoindex(interface)
            put_filter(
                index, parent, priority=tc.PRIORITY + 1, handle=1, name="behind", class_id=0,
                program=self.program.fileno(),
            )  # fmt: skip
            ours, theirs = tc.chain(tc.Point(index, egress=egress))
            assert tc.is_ours(ours)
            assert theirs.program == bpf.prog_info(self.program).id

        inside(place, attach)
        try:
            yield
        finally:
            there = ("dev", interface, way, "prio", str(tc.PRIORITY + 1))
            place.run("tc", "filter", "del", *there)

    def close(self) -> None:
        """Forget it."""
        self.program.close()
        self._values.close()


@pytest.fixture
def passing() -> Iterator[Counter]:
    """Give a filter that lets everything by."""
    made = Counter(_PASS)
    yield made
    made.close()


@pytest.fixture
def dropping() -> Iterator[Counter]:
    """Give a filter that drops everything."""
    made = Counter(_DROP)
    yield made
    made.close()


def expect_seen(counter: Counter, listener: Listener) -> None:
    """Fail unless the filter is given what is allowed, and nothing of what is denied."""
    wire = listener.connect()
    before = counter.seen
    request = get("/pub/a", *_PADDING)
    for _ in range(3):
        wire.exchange(request)
    assert counter.seen - before >= 3 * len(request)
    before = counter.seen
    wire.client.sendall(get("/secret", *_PADDING))
    expect_403(wire.client)
    expect_nothing(wire.server)
    assert counter.seen - before < len(request) // 2


def interface_of(world: World, listener: Listener) -> str:
    """Return the interface by which the requests of a listener arrive."""
    return "lo" if listener.client is world.server else "cable1"


def test_what_it_sees(gate: Guarded, world: World, anywhere: Listener, passing: Counter) -> None:
    """It is given every allowed request, and of a denied one no more than the reset that is made of it."""
    gate.allow(anywhere.port, PUBLIC)
    with passing.behind(world.server, interface_of(world, anywhere)):
        expect_seen(passing, anywhere)


def test_its_verdict(gate: Guarded, world: World, anywhere: Listener, dropping: Counter) -> None:
    """What is allowed and it drops does not arrive, and comes again when it is gone."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.exchange(get("/pub/a"))
    with dropping.behind(world.server, interface_of(world, anywhere)):
        wire.client.sendall(get("/pub/b"))
        assert rest(wire.server, 0.3).how == "silence"
        assert dropping.seen > len(get("/pub/b"))
    assert wire.server.recv(1000) == get("/pub/b")
    wire.answer()


def test_what_no_policy_selects(
    gate: Guarded, world: World, anywhere: Listener, passing: Counter
) -> None:
    """What is for a workload that no policy selects gets there as well."""
    gate.allow(anywhere.world.port(), PUBLIC)
    with passing.behind(world.server, interface_of(world, anywhere)):
        wire = anywhere.connect()
        before, request = passing.seen, get("/secret", *_PADDING)
        wire.exchange(request)
        assert passing.seen - before >= len(request)


def test_into_a_container(world: World, judging: Axon, passing: Counter) -> None:
    """So it is where the gate judges what is sent into a container's cable."""
    host, box = world.place("behind-h"), world.place("behind-b")
    try:
        ip("-n", host.name, "link", "add", "pod", "type", "veth", "peer", "eth0", "netns", box.name)
        for place, device, own in ((host, "pod", "10.87.0.1"), (box, "eth0", "10.87.0.2")):
            ip("-n", place.name, "addr", "add", f"{own}/24", "dev", device)
            ip("-n", place.name, "link", "set", device, "up")
        guarded, listener = Guarded(judging, host), Listener(world, box, host, "10.87.0.2")
        with guarded.everywhere():
            guarded.force(policy("web", listener.port, PUBLIC))
            with passing.behind(host, "pod", egress=True):
                expect_seen(passing, listener)
        listener.close()
    finally:
        world.remove(host)
        world.remove(box)
