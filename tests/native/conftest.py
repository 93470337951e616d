"""The machine, compiled and loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.native.machine import Machine
from tests.native.scale import SCALE

pytest.register_assert_rewrite("tests.native.talk")

settings.register_profile(
    "native",
    deadline=None,
    # the suite by itself tries the same examples every time; a longer search draws new ones
    derandomize=SCALE == 1,
    print_blob=True,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
settings.load_profile("native")


@pytest.fixture(scope="session")
def loaded() -> Machine:
    """Give the library; a missing compiler is an error that says so."""
    return Machine()


@pytest.fixture
def machine(loaded: Machine) -> Iterator[Machine]:
    """Give the machine with empty maps; a property resets it for each of its examples."""
    loaded.reset()
    yield loaded
    assert loaded.idle, "a work area was left held or overrun"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow as much more time as more is tried."""
    for item in items:
        if SCALE > 1 and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(300 * SCALE))
