"""What the agent's process does without, so that it stays small."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

_OPENSSL = ("ssl", "_hashlib")
_VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import what the agent needs within this, and nothing before.

    OpenSSL takes 5 to 7 MB, and the agent speaks no TLS: asyncio, aiohttp and hashlib know how to do
    without where Python was built without it, which this tells them. numpy's linear algebra starts
    a thread for each core as soon as it is imported, and the agent uses none of it. aiohttp's client
    takes 2 MB, and the agent is a server.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    modules: dict[str, Any] = sys.modules
    absent = [name for name in _OPENSSL if name not in modules]
    modules.update(dict.fromkeys(absent))
    try:
        _import_server()
        yield
    finally:
        for name in absent:
            del modules[name]


def _import_server() -> None:
    """Import `aiohttp.web` without what the package itself imports beside it; where that is not possible, with it."""
    spec = find_spec("aiohttp")
    if "aiohttp" in sys.modules or spec is None or spec.origin is None:
        return
    before = set(sys.modules)
    try:
        version = _VERSION.search(Path(spec.origin).read_text(encoding="utf-8"))
        package: Any = module_from_spec(spec)  # not executed
        package.__version__ = version[1] if version else ""
        sys.modules["aiohttp"] = package
        package.web = import_module("aiohttp.web")
    except (ImportError, AttributeError, OSError):
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "aiohttp":
                del sys.modules[name]
