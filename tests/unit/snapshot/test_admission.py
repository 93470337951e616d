"""The bounds on a workload's routes and peers are on what it has, not on what it ever had."""

from __future__ import annotations

from collections import Counter

import numpy as np

from axon.snapshot.admission import withdraw_unused
from tests.unit.snapshot.conftest import Make, looks
from tests.unit.snapshot.fake import ABI, KEY, FakeKernel


def test_churning_routes_do_not_end_in_other(collect: Make) -> None:
    """A workload that has ever new routes, ten at a time, is never told under other."""
    kernel = FakeKernel(max_series=200, max_routes=60)
    collector = collect(kernel, idle_seconds=5)
    routes = Counter[int]()
    for step in range(60):
        for i in range(10):
            kernel.request(kernel.key(route=100 * step + 2 + i, port=80))
        for look in looks(kernel, collector, 4):
            routes.update(look.keys["route"][look.count > 0].tolist())
    assert routes[0] == 0
    assert len(routes) == 600
    assert max(kernel.workloads.values()) < 60


def test_a_workload_keeps_its_bound_while_it_uses_it(collect: Make) -> None:
    """Routes beyond the bound are other for as long as the others are in use."""
    kernel = FakeKernel(max_series=200, max_routes=5)
    collector = collect(kernel, idle_seconds=3)
    look = collector.tick()
    for _ in range(20):
        for route in range(2, 7):
            kernel.request(kernel.key(route=route, port=80))
        kernel.request(kernel.key(route=99, port=80))
        kernel.request(kernel.key(route=99, port=81))
        [look] = looks(kernel, collector, 1)
    pairs = sorted(zip(look.keys["port"].tolist(), look.keys["route"].tolist(), strict=True))
    assert pairs == [(0, 0), (0, 0), (80, 0), *((80, r) for r in range(2, 7)), (81, 99)]


def test_peers_are_counted_apart_from_routes() -> None:
    """What is left of each workload is the number of routes and of peers that its series have."""
    seen = np.zeros(6, ABI.wl_seen)
    seen["wl"]["cgroup"] = [1, 1, 1, 1, 2, 2]
    seen["what"] = [0, 0, 1, 1, 0, 1]
    seen["lo"] = [10, 11, 7, 8, 10, 7]
    keys = np.zeros(2, KEY)
    keys["cgroup"] = 1
    keys["route"] = [10, 12]
    keys["peer"][:, 8] = 7
    calls = []

    class Kernel(FakeKernel):
        def admitted(self) -> np.ndarray:
            return seen

        def withdraw(self, gone: np.ndarray, owners: np.ndarray, left: np.ndarray, /) -> None:
            calls.append((gone, owners, left))

    kernel = Kernel()
    assert withdraw_unused(kernel, keys) == 4
    [(gone, owners, left)] = calls
    assert sorted(gone[["what", "lo"]].tolist()) == [(0, 10), (0, 11), (1, 7), (1, 8)]
    assert owners["cgroup"].tolist() == [1, 2]
    assert left.tolist() == [(1, 1), (0, 0)]


def test_nothing_is_withdrawn_that_is_in_use() -> None:
    """While every admitted route has a series, the kernel is left alone."""
    kernel = FakeKernel()
    keys = np.zeros(3, KEY)
    for i in range(3):
        keys[i] = kernel.key(route=5 + i, port=80)
        kernel.admit(keys[i])
    assert withdraw_unused(kernel, keys) == 0
    assert withdraw_unused(kernel, keys[:2]) == 1
    assert withdraw_unused(kernel, keys[:0]) == 2
    assert kernel.admitted().tolist() == []
