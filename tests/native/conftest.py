"""The machine, compiled and loaded once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.native.machine import Machine

pytest.register_assert_rewrite("tests.native.talk")

settings.register_profile(
    "native",
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
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
