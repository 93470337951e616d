"""Start the shop, look at it with Axon, stop everything."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from demo import edge
from demo.ports import HOST, free_ports
from demo.process import child, stop, wait_until_listening
from demo.services import SERVICES

_AXON = str(Path(sys.executable).with_name("axon"))


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


def watch(seconds: float) -> int:
    """Run the shop and `axon run` until `q` on a terminal, for `seconds` without one.

    Returns the exit status: 0 when the agent ran and ended as it was asked to.
    """
    signal.signal(signal.SIGTERM, _terminated)  # so that what was started is stopped
    with contextlib.ExitStack() as shop:
        scratch = Path(shop.enter_context(tempfile.TemporaryDirectory(prefix="axon-demo-")))
        scratch.chmod(0o755)
        ports = free_ports()
        parts = [*SERVICES, "edge"] if edge.find_nginx() else [*SERVICES]
        for part in parts:
            process = shop.enter_context(child(part, ports, scratch))
            wait_until_listening(getattr(ports, part), process)
        entrance = ports.edge if "edge" in parts else ports.frontend
        print(
            f"demo: a sample shop of {len(parts)} services is open at http://{HOST}:{entrance}/",
            flush=True,
        )
        shop.enter_context(child("visitors", ports, scratch, "--entrance", str(entrance)))
        try:
            if sys.stdin.isatty() and sys.stdout.isatty():
                return _watch_on_terminal()
            return _watch_for(seconds)
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        finally:
            print("demo: closing the shop", flush=True)


def _agent_is_running() -> bool:
    status = subprocess.run([_AXON, "status"], capture_output=True, check=False)
    return status.returncode == 0


def _watch_on_terminal() -> int:
    """Hand the terminal to the live table: of an agent of its own, or of the one that runs already."""
    command = [_AXON, "top"] if _agent_is_running() else [_AXON, "run"]
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
        return _print_table()
    agent = subprocess.Popen([_AXON, "run"], stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        try:
            return agent.wait(seconds) or 1  # it was not to end by itself
        except subprocess.TimeoutExpired:
            printed = _print_table()
    finally:
        ended = stop(agent, patience_s=15)
    return printed or ended


def _print_table() -> int:
    return subprocess.run([_AXON, "top", "--once"], check=False).returncode
