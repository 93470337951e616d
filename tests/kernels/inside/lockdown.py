"""Runs in a guest that locks its kernel down, by degrees: a state can be made stricter, and never less."""

import subprocess
import sys
from pathlib import Path

import pytest

STATE = Path("/sys/kernel/security/lockdown")


@pytest.mark.parametrize("state", ["integrity", "confidentiality"])
def test_exchange_is_exact(state: str) -> None:
    """Every request and every byte of a body is counted, on both sides, and nothing is lost."""
    STATE.write_text(state)
    assert f"[{state}]" in STATE.read_text()
    line = [sys.executable, "-m", "tests.kernels.exchange"]
    assert subprocess.run(line, check=False).returncode == 0
