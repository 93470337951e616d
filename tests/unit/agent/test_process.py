"""What the agent makes of the process that it is."""

from __future__ import annotations

import resource
import subprocess
import sys

from axon.agent import process


def test_files_are_limited_by_the_hard_limit_alone() -> None:
    """The agent may open as many files as it is allowed to, and not only as many as it was given."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        process.open_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


_STARTED = """
import re, zlib
from pathlib import Path
from axon.cli.lean import lean_imports
with lean_imports():
    from axon.agent import agent, process
    from aiohttp import web

def resident():
    return int(re.search(r"RssFile:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before = resident()
process.unmap_code()
after = resident()
assert zlib.decompress(zlib.compress(b"axon" * 1000)) == b"axon" * 1000
assert web.Response(text="axon").text == "axon"
import sys
print(before, after, "aiohttp.client" in sys.modules, "aiohttp.connector" in sys.modules)
"""


def test_code_that_only_starting_took() -> None:
    """What was mapped of programs' files and is not run any more is let go of; what is run is there again."""
    before, after, *_ = _started()
    assert int(after) < int(before) / 2


def test_no_client() -> None:
    """The agent's process has aiohttp's server, and not its client."""
    assert _started()[2:] == ["False", "False"]


def _started() -> list[str]:
    """Return what a process says that has imported the agent."""
    command = [sys.executable, "-c", _STARTED]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
