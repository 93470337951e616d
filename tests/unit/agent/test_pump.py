"""The reader of the flow records sleeps while none come, is woken by the first, and by no more of many."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from axon.agent import pump
from axon.agent.pump import Pump
from axon.kernel import FlowRing, load_abi

SOON = 5.0  # seconds within which a reader that is woken has read, however slow this machine is
NEVER = 60.0


class Ring:
    """A ring as the programs see it: who puts a record in wakes the reader if it asks for that."""

    def __init__(self, ctl: NDArray[Any]) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.reads = self.wakes = 0
        self.behind: Callable[[], None] = lambda: None
        """What happens right behind a read."""
        self._ctl = ctl
        self._flow = load_abi().flow
        self._waiting = 0

    def come(self, count: int = 1) -> None:
        """Put records in."""
        for _ in range(count):
            self._waiting += 1
            if self._ctl["wake"][0]:
                self.wakes += 1
                os.eventfd_write(self.fd, 1)

    def read(self) -> NDArray[Any]:
        """Take all."""
        self.reads += 1
        count, self._waiting = self._waiting, 0
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        behind, self.behind = self.behind, lambda: None
        behind()
        return np.zeros(count, self._flow)


class Case:
    """A pump over such a ring, and what it has taken."""

    def __init__(self) -> None:
        self.ctl = np.zeros(1, load_abi().ctl)
        self.ring = Ring(self.ctl)
        self.taken = 0
        self.faults: list[Exception] = []
        """What goes wrong at the next records, one after the other."""
        self.pump = Pump(cast("FlowRing", self.ring), self.ctl, self.take)

    def take(self, flows: NDArray[Any]) -> None:
        """Take records, or fail."""
        if self.faults:
            raise self.faults.pop(0)
        self.taken += len(flows)

    async def until(self, true: Callable[[], bool], seconds: float = SOON) -> bool:
        """Say whether something is so soon."""
        deadline = time.monotonic() + seconds
        while not (so := true()) and time.monotonic() < deadline:  # noqa: ASYNC110 - of any kind
            await asyncio.sleep(0.001)
        return so

    async def asleep(self) -> None:
        """Wait until it sleeps."""
        assert await self.until(lambda: self.ctl["wake"][0] == 1)


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """Give a case in which nothing but a record wakes a reader that sleeps."""
    monkeypatch.setattr(pump, "_QUIET", NEVER)
    made = Case()
    yield made
    made.pump.stop()
    os.close(made.ring.fd)


async def test_a_record_wakes_who_sleeps(case: Case) -> None:
    """While nothing comes nothing is read; what comes is read at once, and then it sleeps again."""
    case.pump.start()
    for number in range(1, 4):
        await case.asleep()
        reads = case.ring.reads
        await asyncio.sleep(4 * pump._BUSY)
        assert case.ring.reads == reads
        case.ring.come()
        assert await case.until(lambda: case.taken == number)  # noqa: B023 - waited for here
    assert case.ring.wakes == 3


async def test_many_records_wake_nobody(case: Case) -> None:
    """As long as records come they are read at intervals; only the first of them has to wake the reader."""
    case.pump.start()
    await case.asleep()
    came, began, reads = 0, time.monotonic(), case.ring.reads
    while time.monotonic() < began + 20 * pump._BUSY:
        case.ring.come(5)
        came += 5
        await asyncio.sleep(0.001)
    took = time.monotonic() - began
    assert case.ring.wakes == 5
    assert 3 < case.ring.reads - reads <= took / pump._BUSY + 2
    assert await case.until(lambda: case.taken == came)


async def test_a_record_that_comes_as_it_falls_asleep(case: Case) -> None:
    """One that comes behind the last read, before the programs know that they are to wake, is read at once."""
    case.ring.behind = case.ring.come
    case.pump.start()
    assert await case.until(lambda: case.taken == 1)
    assert case.ring.wakes == 0


async def test_a_sleep_ends_by_itself(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record without a wake, as of a program that began before, is read after a while."""
    monkeypatch.setattr(pump, "_QUIET", 0.05)
    case.pump.start()
    await case.asleep()
    case.ctl["wake"] = 0
    case.ring.come()
    assert await case.until(lambda: case.taken == 1)


async def test_nobody_watches(case: Case) -> None:
    """Before and after somebody watches the programs wake nobody, and the tick reads what there is."""
    case.ring.come(3)
    assert case.pump.read() == 3
    case.pump.start()
    await case.asleep()
    case.pump.stop()
    assert await case.until(lambda: case.ctl["wake"][0] == 0)
    reads = case.ring.reads
    case.ring.come(2)
    await asyncio.sleep(4 * pump._BUSY)
    assert (case.ring.wakes, case.ring.reads, case.taken) == (0, reads, 3)
    assert not asyncio.get_running_loop().remove_reader(case.ring.fd)
    assert case.pump.read() == 2


@pytest.mark.parametrize(("records", "pressed"), [(99, False), (100, True)])
def test_a_ring_that_fills(case: Case, records: int, *, pressed: bool) -> None:
    """Where many came at once more of them may come than there is room for before the next tick."""
    case.ring.come(records)
    case.pump.read()
    assert case.pump.pressed == pressed
    case.pump.read()
    assert not case.pump.pressed


async def test_one_fault_does_not_end_all_streams(
    case: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong at some records is logged once, with its traceback; those after it are taken."""
    monkeypatch.setattr(pump, "_QUIET", 0.2)
    case.faults = [RuntimeError("a fault"), RuntimeError("a fault"), OSError("another")]
    case.pump.start()
    for left in (2, 1, 0):
        case.ring.come()
        assert await case.until(lambda: len(case.faults) == left)  # noqa: B023 - waited for here
        assert case.ctl["wake"][0] == 0  # nobody is waited for meanwhile
    case.ring.come(7)
    assert await case.until(lambda: case.taken == 7)
    told = [record for record in caplog.records if record.name == "axon.agent"]
    assert [record.message for record in told] == ["the flow records could not be taken"] * 2
    assert [str(record.exc_info[1]) for record in told if record.exc_info] == ["a fault", "another"]
