"""Looks at the counters: exact totals, exact windows, series that come, go and come back."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.snapshot.conftest import Make, looks
from tests.unit.snapshot.fake import SECOND, FakeKernel, Socket, bucket_of


def test_totals_are_those_of_the_kernel(collect: Make) -> None:
    """Counts, sums and histograms of a series are the sums over its copies."""
    kernel = FakeKernel(shards=4)
    collector = collect(kernel)
    key = kernel.key(route=9, status=200)
    for shard in range(4):
        kernel.request(key, duration=5_000_000, body=1000, times=shard + 1, shard=shard)
    kernel.now += SECOND
    look = collector.tick()
    row = int(np.flatnonzero(look.keys["route"] == 9)[0])
    assert look.count[row] == 10
    assert look.dur_sum[row] == 10 * 5_000_000
    assert look.ttfb_sum[row] == 10 * 2_500_000
    assert (look.resp_body[row], look.req_body[row]) == (10_000, 0)
    assert (look.req_wire[row], look.resp_wire[row]) == (800, 11_000)
    assert look.hist[row].nonzero()[0].tolist() == [bucket_of(5_000_000)]
    assert look.resp_size[row].sum() == 10
    assert not look.req_size[row].any()
    assert look.taken == 3
    assert (look.gens[row], look.pids[row]) == (0, 4321)


def test_the_window_is_an_exact_difference(collect: Make) -> None:
    """Requests count in the window for as long as it lasts, and not a look longer."""
    kernel = FakeKernel()
    collector = collect(kernel, window_seconds=3)
    collector.tick()
    key = kernel.key(route=9)
    seen = []
    for requests in (5, 7, 0, 11, 0, 0, 0):
        if requests:
            kernel.request(key, times=requests)
        kernel.now += SECOND
        look = collector.tick()
        seen.append(int(look.window.counts(look.slots).sum()))
    assert seen == [5, 12, 12, 18, 11, 11, 0]


def test_the_window_says_how_long_it_is(collect: Make) -> None:
    """A young window is as long as has been looked, then as long as was asked for."""
    kernel = FakeKernel()
    collector = collect(kernel, window_seconds=3)
    collector.tick()
    lengths = []
    for step in (0.9, 1.1, 1.0, 1.05, 0.95, 1.0):
        kernel.now += int(step * SECOND)
        lengths.append(collector.tick().window.seconds)
    assert lengths == pytest.approx([0.9, 2.0, 3.0, 3.15, 3.0, 3.0])


def test_what_was_counted_before_the_start_is_in_totals_only(collect: Make) -> None:
    """After a restart the totals go on, and the rate does not leap."""
    kernel = FakeKernel()
    key = kernel.key(route=9)
    kernel.request(key, times=1000)
    kernel.now += SECOND
    collector = collect(kernel)
    assert collector.tick().count.sum() == 1000
    kernel.request(key, times=3)
    kernel.now += SECOND
    look = collector.tick()
    assert look.count.sum() == 1003
    assert look.window.counts(look.slots).sum() == 3


def test_groups_have_rates_errors_and_quantiles(collect: Make) -> None:
    """Series of a group are added up, histograms included; other series are left out."""
    kernel = FakeKernel()
    collector = collect(kernel)
    look = collector.tick()
    for _ in range(2):
        kernel.request(kernel.key(route=9, status=200), duration=10_000_000, times=90)
        kernel.request(kernel.key(route=9, status=500), duration=900_000_000, times=10, body=50)
        kernel.request(kernel.key(route=8, status=200), duration=20_000_000, times=5)
        [look] = looks(kernel, collector, 1)
    groups = np.select([look.keys["route"] == 9, look.keys["route"] == 8], [0, 1], 3)
    stats = look.window.stats(look.slots, groups, 3, look.keys["status"] >= 500)
    assert stats.seconds == 2
    assert stats.rate.tolist() == [100, 5, 0]
    assert stats.error_rate.tolist() == [10, 0, 0]
    assert stats.p50[:2] == pytest.approx([0.01, 0.02], rel=0.05)
    assert stats.p95[0] == pytest.approx(0.9, rel=0.05)
    assert np.isnan(stats.p99[2])
    assert stats.mean[0] == pytest.approx(0.9 * 0.01 + 0.1 * 0.9)
    assert stats.ttfb[1] == pytest.approx(0.01)
    assert stats.resp_wire[0] == 200 * 100 + 20 * 50
    assert stats.resp_body[0] == 20 * 50
    assert stats.req_body[0] == 0
    assert stats.req_wire[1] == 10 * 80


def test_the_first_byte_of_no_response_takes_no_time(collect: Make) -> None:
    """Requests without a response are left out of the mean; it is unknown where there was none."""
    kernel = FakeKernel()
    collector = collect(kernel)
    collector.tick()
    for route in (8, 9):
        kernel.request(kernel.key(route=route), duration=900_000_000, times=9, answered=False)
    kernel.request(kernel.key(route=9, status=200), duration=10_000_000)
    [look] = looks(kernel, collector, 1)
    groups = np.select([look.keys["route"] == 9, look.keys["route"] == 8], [0, 1], 2)
    stats = look.window.stats(look.slots, groups, 2, np.zeros(len(look), np.bool_))
    assert stats.count.tolist() == [10, 9]
    assert stats.ttfb[0] == pytest.approx(0.005)
    assert np.isnan(stats.ttfb[1])


def test_many_groups_are_the_same_as_few(collect: Make) -> None:
    """Quantiles do not depend on how many groups are expanded at a time."""
    kernel = FakeKernel(max_series=3000)
    collector = collect(kernel)
    collector.tick()
    for i in range(2500):
        kernel.request(kernel.key(route=100 + i), duration=(i + 1) * 10_000)
    kernel.now += SECOND
    look = collector.tick()
    groups = np.arange(len(look))
    stats = look.window.stats(look.slots, groups, len(look), np.zeros(len(look), np.bool_))
    busy = look.keys["route"] >= 100
    expected = (look.keys["route"][busy] - 99) * 1e-5
    assert stats.p50[busy] == pytest.approx(expected, rel=0.05)
    assert stats.count.sum() == 2500


def test_counts_that_come_late_are_not_missed(collect: Make) -> None:
    """A look amid a request's additions sees the rest at the next look."""
    kernel = FakeKernel()
    collector = collect(kernel)
    collector.tick()
    key = kernel.key(route=9)
    slot, _ = kernel.slot_of(key)
    kernel.now += SECOND
    collector.tick()
    cell = kernel.memory[0][slot]
    cell["dur_sum"] += 1_000_000
    kernel.now += SECOND
    assert collector.tick().count.sum() == 0
    cell["hist"][80] += 1
    kernel.now += SECOND
    assert collector.tick().count.sum() == 1


