"""Retirement: no request is lost or counted twice, however series churn and whenever the agent dies."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from axon.snapshot import Collector, Snapshot, ledger, retire
from tests.unit.snapshot.conftest import Make, looks
from tests.unit.snapshot.fake import SECOND, FakeKernel, Socket, Truth


def totals(look: Snapshot) -> list[int]:
    """Return the requests of each role: rows and retired ones."""
    live = np.bincount(look.keys["role"], look.count, 2)
    return [int(live[role]) + int(look.retired["hist"][role].sum()) for role in (0, 1)]


def durations(look: Snapshot) -> list[int]:
    """Return the sum of durations of each role."""
    return [
        int(look.dur_sum[look.keys["role"] == role].sum()) + int(look.retired["dur_sum"][role])
        for role in (0, 1)
    ]


def test_a_silent_series_goes_and_its_slot_is_used_again(collect: Make) -> None:
    """After idle_seconds a series is no row any more, its counts are retired, its slot is free."""
    kernel = FakeKernel()
    collector = collect(kernel, idle_seconds=5)
    collector.tick()
    key = kernel.key(route=9, role=1)
    kernel.request(key, body=5000, times=3)
    slot = kernel.series[key.tobytes()][0]
    seen = looks(kernel, collector, 10)
    assert [9 in look.keys["route"] for look in seen] == [True] * 5 + [False] * 5
    assert all(totals(look) == [0, 3] for look in seen)
    look = seen[-1]
    assert kernel.free[-1] == slot
    assert not kernel.memory[0][slot].tobytes().strip(b"\0")
    assert look.retired["resp_size"][1].sum() == 3
    assert look.taken == 2


def test_a_series_that_comes_back_is_another(collect: Make) -> None:
    """Requests after retirement make a new series; a connection's remembered slot is not used."""
    kernel = FakeKernel(max_series=3)
    collector = collect(kernel, idle_seconds=3)
    socket = Socket()
    key = kernel.key(route=9)
    names = set()
    for _ in range(4):
        kernel.request(key, socket=socket)
        first, *_, last = looks(kernel, collector, 9)
        row = first.keys["route"].tolist().index(9)
        names.add((int(first.slots[row]), int(first.gens[row])))
        assert first.count[row] == 1
        assert 9 not in last.keys["route"]
    assert len(names) == 4
    assert totals(collector.tick()) == [4, 0]
    assert kernel.other == 0


def test_late_additions_to_a_leaving_slot_are_kept(collect: Make) -> None:
    """A program that had found the slot before it was taken back may still add to it."""
    kernel = FakeKernel()
    collector = collect(kernel, idle_seconds=3)
    key = kernel.key(route=9)
    kernel.request(key)
    slot = kernel.series[key.tobytes()][0]
    while key.tobytes() in kernel.series:
        looks(kernel, collector, 1)
    kernel.add(kernel.memory[1][slot], 1_000_000)
    assert all(totals(look) == [2, 0] for look in looks(kernel, collector, 6))
    assert slot in kernel.free


def test_after_a_restart_silent_series_need_not_be_waited_for_anew(collect: Make) -> None:
    """A restarted agent makes room at its second look, of what was not asked for in between."""
    kernel = FakeKernel(max_series=100)
    for i in range(90):
        kernel.request(kernel.key(route=1000 + i))
    kernel.now += 100 * SECOND
    collector = collect(kernel)
    collector.tick()
    for i in range(20):
        kernel.request(kernel.key(route=1000 + i))
    assert looks(kernel, collector, 1)[0].taken == 92
    look = looks(kernel, collector, 1)[0]
    assert set(range(1000, 1020)) <= set(look.keys["route"].tolist())
    assert look.taken == 70


def test_reserved_slots_stay(collect: Make) -> None:
    """The two series of what has no slot never leave."""
    kernel = FakeKernel(max_series=3)
    collector = collect(kernel, idle_seconds=1)
    for i in range(3):
        kernel.request(kernel.key(route=9 + i))
    look = looks(kernel, collector, 5)[-1]
    assert look.slots.tolist() == [0, 1]
    assert look.count.tolist() == [2, 0]


