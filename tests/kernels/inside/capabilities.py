"""Runs in a guest: no root, but the capabilities of a hardened service."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = 65534
THREE = ("bpf", "net_admin", "perfmon")
REPOSITORY = Path(__file__).parents[3]
PINS = Path("/sys/fs/bpf/axon-nobody")


@pytest.fixture(autouse=True)
def reachable() -> None:
    """Lets nobody read the source tree; in a guest that changes nothing outside."""
    for directory in REPOSITORY.parents:
        directory.chmod(directory.stat().st_mode | 0o005)
    PINS.mkdir(exist_ok=True)
    os.chown(PINS, NOBODY, NOBODY)


def exchange(*capabilities: str) -> subprocess.CompletedProcess[str]:
    """Runs the exchange as nobody with these capabilities and no others."""
    kept = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    sets = [f"--{name}={kept}" for name in ("bounding-set", "inh-caps", "ambient-caps")]
    who = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    what = [sys.executable, "-m", "tests.kernels.exchange", "--everything", "--pins", str(PINS)]
    return subprocess.run(
        ["prlimit", "--memlock=unlimited", "setpriv", *who, *sets, *what],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )


def test_three_capabilities_are_enough() -> None:
    """CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON do; no other privilege is used."""
    said = exchange(*THREE)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("without", THREE)
def test_each_of_them_is_needed(without: str) -> None:
    """Without one of them Axon does not start, and names it."""
    said = exchange(*(name for name in THREE if name != without))
    assert said.returncode == 2
    assert f"CAP_{without.upper()}" in said.stderr
    assert "Traceback" not in said.stderr
