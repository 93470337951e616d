"""A host made of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.identity.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host without processes."""
    return Host(tmp_path)
