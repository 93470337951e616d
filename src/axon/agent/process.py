"""What this process itself costs, and where it runs."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Return the memory of this process that is resident (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def cpu_seconds() -> float:
    """Return the user and system time that this process has taken."""
    return time.process_time()


def kernel_release() -> str:
    """Return the release of the running kernel."""
    return platform.release()


def host_name() -> str:
    """Return the name of this host."""
    return platform.node()
