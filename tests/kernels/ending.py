"""Ends the guests with this process: by Ctrl-C, SIGTERM or SIGHUP."""

import signal
import threading
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_over = threading.Event()


class EndedError(Exception):
    """This process has been told to end."""


def on_signals() -> None:
    """From now on the first of these signals that is not ignored ends what runs, and this process."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def check() -> None:
    """Raises `EndedError` in every thread that asks if there was a signal."""
    if _over.is_set():
        raise EndedError


def _end(number: int, _: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # what is being ended is not to be interrupted
    _over.set()
    raise SystemExit(128 + number)
