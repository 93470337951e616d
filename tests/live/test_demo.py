"""`python -m demo` where there is no terminal: from its first line to its last, and nothing of it stays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from axon.kernel.system import cgroup_root

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """Give a cgroup whose processes are all that the demo's agent sees. Its removal fails if one still runs."""
    made = cgroup_root() / f"axon-demo-{os.getpid()}"
    made.mkdir()
    yield made
    made.rmdir()


def test_demo_without_a_terminal(cgroup: Path, tmp_path: Path) -> None:
    """The shop opens, is watched for a while, its table is printed, and the agent and the shop end."""
    pins = Path("/sys/fs/bpf") / cgroup.name
    enter = 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", enter, "sh", str(cgroup), sys.executable, "-m", "demo", "--seconds", "8"],
        cwd=ROOT,
        env=os.environ
        | {
            "AXON_PIN_DIR": str(pins),
            "AXON_RUN_DIR": str(tmp_path / "run"),
            "AXON_CGROUP": str(cgroup),
            "AXON_METRICS_LISTEN": "off",
            "AXON_MAX_SERIES": "2000",
            "TMPDIR": str(tmp_path),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    out = done.stdout
    assert done.returncode == 0, out + done.stderr
    lines = out.splitlines()
    assert lines[0].startswith("demo: a sample shop is open at http://127.0.0.1:")
    assert lines[1] == "demo: no terminal, so the table is printed once after 8 s"
    assert lines[-1] == "demo: closing the shop"
    for service in ("shop-frontend", "shop-catalog"):
        assert service in out, out
    assert "/api/products/{id}" in out
    total = re.search(r"(\d+) incoming requests so far, 0 lost", out)
    assert total, out
    assert int(total[1]) > 100
    assert not pins.exists()
    assert (cgroup / "cgroup.procs").read_text() == ""
    assert not list(tmp_path.glob("axon-demo-*"))