def test_under_pressure_the_longest_silent_go_first(collect: Make) -> None:
    """With four fifths of the slots in use, the longest silent go, until there is some room."""
    kernel = FakeKernel(max_series=100)
    collector = collect(kernel, idle_seconds=600)
    for i in range(85):
        kernel.request(kernel.key(route=1000 + i))
        kernel.now += SECOND // 10
        if i % 10 == 9 and i < 70:
            collector.tick()
    look = looks(kernel, collector, 4)[-1]
    left = sorted(int(route) for route in look.keys["route"] if route)
    assert left == list(range(1085 - len(left), 1085))
    assert 20 <= len(left) <= 68
    assert totals(look) == [85, 0]


def test_ever_new_series_do_not_fill_the_slots(collect: Make) -> None:
    """A sixth of the slots anew each second, for two minutes: room is made in time."""
    kernel = FakeKernel(max_series=300)
    collector = collect(kernel, idle_seconds=600)
    requests = 0
    for step in range(120):
        for i in range(min(step, 50)):
            kernel.request(kernel.key(route=1000 * step + i + 2))
            requests += 1
        [look] = looks(kernel, collector, 1)
        assert totals(look) == [requests, 0]
    assert kernel.other == 0


def test_hurried_series_leave_after_two_seconds(collect: Make) -> None:
    """Series that others have replaced need not be waited for, unless they are still in use."""
    kernel = FakeKernel()
    collector = collect(kernel, idle_seconds=600)
    for route in (8, 9):
        kernel.request(kernel.key(route=route))
    [look] = looks(kernel, collector, 1)
    collector.hurry(look.slots[look.keys["route"] > 0])
    for _ in range(4):
        kernel.request(kernel.key(route=8))
        [look] = looks(kernel, collector, 1)
    assert look.keys["route"].tolist() == [0, 0, 8]
    assert totals(look) == [6, 0]


def test_nothing_is_retired_while_the_ledger_cannot_be_written(
    collect: Make, tmp_path: Path
) -> None:
    """On a full disk series keep their slots; when it can be written again, all goes on."""
    kernel = FakeKernel()
    collector = collect(kernel, idle_seconds=2)
    kernel.request(kernel.key(route=9))
    blocker = tmp_path / "retired.json.new"
    blocker.mkdir()
    assert all(totals(look) == [1, 0] for look in looks(kernel, collector, 6))
    assert "run_dir" in (collector.problem or "")
    assert len(kernel.free) == 61
    kernel.request(kernel.key(route=10))
    blocker.rmdir()
    assert all(totals(look) == [2, 0] for look in looks(kernel, collector, 6))
    assert not collector.problem
    assert len(kernel.free) == 62


def test_a_damaged_ledger_does_not_end_retirement(collect: Make, tmp_path: Path) -> None:
    """What was put aside is told until the next series is retired, which writes a new file."""
    (tmp_path / "retired.json").write_text("{")
    kernel = FakeKernel()
    collector = collect(kernel, idle_seconds=2)
    assert "damaged" in (collector.problem or "")
    kernel.request(kernel.key(route=9))
    assert all(totals(look) == [1, 0] for look in looks(kernel, collector, 6))
    assert not collector.problem
    assert len(kernel.free) == 62


class Killed(BaseException):
    """The agent ends here."""


@contextmanager
def killed_after(lines: int) -> Iterator[list[int]]:
    """Raise Killed when so many lines of the retiring code have run; yields how many did."""
    files = {retire.__file__, ledger.__file__}
    ran = [0]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            ran[0] += 1
            if ran[0] == lines:
                raise Killed
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield ran
    except Killed:
        pass
    finally:
        sys.settrace(before)


def crashed_at(lines: int, path: Path) -> bool:
    """Run an agent until it dies after so many lines, then another; return whether the first died."""
    kernel = FakeKernel(max_series=16)
    truth = Truth(kernel)
    sockets = [Socket() for _ in range(6)]

    def traffic() -> None:
        for i, socket in enumerate(sockets):
            truth.request(kernel.key(route=20 + i, role=i % 2), socket=socket, shard=i)

    def agent() -> Collector:
        return Collector(kernel, ledger=path, clock=kernel.clock, idle_seconds=2)

    traffic()
    kernel.now += SECOND
    with killed_after(lines) as ran:
        looks(kernel, agent(), 7)
    died = ran[0] == lines
    collector = agent()
    look = collector.tick()
    assert totals(look) == truth.by_role
    traffic()
    for look in looks(kernel, collector, 9):
        assert totals(look) == truth.by_role
        assert durations(look) == truth.duration
    look = collector.tick()
    assert totals(look) == truth.by_role
    assert look.slots.tolist() == [0, 1]
    assert len(set(kernel.free)) == len(kernel.free) >= 14 - 1
    return died


