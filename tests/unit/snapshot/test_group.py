"""Grouping of rows by labels."""

from __future__ import annotations

import numpy as np

from axon.snapshot import Grouping
from tests.unit.snapshot.conftest import Make
from tests.unit.snapshot.fake import SECOND, FakeKernel


def test_each_series_is_asked_for_once(collect: Make) -> None:
    """Labels are asked for when a series appears, and never again."""
    kernel = FakeKernel(max_series=2000)
    collector = collect(kernel)
    asked: list[int] = []

    def label(key: np.void, pid: int) -> tuple[int, int]:
        asked.append(int(key["route"]))
        return int(key["route"]) // 10, pid

    grouping = Grouping(label)
    for step in range(3):
        for route in range(step * 20, step * 20 + 20):
            kernel.request(kernel.key(route=100 + route))
        kernel.now += SECOND
        look = collector.tick()
        groups = grouping.of(look)
        again = grouping.of(look)
        assert again is groups
        labels = [grouping.labels[g] for g in groups]
        assert labels == [
            (int(route) // 10, int(pid))
            for route, pid in zip(look.keys["route"], look.pids, strict=True)
        ]
    assert sorted(asked[2:]) == list(range(100, 160))


def test_stale_labels_are_asked_for_again(collect: Make) -> None:
    """After a name has changed, only the groups that had the old one are asked for."""
    kernel = FakeKernel()
    collector = collect(kernel)
    names = {7: "seven", 8: "eight"}
    asked: list[int] = []

    def label(key: np.void, pid: int) -> str:
        asked.append(int(key["route"]))
        return names.get(int(key["route"]), "other")

    grouping = Grouping(label)
    kernel.request(kernel.key(route=7))
    kernel.request(kernel.key(route=8))
    kernel.now += SECOND
    look = collector.tick()
    grouping.of(look)
    names[7] = "VII"
    asked.clear()
    grouping.forget(lambda name: name == "seven")
    assert [grouping.labels[g] for g in grouping.of(look)] == ["other", "other", "VII", "eight"]
    assert asked == [7]


def test_groups_without_rows_do_not_pile_up(collect: Make) -> None:
    """Series come and go for hours without the list of labels growing without bound."""
    kernel = FakeKernel(max_series=200)
    collector = collect(kernel, idle_seconds=1)
    grouping = Grouping(lambda key, _: int(key["route"]))
    for step in range(60):
        for i in range(30):
            kernel.request(kernel.key(route=1000 * step + i))
        kernel.now += 2 * SECOND
        look = collector.tick()
        groups = grouping.of(look)
        assert [grouping.labels[g] for g in groups] == look.keys["route"].tolist()
    assert len(grouping.labels) < 600
    assert kernel.other == 0
