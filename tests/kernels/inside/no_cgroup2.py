"""Runs in a guest where only cgroup v1 is mounted."""

import subprocess
import sys

AXON = (sys.executable, "-m", "axon")


def axon(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a verb to its end."""
    return subprocess.run([*AXON, *arguments], check=False, capture_output=True, text=True)


def test_run_refuses_with_the_remedy() -> None:
    """The agent does not start, and says what to mount."""
    said = axon("run")
    assert said.returncode == 1
    assert "cgroup v2" in said.stderr
    assert "mount" in said.stderr
    assert "Traceback" not in said.stderr


def test_doctor_names_what_is_missing() -> None:
    """The doctor says that Axon cannot run here, and why."""
    said = axon("doctor")
    assert said.returncode != 0
    assert "cgroup v2" in said.stdout
    assert "Traceback" not in said.stderr
