"""Open the shop, look at it with Axon, close it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from demo.process import stop
from demo.shop import open_shop

AXON = str(Path(sys.executable).with_name("axon"))


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


def watch(seconds: float) -> int:
    """Run the shop and `axon run` until `q` on a terminal, for `seconds` without one.

    Returns the exit status: 0 when the agent ran and ended as it was asked to.
    """
    signal.signal(signal.SIGTERM, _terminated)  # so that what was started is stopped
    with open_shop() as url:
        print(f"demo: a sample shop is open at {url}", flush=True)
        try:
            if sys.stdin.isatty() and sys.stdout.isatty():
                return _watch_on_terminal()
            return _watch_for(seconds)
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        finally:
            print("demo: closing the shop", flush=True)


def _agent_is_running() -> bool:
    status = subprocess.run([AXON, "status"], capture_output=True, check=False)
    return status.returncode == 0


def _watch_on_terminal() -> int:
    """Hand the terminal to the live table: of an agent of its own, or of the one that runs already."""
    command = [AXON, "top"] if _agent_is_running() else [AXON, "run"]
    before = signal.signal(signal.SIGINT, lambda *_: None)  # the table answers Ctrl-C itself
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def _watch_for(seconds: float) -> int:
    """Watch for `seconds`, then print the table once."""
    print(f"demo: no terminal, so the table is printed once after {seconds:.0f} s", flush=True)
    if _agent_is_running():
        time.sleep(seconds)
        return print_table()
    agent = start_agent()
    try:
        try:
            return agent.wait(seconds) or 1  # it was not to end by itself
        except subprocess.TimeoutExpired:
            printed = print_table()
    finally:
        ended = stop(agent, patience_s=15)
    return printed or ended


def start_agent() -> subprocess.Popen[bytes]:
    """Start `axon run` without a terminal, out of reach of this one's Ctrl-C."""
    return subprocess.Popen([AXON, "run"], stdin=subprocess.DEVNULL, start_new_session=True)


def print_table() -> int:
    """Print what `axon top` shows, once; returns its exit status."""
    return subprocess.run([AXON, "top", "--once"], check=False).returncode
