"""How much is asked for where a processor is emulated: less than here, see tests/kernels/kernels.toml."""

from __future__ import annotations

import os
import socket

PATHS = {
    "127.0.0.1": (False, "127.0.0.1", socket.AF_INET),
    "::1": (False, "::1", socket.AF_INET6),
    "cable4": (True, "", socket.AF_INET),
    "cable6": (True, "", socket.AF_INET6),
}
"""The ways to a server behind the gate: whether over the cable, the address, its family."""
WAYS = os.environ.get("AXON_WAYS", "").split() or list(PATHS)
"""Those that are taken."""
FAMILIES = list(dict.fromkeys("6" if PATHS[way][2] == socket.AF_INET6 else "4" for way in WAYS))
"""The families among them, which clients that write their own segments take over the cable."""
_LOAD = float(os.environ.get("AXON_LOAD", "1"))


def share(much: int) -> int:
    """Return how many requests, or bytes, a test of volume sends, of those that it sends here."""
    return int(much * _LOAD)
