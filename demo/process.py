"""What every process of the sample shop does first, and how its parent starts and stops it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from demo.ports import HOST, Ports

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def become(name: str, parent: int) -> None:
    """Take `name` (at most 15 bytes) as this process's command and end with its parent, pid `parent`."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(0)


def _unprivileged() -> dict[str, int]:
    """The ids of the user who called sudo: the shop needs no privilege."""
    if os.getuid() == 0 and (uid := os.environ.get("SUDO_UID")):
        return {"user": int(uid), "group": int(os.environ.get("SUDO_GID", uid))}
    return {}


@contextlib.contextmanager
def child(part: str, ports: Ports, scratch: Path, *extra: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one part of the shop beside the body of the `with`; it is ended by its pid afterwards."""
    command: Sequence[str] = (
        *(sys.executable, "-m", "demo", part),
        *(
            "--ports",
            ",".join(map(str, ports)),
            "--parent",
            str(os.getpid()),
            "--scratch",
            str(scratch),
        ),
        *extra,
    )
    ids = _unprivileged()
    if ids:
        os.chown(scratch, ids["user"], ids["group"])
    with (scratch / f"{part}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C on the terminal is the parent's business
            user=ids.get("user"),
            group=ids.get("group"),
            extra_groups=[] if ids else None,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], patience_s: float = 5.0) -> int:
    """Ask a process to end, insist after `patience_s` seconds, and return its exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def wait_until_listening(
    port: int, process: subprocess.Popen[bytes], limit_s: float = 15.0
) -> None:
    """Return as soon as something listens on `port`; raises RuntimeError if the process ends first."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port} after {limit_s:.0f} s")
