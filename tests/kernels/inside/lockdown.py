"""Runs in a guest whose kernel is locked down."""

import subprocess
import sys
from pathlib import Path

STATE = Path("/sys/kernel/security/lockdown")


def test_exchange_is_exact() -> None:
    """Lockdown takes nothing from Axon that it needs for exact counts."""
    assert "[none]" not in STATE.read_text()
    line = [sys.executable, "-m", "tests.kernels.exchange"]
    assert subprocess.run(line, check=False).returncode == 0
