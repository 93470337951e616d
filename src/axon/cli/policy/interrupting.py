"""What ends a verb that writes policies: like Ctrl-C each leaves the directory as it was, once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@contextmanager
def as_by_ctrl_c() -> Iterator[None]:
    """Have the first signal that ends a process raise KeyboardInterrupt here, and ignore the others."""
    with _handled(_interrupt):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Have no such signal interrupt what is done here."""
    with _handled(signal.SIG_IGN):
        yield


@contextmanager
def _handled(handler: _Handler) -> Iterator[None]:
    """Handle what is not ignored already, as by nohup. Threads cannot: signals are the first one's."""
    mine = threading.current_thread() is threading.main_thread()
    before = {one: signal.getsignal(one) for one in _ENDING if mine}
    try:
        for one in (one for one in before if before[one] is not signal.SIG_IGN):
            signal.signal(one, handler)
        yield
    finally:
        for one, former in before.items():
            signal.signal(one, former)


def _interrupt(_: int, __: FrameType | None) -> None:
    for one in _ENDING:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt
