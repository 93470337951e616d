"""JSON files that others write and anybody may have made: read when they have changed, and not waited for."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

_LARGEST = 4 << 20
_LARGEST_OF_USERS = 256 << 10
_REST = 20  # times what a user's files took until more are read: a twentieth of a core
_AHEAD = 1.0  # seconds of that which may be read at once
_MOST = 1024

What = TypeVar("What")
_Stamp = tuple[int, ...]


class JsonFiles:
    """Keeps what was taken of the files that were read last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Path, tuple[_Stamp, Any]] = {}
        self._rests: dict[int, float] = {}

    def take(self, path: Path, what: Callable[[Any], What], user: int | None = None) -> What | None:
        """Return what a file has, which `what` takes of its content; one file, one `what`.

        `user`: the file has to be theirs. None if it is missing, another's, no regular file, too large or
        no JSON, and while there is too much to read of a user's.
        """
        with suppress(OSError, ValueError), ExitStack() as opened:
            place = _open(path, os.O_PATH, opened)
            state = os.fstat(place)
            most = _LARGEST if user is None else _LARGEST_OF_USERS
            mine = stat.S_ISREG(state.st_mode) and user in {None, state.st_uid}
            if not mine or state.st_size > most:
                return None
            stamp = _stamp(state)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                if user is not None and self._rests.get(user, 0) > self._clock() + _AHEAD:
                    return None
                known = stamp, self._read(place, most, what, user)
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[path] = known
            found: What | None = known[1]
            return found
        return None

    def _read(
        self, place: int, most: int, what: Callable[[Any], What], user: int | None
    ) -> What | None:
        began = self._clock()
        try:
            return what(json.loads(_content(place, most)))
        except (ValueError, RecursionError):
            return None
        finally:
            if user is not None:
                now = self._clock()
                self._rests[user] = max(self._rests.get(user, 0), now) + _REST * (now - began)


def _stamp(state: os.stat_result) -> _Stamp:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _content(place: int, most: int) -> bytes:
    """Read a file by a descriptor that only says where it is; raise OSError."""
    with ExitStack() as opened:
        # its owner may hold a lease, which whoever opens it waits for otherwise
        file = _open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK, opened)
        content = b""
        while piece := os.read(file, most + 1 - len(content)):
            content += piece
    if len(content) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def _open(path: Path | str, flags: int, opened: ExitStack) -> int:
    file = os.open(path, flags | os.O_CLOEXEC)
    opened.callback(os.close, file)
    return file
