"""An agent to ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from axon import settings
from tests.unit.cli.canned import Canned


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canned]:
    """Return an agent that the command line finds by its settings."""
    canned = Canned()
    monkeypatch.setenv(settings.table()["run_dir"].env, str(tmp_path))
    with canned.served(tmp_path / "axon.sock"):
        yield canned
