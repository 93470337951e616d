"""One agent for each run directory and each pin directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from axon.errors import BusyError, KernelError
from axon.kernel.lock import Lock


def directories(tmp_path: Path) -> tuple[Path, Path]:
    """Return a run directory that has still to be made, and a pin directory."""
    (tmp_path / "pins").mkdir()
    return tmp_path / "run", tmp_path / "pins"


def test_holder_is_named(tmp_path: Path) -> None:
    """The second one is refused and told the first one's process id."""
    run, pins = directories(tmp_path)
    lock = Lock(run, pins)
    with pytest.raises(BusyError, match=rf"process {os.getpid()}\) holds {run}"):
        Lock(run, tmp_path)
    with pytest.raises(BusyError, match=rf"process {os.getpid()}\) holds {pins}"):
        Lock(tmp_path / "elsewhere", pins)
    lock.release()


def test_released(tmp_path: Path) -> None:
    """After a release the next one gets it, and the file names the new process."""
    run, pins = directories(tmp_path)
    Lock(run, pins).release()
    lock = Lock(run, pins)
    assert (run / "axon.lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_failed_attempt_keeps_nothing(tmp_path: Path) -> None:
    """A refused agent does not hold what it had already got."""
    run, pins = directories(tmp_path)
    lock = Lock(run, pins)
    with pytest.raises(BusyError):
        Lock(tmp_path / "other", pins)
    lock.release()
    Lock(tmp_path / "other", pins).release()


def test_only_the_owner_can_lock_it(tmp_path: Path) -> None:
    """Nobody else may open the file, also where an earlier agent has made it: who can read, can lock."""
    run, pins = directories(tmp_path)
    run.mkdir()
    (run / "axon.lock").touch(0o644)
    for place, others in ((run, pins), (tmp_path / "new", tmp_path)):
        lock = Lock(place, others)
        assert (place / "axon.lock").stat().st_mode & 0o777 == 0o600
        lock.release()


def test_dies_with_the_process(tmp_path: Path) -> None:
    """A killed agent's lock is free at once."""
    run, pins = directories(tmp_path)
    program = (
        "import os, signal, sys; from pathlib import Path; from axon.kernel.lock import Lock\n"
        "lock = Lock(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(run), str(pins)], check=False)
    Lock(run, pins).release()


def test_unusable_directory(tmp_path: Path) -> None:
    """A run directory that cannot be made is an error for a person."""
    (tmp_path / "file").touch()
    with pytest.raises(KernelError, match=r"Cannot create the lock .*/file/axon.lock"):
        Lock(tmp_path / "file", tmp_path)
