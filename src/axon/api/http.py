"""aiohttp's server, imported without what only its client needs.

Its client reads all of the system's certificates as soon as it is imported: 2 MB that would stay in
the memory of an agent which asks nobody anything over TLS.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SOURCES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@contextmanager
def _no_certificates() -> Iterator[None]:
    """Have OpenSSL's default places be empty ones for as long as this lasts."""
    before = {name: os.environ.get(name) for name in _SOURCES}
    os.environ.update(dict.fromkeys(_SOURCES, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with _no_certificates():
    from aiohttp import web

__all__ = ["web"]
