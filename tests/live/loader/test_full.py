"""An agent on a full file system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_FULL = """
import subprocess, sys
from pathlib import Path
from axon.errors import BusyError
from axon.kernel.lock import Lock
run = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", run], check=True)
(run / "others").write_bytes(bytes(4096))
lock = Lock(run, run)
try:
    Lock(run, run)
except BusyError as error:
    print(error)
"""


def test_the_lock(tmp_path: Path) -> None:
    """Where there is no space to write the holder's number the lock is held all the same."""
    found = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", _FULL, tmp_path],
        check=True,
        text=True,
        capture_output=True,
    )
    assert f"holds {tmp_path}" in found.stdout
