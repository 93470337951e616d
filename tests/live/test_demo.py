"""`python -m demo`, with a terminal and without: from its first line to its last, and nothing of it stays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from axon.kernel.system import cgroup_root
from tests.live.kit.terminal import Terminal
from tests.live.kit.waiting import until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """Give a cgroup whose processes are all that the demo's agent sees. Its removal fails if one still runs."""
    made = cgroup_root() / f"axon-demo-{os.getpid()}"
    made.mkdir()
    yield made
    made.rmdir()


class Demo:
    """How to run it in a cgroup, with directories of its own."""

    def __init__(self, cgroup: Path, scratch: Path) -> None:
        self._cgroup = cgroup
        self._scratch = scratch
        self.pins = Path("/sys/fs/bpf") / cgroup.name
        self.environment = os.environ | {
            "AXON_PIN_DIR": str(self.pins),
            "AXON_RUN_DIR": str(scratch / "run"),
            "AXON_CGROUP": str(cgroup),
            "AXON_METRICS_LISTEN": "off",
            "AXON_MAX_SERIES": "2000",
            "TMPDIR": str(scratch),
            "TERM": "xterm-256color",
        }

    def command(self, *arguments: str) -> list[str]:
        """Return the command."""
        enter = 'cd "$1" && echo $$ >"$2/cgroup.procs" && shift 2 && exec "$@"'
        demo = [sys.executable, "-m", "demo", *arguments]
        return ["/bin/sh", "-c", enter, "sh", str(ROOT), str(self._cgroup), *demo]

    def expect_nothing_left(self) -> None:
        """Fail if anything of it is still there."""
        assert not self.pins.exists()
        assert (self._cgroup / "cgroup.procs").read_text() == ""
        assert not list(self._scratch.glob("axon-demo-*"))


@pytest.fixture
def demo(cgroup: Path, tmp_path: Path) -> Demo:
    """Give one that is not started."""
    return Demo(cgroup, tmp_path)


def expect_first_row(line: str) -> None:
    """Fail unless a line says that the first row was there within a minute."""
    found = re.fullmatch(
        r"demo: the first request was in the table ([\d.]+) s after the command", line
    )
    assert found, line
    assert 0 < float(found[1]) < 60


def test_demo_without_a_terminal(demo: Demo) -> None:
    """The shop opens, is watched for a while, its table is printed, and the agent and the shop end."""
    done = subprocess.run(
        demo.command("--seconds", "8"),
        env=demo.environment,
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
    expect_first_row(lines[-2])
    assert lines[-1] == "demo: closing the shop"
    for service in ("shop-frontend", "shop-catalog"):
        assert service in out, out
    assert "/api/products/{id}" in out
    total = re.search(r"(\d+) incoming requests so far, 0 lost", out)
    assert total, out
    assert int(total[1]) > 100
    demo.expect_nothing_left()


def test_demo_on_a_terminal(demo: Demo) -> None:
    """The live table shows the shop's requests until q; then the agent and the shop end, without a failure."""
    with closing(Terminal(demo.command(), demo.environment, columns=160)) as terminal:
        for text in (b"ROUTE", b"shop-frontend", b"/products/{id}"):
            until(lambda text=text: terminal.shows(text), f"{text!r} is shown")  # type: ignore[misc]
        assert b"demo: closing" not in terminal.shown
        terminal.press(b"q")
        assert terminal.status() == 0, terminal.shown
    lines = terminal.shown.decode().splitlines()
    assert lines[0].startswith("demo: a sample shop is open at http://127.0.0.1:")
    arrived = re.search(r"axon: [\d,]+ requests arrived here, [\d,]+ left from here$", lines[-3])
    assert arrived, lines[-3:]
    expect_first_row(lines[-2])
    assert lines[-1] == "demo: closing the shop"
    demo.expect_nothing_left()


def test_time_is_counted_from_the_command(demo: Demo) -> None:
    """What setting up takes before the demo begins is in the time that it prints."""
    began = time.time() - 1000
    done = subprocess.run(
        demo.command("--seconds", "4", "--began", str(began)),
        env=demo.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    )
    found = re.search(r"in the table (\d+)\.\d s after", done.stdout)
    assert found, done.stdout
    assert 1000 <= int(found[1]) < 1060
