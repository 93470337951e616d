"""What is left of guests when whoever runs them is told to end: programs in their place are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

_FILES = """#!/bin/sh
echo $$ > "$(dirname "$0")/files.$$"
touch "${1#--socket-path=}"
exec sleep 300
"""
_EMULATOR = """#!/bin/sh
echo $$ > "$(dirname "$0")/emulator.$$"
exec sleep 300
"""
_DRIVER = """
import os, sys
from pathlib import Path
from tests.kernels import accelerator, fetch, guest, matrix, run
from tests.kernels.image import Image
place = Path(sys.argv[1])
image = Image("0", "amd64", place / "k", place / "m", place / "i", Path("/"))
os.geteuid = lambda: 0
guest.VIRTIOFSD = (place / "virtiofsd",)
fetch.make = lambda *_, **__: image
accelerator.choose = lambda _: "tcg"
matrix.OUT = place / "out"
del sys.argv[1]
sys.exit({"run": run.main, "matrix": matrix.main}[sys.argv.pop(1)]())
"""


def alive(pid: int) -> bool:
    """Return whether there is a process."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "-k", "5.10", "--", "true"],
        ["matrix", "-k", "5.10", "-k", "newest", "--abreast", "1", "--plain"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_guests_end_with_who_runs_them(
    tmp_path: Path, arguments: list[str], number: signal.Signals
) -> None:
    """A signal ends the guests that run, none is begun after it, and nothing of theirs stays."""
    for name, text in (("virtiofsd", _FILES), ("qemu-system-x86_64", _EMULATOR)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "tmp").mkdir()
    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, tmp_path, *arguments],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": f"{tmp_path}/tmp"},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not (begun := list(tmp_path.glob("emulator.*"))):
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        driver.send_signal(number)
        assert driver.wait(20) == 128 + number
    finally:
        driver.kill()
        driver.wait()
    assert list(tmp_path.glob("emulator.*")) == begun
    pids = [int(path.suffix[1:]) for path in (*begun, *tmp_path.glob("files.*"))]
    assert len(pids) == 2
    assert [pid for pid in pids if alive(pid)] == []
    assert list((tmp_path / "tmp").iterdir()) == []
