"""Who has a row in the kernel's maps, as the keys of those, all for half 0."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.policy.compiler import layout
from axon.policy.parties import blocks, callers, targets
from axon.policy.parties.dynamic import OTHER


def of_targets(rows: Sequence[targets.Entry]) -> NDArray[Any]:
    """Return the keys of ax_pol_target, (n,) of layout.TARGET."""
    keys = np.zeros(len(rows), layout.TARGET)
    keys["cgroup"] = [row.cgroup for row in rows]
    keys["comm"] = _comms(row.command for row in rows)
    keys["port"] = [0 if row.port == OTHER else int(row.port) for row in rows]
    return keys


def of_callers(entries: Sequence[callers.Entry]) -> NDArray[Any]:
    """Return the keys of ax_pol_caller, (n,) of layout.CALLER."""
    keys = np.zeros(len(entries), layout.CALLER)
    keys["cgroup"] = [entry.cgroup for entry in entries]
    keys["comm"] = _comms(entry.command for entry in entries)
    return keys


def of_addresses(entries: Sequence[blocks.Entry]) -> NDArray[Any]:
    """Return the keys of ax_pol_addr, (n,) of layout.ADDR."""
    keys = np.zeros(len(entries), layout.ADDR)
    keys["bits"] = [32 + entry.bits for entry in entries]
    packed = b"".join(entry.address for entry in entries)
    keys["addr"] = np.frombuffer(packed, np.uint8).reshape(-1, 16)
    return keys


def _comms(commands: Iterable[str]) -> NDArray[np.uint8]:
    packed = b"".join(command.encode().ljust(layout.COMM, b"\0") for command in commands)
    return np.frombuffer(packed, np.uint8).reshape(-1, layout.COMM)
