"""A collector over a kernel made of arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axon.snapshot import Collector, Snapshot
from tests.unit.snapshot.fake import SECOND, FakeKernel

Make = Callable[..., Collector]


@pytest.fixture
def collect(tmp_path: Path) -> Make:
    """Return what makes collectors, each time as a restarted agent would."""

    def make(kernel: FakeKernel, **settings: Any) -> Collector:
        return Collector(kernel, ledger=tmp_path / "retired.json", clock=kernel.clock, **settings)

    return make


def looks(kernel: FakeKernel, collector: Collector, n: int) -> list[Snapshot]:
    """Look n times, a second apart."""
    seen = []
    for _ in range(n):
        kernel.now += SECOND
        seen.append(collector.tick())
    return seen
