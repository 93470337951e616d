"""Runs in a guest whose kernel charges maps to RLIMIT_MEMLOCK (before 5.11)."""

import subprocess
import sys

LIMIT = 64 << 10


def exchange(*before: str) -> subprocess.CompletedProcess[str]:
    """Runs the exchange under a limit."""
    return subprocess.run(
        [*before, sys.executable, "-m", "tests.kernels.exchange"],
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_soft_limit_is_raised() -> None:
    """A low soft limit is no obstacle where the hard one is high."""
    said = exchange("prlimit", f"--memlock={LIMIT}:unlimited")
    assert said.returncode == 0, said.stdout + said.stderr


def test_a_hard_limit_is_explained() -> None:
    """Where the limit cannot be raised Axon says in plain words what to set."""
    said = exchange(
        "prlimit", f"--memlock={LIMIT}:{LIMIT}", "setpriv", "--bounding-set=-sys_resource"
    )
    assert said.returncode == 2
    assert "LimitMEMLOCK" in said.stderr
    assert "Traceback" not in said.stderr
