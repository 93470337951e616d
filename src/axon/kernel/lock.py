"""One agent for each run directory and each pin directory, kept by locks that die with the process."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from contextlib import ExitStack, suppress
from pathlib import Path

from axon.errors import BusyError
from axon.kernel.bpf import Fd
from axon.kernel.system import explain

LOCK_FILE = "axon.lock"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Lock:
    """Holds `run_dir`/axon.lock, which carries the holder's process id, and the pin directory."""

    def __init__(self, run_dir: Path, pin_dir: Path) -> None:
        """Take both; raise BusyError if another process has one of them."""
        path = run_dir / LOCK_FILE
        with ExitStack() as undo:
            try:
                run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                self._file = undo.enter_context(Fd(os.open(path, flags, 0o600)))
                os.fchmod(self._file.fileno(), 0o600)  # who may read a file may lock it
            except OSError as e:
                raise explain(e, f"create the lock {path}") from e
            _take(self._file, run_dir)
            try:
                os.ftruncate(self._file.fileno(), 0)
                os.pwrite(self._file.fileno(), f"{os.getpid()}\n".encode(), 0)
            except OSError as e:
                if e.errno not in _FULL:  # it is only there to be read by people
                    raise explain(e, f"write the lock {path}") from e
            self._directory = undo.enter_context(lock_pins(pin_dir))
            undo.pop_all()

    def release(self) -> None:
        """Let others have them."""
        self._directory.close()
        self._file.close()


def lock_pins(pin_dir: Path) -> Fd:
    """Return a descriptor that holds the pin directory, or raise BusyError."""
    try:
        directory = Fd(os.open(pin_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as e:
        raise explain(e, f"open the pin directory {pin_dir}") from e
    _take(directory, pin_dir)
    return directory


def _take(fd: Fd, place: Path) -> None:
    try:
        fcntl.flock(fd.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        pid = _holder(fd)
        who = f" (process {pid})" if pid else ""
        raise BusyError(
            f"Another agent{who} holds {place}. End it first (`systemctl stop axon`, or its "
            "Ctrl-C), or give this one a pin_dir and a run_dir of its own."
        ) from e


def _holder(fd: Fd) -> int | None:
    """Return the process that has the lock, as /proc/locks names it; None where it is hidden."""
    inode = os.fstat(fd.fileno()).st_ino
    with suppress(OSError):
        locks = Path("/proc/locks").read_text()
        found = re.search(rf"FLOCK\s+\S+\s+WRITE\s+(\d+)\s+\S+:{inode}\s", locks)
        return int(found[1]) if found else None
    return None
