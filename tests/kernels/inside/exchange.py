"""Runs in a guest of a configuration: nothing is taken from Axon that it needs for exact counts."""

import subprocess
import sys


def test_exchange_is_exact() -> None:
    """Every request and every byte of a body is counted, on both sides, and nothing is lost."""
    line = [sys.executable, "-m", "tests.kernels.exchange"]
    assert subprocess.run(line, check=False).returncode == 0
