"""What the agent's process does without, so that it stays small."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_OPENSSL = ("ssl", "_hashlib")


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import what the agent needs within this, and nothing before.

    OpenSSL takes 5 to 7 MB, and the agent speaks no TLS: asyncio, aiohttp and hashlib know how to do
    without where Python was built without it, which this tells them. numpy's linear algebra starts
    a thread for each core as soon as it is imported, and the agent uses none of it.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    modules: dict[str, Any] = sys.modules
    absent = [name for name in _OPENSSL if name not in modules]
    modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del modules[name]