def test_a_slot_being_taken_is_left_for_the_next_look(collect: Make) -> None:
    """A series whose entry was begun within the last millisecond is not read half written."""
    kernel = FakeKernel()
    collector = collect(kernel)
    kernel.now += SECOND
    kernel.request(kernel.key(route=9))
    assert 9 not in collector.tick().keys["route"]
    kernel.now += SECOND
    look = collector.tick()
    assert 9 in look.keys["route"]
    assert look.count.sum() == 1


def test_a_slot_given_back_by_a_program_is_followed(collect: Make) -> None:
    """When two CPUs make a series at once, the loser's slot soon stands for something else."""
    kernel = FakeKernel()
    collector = collect(kernel)
    loser, _ = kernel.slot_of(kernel.key(route=9))
    kernel.now += SECOND
    assert 9 in collector.tick().keys["route"]
    del kernel.series[kernel.key(route=9).tobytes()]
    kernel.table[loser]["created"] = 0
    kernel.free.append(loser)
    kernel.request(kernel.key(route=10))
    kernel.now += SECOND
    look = collector.tick()
    assert look.keys["route"].tolist() == [0, 0, 10]
    assert look.count.tolist() == [0, 0, 1]


def test_rows_are_named_anew_only_when_they_change(collect: Make) -> None:
    """The epoch tells whether rows came or went, and names are shared while it stays."""
    kernel = FakeKernel()
    collector = collect(kernel)
    key = kernel.key(route=9)
    kernel.request(key)
    kernel.now += SECOND
    first = collector.tick()
    kernel.request(key)
    kernel.now += SECOND
    second = collector.tick()
    kernel.request(kernel.key(route=10))
    kernel.now += SECOND
    third = collector.tick()
    assert first.epoch == second.epoch < third.epoch
    assert first.keys is second.keys
    assert [int(look.count.sum()) for look in (first, second, third)] == [1, 2, 3]
    assert [look.keys["route"][look.fresh].tolist() for look in (first, second, third)] == [
        [0, 0, 9], [], [10],
    ]  # fmt: skip


def test_full_tables_count_under_other(collect: Make) -> None:
    """Requests beyond the last slot are rows of the reserved slots, by role."""
    kernel = FakeKernel(max_series=4)
    collector = collect(kernel)
    for i in range(6):
        kernel.request(kernel.key(route=100 + i, role=i % 2), socket=Socket())
    kernel.now += SECOND
    look = collector.tick()
    assert look.count.sum() == 6
    assert look.count[look.slots < 2].tolist() == [2, 2]