def test_the_agent_may_die_at_any_line(tmp_path: Path) -> None:
    """Killed after any line of the retiring code, the next agent goes on: nothing is lost or doubled."""
    lines = 1
    while crashed_at(lines, tmp_path / f"{lines}.json"):
        lines += 1
    assert lines > 150


def test_a_slot_that_was_given_back_is_not_given_twice(tmp_path: Path) -> None:
    """Whether the end came before or after a slot was given back, it is free at most once."""
    kernel = FakeKernel(max_series=4)
    kernel.request(kernel.key(route=9))
    push = kernel.push_free

    def dying_push(slots: Any) -> None:
        push(slots)
        raise Killed

    kernel.push_free = dying_push  # type: ignore[method-assign]
    path = tmp_path / "retired.json"
    kernel.now += SECOND
    with pytest.raises(Killed):
        looks(kernel, Collector(kernel, ledger=path, clock=kernel.clock, idle_seconds=1), 9)
    kernel.push_free = push  # type: ignore[method-assign]
    assert sorted(kernel.free) == [2, 3]
    kernel.request(kernel.key(route=10), times=5)
    kernel.request(kernel.key(route=11), times=5)
    kernel.now += SECOND
    look = Collector(kernel, ledger=path, clock=kernel.clock).tick()
    assert totals(look) == [11, 0]


class Churn(RuleBasedStateMachine):
    """Requests, looks and restarts in any order."""

    @initialize(shards=st.sampled_from([1, 2, 4]), idle=st.sampled_from([1.0, 3.0, 20.0]))
    def begin(self, shards: int, idle: float) -> None:
        """Start with a small table, so that it is often full."""
        self.kernel = FakeKernel(max_series=14, shards=shards)
        self.truth = Truth(self.kernel)
        self.sockets = [Socket() for _ in range(4)]
        self.idle = idle
        self.folder = tempfile.TemporaryDirectory()
        self.restart()

    @rule(
        route=st.integers(2, 25),
        role=st.integers(0, 1),
        times=st.integers(1, 1000),
        socket=st.integers(0, 3),
        shard=st.integers(0, 3),
        duration=st.integers(1, 10**11),
    )
    def request(
        self, *, route: int, role: int, times: int, socket: int, shard: int, duration: int
    ) -> None:
        """Finish some requests."""
        self.truth.request(
            self.kernel.key(route=route, role=role),
            duration=duration, times=times, shard=shard, socket=self.sockets[socket],
        )  # fmt: skip

    @rule(seconds=st.floats(0.001, 4))
    def look(self, seconds: float) -> None:
        """Let time pass, then look."""
        self.kernel.now += int(seconds * SECOND)
        self.last = self.collector.tick()

    @rule()
    def restart(self) -> None:
        """End the agent without a word, start another."""
        self.collector = Collector(
            self.kernel,
            ledger=Path(self.folder.name) / "retired.json",
            clock=self.kernel.clock,
            idle_seconds=self.idle,
        )
        self.kernel.now += SECOND
        self.last = self.collector.tick()

    @invariant()
    def nothing_is_lost(self) -> None:
        """What was requested is in rows or retired, as soon as it is looked for."""
        if not hasattr(self, "collector"):
            return
        self.kernel.now += SECOND // 100
        look = self.collector.tick()
        assert totals(look) == self.truth.by_role
        assert durations(look) == self.truth.duration
        free = set(self.kernel.free)
        assert len(free) == len(self.kernel.free)
        assert not free & set(look.slots.tolist())

    def teardown(self) -> None:
        """Remove the ledger."""
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestChurn = Churn.TestCase
TestChurn.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
