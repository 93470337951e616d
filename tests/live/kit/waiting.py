"""Waiting for what happens elsewhere."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable


def until(true: Callable[[], bool], what: str, seconds: float = 40) -> None:
    """Wait until something is so, or fail."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def readable(fds: Iterable[int], seconds: float | None) -> set[int]:
    """Wait until there is something to read, and return where; select(2) takes no descriptor above 1,023."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000)}
