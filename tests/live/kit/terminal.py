"""A terminal with a command on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence

from tests.live.kit.waiting import readable

_COLOURS = re.compile(rb"\x1b\[[\d;]*m")  # ECMA-48 section 8.3.117, SGR


class Terminal:
    """A terminal with a command on it, of 24 lines."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], columns: int = 80
    ) -> None:
        self._pid, self._fd = pty.fork()
        if not self._pid:
            os.execve(command[0], list(command), environment)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.shown = b""
        self._ended = False

    def shows(self, text: bytes) -> bool:
        """Read what there is, and say whether a text has been shown, in whatever colours."""
        while readable([self._fd], 0.05):
            try:
                piece = os.read(self._fd, 65536)
            except OSError:  # EIO: the other side is gone
                break
            if not piece:
                break
            self.shown += piece
        return text in _COLOURS.sub(b"", self.shown)

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._fd, key)

    def kill(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self._pid, number)

    def close(self) -> None:
        """End the command if it has not ended."""
        if not self._ended:
            self.kill(signal.SIGTERM)
            self.status()

    def status(self) -> int:
        """Wait for the command's end and return its exit status."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            self.shows(b"")
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._ended = True
                self.shows(b"")  # what it wrote at its end
                os.close(self._fd)
                return os.waitstatus_to_exitcode(status)
        self.kill(signal.SIGKILL)
        raise AssertionError("did not end")
