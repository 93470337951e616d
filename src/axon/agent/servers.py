"""Who serves on this host: whoever was asked something, and whoever listens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from axon.agent.flows import command
from axon.export.series import Series
from axon.kernel import Abi
from axon.snapshot import Snapshot

_END = np.dtype([("cgroup", "u8"), ("comm", "V16"), ("port", "u2")])


class Server(NamedTuple):
    """Who serves, as the kernel knows it, and what it is called."""

    cgroup: int
    command: str
    port: int
    service: str


def asked(
    abi: Abi, snapshot: Snapshot, rows: NDArray[np.intp], series: Sequence[Series]
) -> Iterator[Server]:
    """Yield the servers of a snapshot. Row i of it is `series[rows[i]]`."""
    keys = snapshot.keys
    chosen = np.flatnonzero(
        (keys["role"] == abi.enum("ax_role")["AX_ROLE_SERVER"]) & (keys["cgroup"] > 0)
    )
    ends = np.zeros(len(chosen), _END)
    ends["cgroup"] = keys["cgroup"][chosen]
    ends["comm"] = np.ascontiguousarray(keys["comm"][chosen]).view("V16")[:, 0]
    ends["port"] = keys["port"][chosen]
    first = {raw: i for i, raw in enumerate(ends.view(f"V{_END.itemsize}").tolist())}
    for i in first.values():
        end = ends[i]
        name = series[rows[chosen[i]]].service
        yield Server(int(end["cgroup"]), command(end["comm"].tobytes()), int(end["port"]), name)
