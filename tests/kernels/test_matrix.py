"""The oldest kernel and the newest, as part of every run of the suite; `make kernels` has the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels import fetch, table
from tests.kernels.errors import KernelsError

ROOT = Path(__file__).parents[2]
GROUPS = ("works", "core")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kernel", ["5.10", "newest"])
def test_kernel(kernel: str) -> None:
    """The object loads, attaches and counts exactly on this kernel, in every case of HTTP's framing."""
    chosen = table.read()
    (row,) = chosen.choose([kernel])
    try:
        fetch.make(row, chosen)
    except KernelsError as error:
        pytest.skip(f"the kernel cannot be had, and `make kernels K={kernel}` would fail: {error}")
    groups = [word for group in GROUPS for word in ("--tests", group)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.matrix", "-k", kernel, *groups],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    output = ROOT / "build" / "kernels" / kernel / "plain" / "output"
    said = output.read_text(errors="replace")[-8000:] if output.exists() else ""
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{said}"
