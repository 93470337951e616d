"""How large the maps become, from the settings: series, shards, and the bound on memory."""

from __future__ import annotations

import os
from bisect import bisect_right
from typing import Any

import numpy as np

from axon.errors import KernelError
from axon.kernel import bpf, memory
from axon.kernel.features import Needs
from axon.kernel.object import BpfObject
from axon.kernel.plane import Footprint
from axon.settings import Settings

_MOST_SHARDS = 64
_LEAST_SERIES = 64
PEERS = {"none": 0, "private": 1, "all": 2}

RING = "ax_flows"
ARENA = "ax_pol_arena"
_RING_OF_A_CPU = 128 << 10  # the rate bound is a CPU's: so much lasts two seconds by default
_LEAST_RING, _MOST_RING = 256 << 10, 1 << 20  # beyond, the reader comes more often

SERIES_MAPS = ("ax_series", "ax_slots", "ax_free")
COUNT_MAPS = ("ax_cells", *SERIES_MAPS)


def configure(obj: BpfObject, settings: Settings, needs: Needs) -> tuple[Any, Footprint]:
    """Set the sizes of the object's maps and its ax_config.

    Return the configuration, shape () of ax_config, and what the data plane may take. Raise
    KernelError when the counters do not fit into `settings.max_memory`.
    """
    shards = 1 << (min(os.cpu_count() or 1, bpf.possible_cpus(), _MOST_SHARDS) - 1).bit_length()
    if ARENA in obj.maps:
        obj.set_entries(ARENA, int(settings.policy_memory) // 8)
    while (footprint := _sized(obj, settings.max_series, shards)).counting > settings.max_memory:
        if shards == 1:
            raise KernelError(_too_large(obj, settings, footprint))
        shards //= 2
    config = obj.constants()["ax_config"]
    config["max_series"] = settings.max_series
    config["shard_mask"] = shards - 1
    config["max_routes"] = settings.max_routes
    config["max_peers"] = settings.max_peers
    config["server"] = "server" in settings.roles
    config["client"] = "client" in settings.roles
    config["peers"] = PEERS[settings.peers]
    config["kernel_has"] = needs.bits(obj.abi)
    return np.array(config), footprint


def _sized(obj: BpfObject, series: int, shards: int) -> Footprint:
    """Set the sizes of the maps of counts; return what the object's maps take then."""
    for name in SERIES_MAPS:
        obj.set_entries(name, series)
    obj.set_entries("ax_cells", series * shards)
    cpus = bpf.possible_cpus()
    ring = 1 << (cpus * _RING_OF_A_CPU - 1).bit_length()
    obj.set_entries(RING, min(max(ring, _LEAST_RING), _MOST_RING))
    maps = {
        m.name: memory.map_bytes(m.kind, m.key_size, m.value_size, m.entries, cpus)
        for m in obj.maps.values()
    }
    storages = {
        m.name: memory.storage_bytes(m.value_size)
        for m in obj.maps.values()
        if m.kind == bpf.MAP_SK_STORAGE
    }
    socket = memory.STORAGE_LIST + sum(storages.values())
    return Footprint(sum(maps.values()), socket, maps, storages)


def _too_large(obj: BpfObject, settings: Settings, footprint: Footprint) -> str:
    below = range(_LEAST_SERIES, settings.max_series)
    fit = bisect_right(below, int(settings.max_memory), key=lambda n: _sized(obj, n, 1).counting)
    hint = f"lower max_series to {below[fit - 1]}, or " if fit else ""
    return (
        f"{settings.max_series} series take {footprint.counting / 2**20:.1f} MiB of the kernel's "
        f"memory, and max_memory is {settings.max_memory / 2**20:.1f} MiB: {hint}raise max_memory."
    )
