"""Open the shop, look at it with Axon, close it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from axon import settings
from axon.api.client import Client
from axon.errors import ApiError
from demo.process import stop
from demo.shop import open_shop

_OFTEN = 0.1
_AXON = str(Path(sys.executable).with_name("axon"))


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


def watch(seconds: float, began: float) -> int:
    """Run the shop and `axon run` until `q` on a terminal, for `seconds` without one.

    `began` is the Unix time of the command: at the end it is said how long the first row took from then on.
    Returns the exit status: 0 when the agent ran and ended as it was asked to.
    """
    # Whatever ends this process, what it started is stopped; a shell may have had SIGINT ignored.
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open_shop() as url:
        print(f"demo: a sample shop is open at {url}", flush=True)
        first = _FirstRow()
        first.start()
        try:
            if sys.stdin.isatty() and sys.stdout.isatty():
                return _watch_on_terminal()
            return _watch_for(seconds)
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        finally:
            if first.seen:
                took = first.seen - began
                print(f"demo: the first request was in the table {took:.1f} s after the command")
            print("demo: closing the shop", flush=True)


class _FirstRow(threading.Thread):
    """Looks for the first row of the table; it ends with that, or with the process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen = 0.0
        """When it was there, in Unix time; 0: not yet."""

    def run(self) -> None:
        client = Client(settings.load().socket)
        while not self.seen:
            time.sleep(_OFTEN)
            with contextlib.suppress(ApiError):
                if client.snapshot().endpoints:
                    self.seen = time.time()


def _answers() -> bool:
    """Whether an agent can be asked for its table."""
    try:
        Client(settings.load().socket).snapshot()
    except ApiError:
        return False
    return True


def _watch_on_terminal() -> int:
    """Hand the terminal to the live table: of an agent of its own, or of the one that runs already."""
    command = [_AXON, "top"] if _answers() else [_AXON, "run"]
    before = signal.signal(signal.SIGINT, lambda *_: None)  # the table answers Ctrl-C itself
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def _watch_for(seconds: float) -> int:
    """Watch for `seconds`, then print the table once."""
    print(f"demo: no terminal, so the table is printed once after {seconds:.0f} s", flush=True)
    if _answers():
        time.sleep(seconds)
        return subprocess.run([_AXON, "top", "--once"], check=False).returncode
    command = [_AXON, "run", "--duration", str(seconds)]
    # A session of its own: Ctrl-C is for this process, which ends the agent and then the shop.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait()
    finally:
        stop(process, patience_s=15)
