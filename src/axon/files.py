"""Regular files, read whole: none that a person names keeps its reader waiting, or has no end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_LARGEST = 1 << 20


class UnfitError(OSError):
    """A file is no regular one, or too large; `strerror` completes the sentence "FILE ..."."""


def read_regular(path: Path, most: int = _LARGEST) -> bytes:
    """Return what a regular file of up to `most` bytes holds, which is a number of MiB.

    Raise UnfitError if it is another one, OSError or ValueError if it cannot be read.
    """
    # O_NONBLOCK: opening a FIFO must not hang.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnfitError(errno.EINVAL, "is not a regular file")
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise UnfitError(errno.EFBIG, f"is larger than {most >> 20} MiB")
    return content
