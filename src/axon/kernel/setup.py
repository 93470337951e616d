"""A new data plane's maps before the first program runs."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from axon.kernel import bpf
from axon.kernel.abi import Abi
from axon.kernel.gate import CONTROL, DIRECTORY
from axon.kernel.maps import Map
from axon.kernel.upgrade import Enforced


def counts(abi: Abi, maps: Mapping[str, Map], generation: int) -> None:
    """Offer every slot, make the two series of "other", give all slots the same generation.

    The generation must be above that of any reference that a connection's state may still hold.
    """
    slots = maps["ax_slots"].mapped(0, maps["ax_slots"].entries)
    if generation:
        slots["gen"] = generation
    roles = abi.enum("ax_role").values()
    for role in roles:  # the slot of "other" has its role's number
        slots["key"]["role"][role] = role
        slots["created"][role] = bpf.monotonic_ns()
    free = np.arange(len(roles), len(slots), dtype=np.uint32)
    if maps["ax_free"].info.type == bpf.MAP_STACK:
        free = free[::-1]
    maps["ax_free"].push(free)


def secret(maps: Mapping[str, Map], known: int | None) -> None:
    """Set what keys every hash: drawn now, or known from the maps that are replaced."""
    drawn = int.from_bytes(os.urandom(8), "little")
    maps["ax_ctl"].mapped(0, 1)["secret"][0] = drawn if known is None else known


def switch(maps: Mapping[str, Map], before: Enforced) -> None:
    """Set the mode that was given before, and how often it was off: connections compare that with what they have seen."""
    control = maps[CONTROL].mapped(0, 1)
    control["mode"][0] = before.mode
    if "offs" in (control.dtype.names or ()):
        control["offs"][0] = before.offs or 0


def policies(maps: Mapping[str, Map], before: Enforced) -> None:
    """Draw what keys the tables of policies; go on from what was in force before.

    The generation in use is none, but the next has a number that no connection's state holds.
    """
    control = maps[CONTROL].mapped(0, 1)
    control["secret"][0] = int.from_bytes(os.urandom(8), "little")
    control["header"][0] = before.header
    control["gen"][0] = before.generation
    switch(maps, before)
    half = maps[DIRECTORY].entries // 2 * (before.generation & 1)
    maps[DIRECTORY].mapped(half, 1)["serial"] = before.serial
