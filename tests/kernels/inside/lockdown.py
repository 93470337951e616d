"""Runs in a guest whose kernel is to be locked down."""

from pathlib import Path

STATE = Path("/sys/kernel/security/lockdown")


def test_kernel_is_locked_down() -> None:
    """What runs beside this proves something."""
    assert "[none]" not in STATE.read_text()
