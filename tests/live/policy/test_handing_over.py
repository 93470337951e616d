"""The filters are given another program wherever they are, and interfaces may come and go meanwhile."""

from __future__ import annotations

import socket
import subprocess
from contextlib import ExitStack

import pytest

from axon.kernel import bpf, tc
from axon.kernel.gate import hand_over
from axon.kernel.insn import R0, leave, mov
from tests.live.kit.gate import inside
from tests.live.kit.world import World, ip

NAMES = ("first", "second", "third")


def test_interfaces_that_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interface that goes before it is given the program, or before that is undone, is left out."""
    place = world.place("going")
    for name in NAMES:
        ip("-n", place.name, "link", "add", name, "type", "veth", "peer", f"{name}-end")

    def work() -> None:
        points = [tc.Point(socket.if_nametoindex(name)) for name in NAMES]
        before, after = (
            bpf.prog_load(bpf.PROG_SCHED_CLS, "ax_test", mov(R0, -1) + leave()) for _ in range(2)
        )
        old, new = (bpf.prog_info(one).id for one in (before, after))
        for point in points:
            tc.attach(point, before)

        def listed(number: int) -> list[tc.Point]:
            assert number == old
            ip("-n", place.name, "link", "del", NAMES[0])
            return points

        monkeypatch.setattr(tc, "points_of", listed)
        with ExitStack() as undo:
            hand_over(before, after, undo)
            assert [tc.attached(point) for point in points] == [0, new, new]
            ip("-n", place.name, "link", "del", NAMES[1])
        assert [tc.attached(point) for point in points] == [0, 0, old]
        before.close()
        after.close()

    inside(place, work)
    world.remove(place)


def test_a_qdisc_without_a_place_for_what_is_sent(world: World) -> None:
    """Where somebody has put the qdisc `ingress`, what is sent cannot be judged, and nothing is put into the place of what arrives."""
    place = world.place("ingress")
    ip("-n", place.name, "link", "add", "cable", "type", "veth", "peer", "end")
    subprocess.run(
        ["tc", "-n", place.name, "qdisc", "add", "dev", "cable", "ingress"], check=True, timeout=30
    )

    def work() -> None:
        index = socket.if_nametoindex("cable")
        program = bpf.prog_load(bpf.PROG_SCHED_CLS, "ax_test", mov(R0, -1) + leave())
        with pytest.raises(OSError, match="clsact"):
            tc.attach(tc.Point(index, egress=True), program)
        assert tc.chain(tc.Point(index)) == []
        tc.attach(tc.Point(index), program)
        assert tc.attached(tc.Point(index)) == bpf.prog_info(program).id
        program.close()

    inside(place, work)
    world.remove(place)
