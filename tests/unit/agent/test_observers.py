"""Observers share the kernel's filters; each gets what its filter has matched."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from axon.agent.observers import Observer, Observers, Wants
from axon.api.schema import Finish, Flow
from axon.api.source import BusyError
from axon.kernel import Abi, load_abi
from tests.unit.api.source import FLOW

BY_CGROUP = 256


class Case:
    """Observers over arrays instead of the kernel's memory."""

    def __init__(self) -> None:
        self.abi: Abi = load_abi()
        self.filters = np.zeros(8, self.abi.filter)
        self.ctl = np.zeros(1, self.abi.ctl)
        self.filters["active"] = 1
        self.ctl["filters"] = 0xFF
        self.watching = 0
        self.waiting: list[NDArray[Any]] = []
        self.sought: dict[int, set[int]] = {}
        self.room = 1024
        self.observers = Observers(
            self.filters,
            self.ctl,
            ask=self.ask,
            by_cgroup=BY_CGROUP,
            drain=self.drain,
            start=self.start,
            stop=self.stop,
        )

    def ask(self, number: int, cgroups: Collection[int]) -> None:
        """Note which cgroups a filter is about."""
        if len(cgroups) > self.room:
            raise OSError(errno.E2BIG, "Argument list too long")
        self.sought[number] = set(cgroups)

    def drain(self) -> None:
        """Hand out what waits."""
        waiting, self.waiting = self.waiting, []
        for records in waiting:
            self.observers.dispatch(records)

    def start(self) -> None:
        """Count."""
        self.watching += 1

    def stop(self) -> None:
        """Count."""
        self.watching -= 1

    def open(self, limit: int = 0, rate: float = 100) -> Observer:
        """Observe everything."""
        record = np.zeros((), self.abi.filter)
        return self.observers.open(record, Wants(self.read), rate=rate, limit=limit)

    def seek(self, where: set[int], *, exact: bool = True) -> Observer:
        """Observe some cgroups; of others' records those of port 80 are wanted."""
        record = np.zeros((), self.abi.filter)
        record["use"] = BY_CGROUP | 1
        wants = Wants(
            self.read, lambda: set(where), lambda records: records["lport"] == 80, exact=exact
        )
        return self.observers.open(record, wants, rate=100, limit=0)

    def records(self, n: int, matched: int) -> NDArray[Any]:
        """Return records that some filters have matched."""
        records = np.zeros(n, self.abi.flow)
        records["matched"] = matched
        return records

    @staticmethod
    def read(records: NDArray[Any]) -> list[Flow]:
        """Make flows."""
        return [FLOW] * len(records)


@pytest.fixture
def case() -> Case:
    """Give a case."""
    return Case()


async def taken(observer: Observer) -> int:
    """Return how many flows come until the stream ends."""
    return sum([len(flows) async for flows in observer])


async def test_what_an_earlier_agent_left_is_cleared(case: Case) -> None:
    """Nobody waits for the filters of an agent that is gone."""
    assert not case.filters["active"].any()
    assert case.ctl["filters"][0] == 0


async def test_each_gets_its_own(case: Case) -> None:
    """A record goes to those whose bit is set; the reader is hurried only while one is there."""
    first, second = case.open(), case.open(rate=4)
    assert case.watching == 1
    assert case.ctl["filters"][0] == 0b11
    assert case.filters["interval"][1] == 250_000_000
    case.observers.dispatch(case.records(3, 0b01))
    case.observers.dispatch(case.records(2, 0b11))
    case.filters["matched"][:2] = [50, 2]
    assert case.observers.finish(first.id) == Finish(matched=50, shown=5)
    assert second.finish() == Finish(matched=2, shown=2)
    assert (await taken(first), await taken(second)) == (5, 2)
    assert case.watching == 0
    assert case.ctl["filters"][0] == 0
    assert case.observers.finish(first.id) is None


async def test_what_still_waits_is_shown(case: Case) -> None:
    """Records that are in the ring when a stream ends belong to it."""
    observer = case.open()
    case.waiting.append(case.records(4, 1))
    assert observer.finish().shown == 4
    assert await taken(observer) == 4


async def test_records_of_a_filters_last_user_are_not_taken_for_the_next_ones(case: Case) -> None:
    """A filter that is used again begins with an empty ring."""
    case.open().finish()
    case.waiting.append(case.records(4, 1))
    observer = case.open()
    assert observer.finish().shown == 0


async def test_a_limit_ends_the_stream(case: Case) -> None:
    """Not one more than was asked for."""
    observer = case.open(limit=3)
    case.observers.dispatch(case.records(2, 1))
    case.observers.dispatch(case.records(2, 1))
    assert await taken(observer) == 3
    assert observer.finish().shown == 3


async def test_a_reader_that_is_too_slow_loses_flows_and_not_the_agent_memory(case: Case) -> None:
    """The queue is bounded; what does not fit is not shown, and not said to be."""
    observer = case.open()
    for _ in range(30):
        case.observers.dispatch(case.records(1000, 1))
    shown = observer.finish().shown
    assert shown < 10_000
    assert await taken(observer) == shown


async def test_a_quiet_stream_shows_that_it_lives(case: Case) -> None:
    """Once a second an empty batch comes, so that the server can see whether anybody reads."""
    observer = case.open()
    batches = aiter(observer)
    assert await asyncio.wait_for(anext(batches), 3) == []
    observer.finish()


async def test_filters_run_out(case: Case) -> None:
    """The ninth observer is refused; numbers are never used again."""
    numbers = [case.open().id for _ in range(8)]
    with pytest.raises(BusyError, match="8 observers"):
        case.open()
    case.observers.finish(numbers[2])
    assert case.open().id == 9
    case.observers.finish_all()
    assert len(case.observers) == 0


async def test_a_filter_is_about_the_cgroups_of_now(case: Case) -> None:
    """What a unit's cgroups are changes with every start of it; at the end nothing is left of them."""
    where = {7}
    observer = case.seek(where)
    assert case.sought == {0: {7}}
    assert case.observers.by_cgroup
    where.clear()
    where.update({8, 9})
    case.observers.refresh()
    assert case.sought == {0: {8, 9}}
    case.observers.dispatch(case.records(3, 1))
    case.filters["matched"][0] = 30
    assert observer.finish() == Finish(matched=30, shown=3)
    assert case.sought == {0: set()}
    assert not case.observers.by_cgroup


async def test_what_the_kernel_cannot_tell_apart_is_counted_behind_the_bound(case: Case) -> None:
    """Others' requests are no match; where the bound has kept some back it is said that more may be."""
    for kept_back in (0, 5):
        observer = case.seek({7}, exact=False)
        records = case.records(4, 1)
        records["lport"][:3] = 80
        case.observers.dispatch(records)
        case.filters["matched"][0] = 4 + kept_back
        assert observer.finish() == Finish(matched=3, shown=3, at_least=kept_back > 0)


async def test_cgroups_that_do_not_fit(case: Case) -> None:
    """The kernel tests for everything else then, and the rest is told apart behind the bound."""
    where = {7}
    observer = case.seek(where)
    assert case.filters["use"][0] == BY_CGROUP | 1
    case.room = 1
    where.add(8)
    case.observers.refresh()
    assert case.filters["use"][0] == 1
    records = case.records(4, 1)
    records["lport"][:3] = 80
    case.observers.dispatch(records)
    case.filters["matched"][0] = 4
    assert observer.finish() == Finish(matched=3, shown=3)
