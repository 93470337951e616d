"""Gives a workload back the places of its routes and peers that no series has any more.

The kernel tells only so many routes and peers of a workload apart, and remembers which it has let
in. Without this a workload that had once had many would be told under `other` for good.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from axon.arrays import among, distinct

_FIELDS = ("cgroup", "comm", "port", "role")
_ROUTE, _PEER = 0, 1


class Admitting(Protocol):
    """The part of the kernel's interface that this needs."""

    abi: Any

    def admitted(self) -> NDArray[Any]:
        """Return which routes and peers were let in, `ax_wl_seen` (n,)."""
        ...

    def withdraw(self, gone: NDArray[Any], owners: NDArray[Any], left: NDArray[Any], /) -> None:
        """Forget some of them, and set how many their workloads have left.

        `owners` is `ax_wl_key` (m,) and `left` `ax_wl` (m,); what has nothing left is forgotten.
        """
        ...


def withdraw_unused(kernel: Admitting, keys: NDArray[Any]) -> int:
    """Withdraw what none of the live series, `ax_key` (n,), has; return how much that was.

    Programs may let something in meanwhile, so that a workload's number is short by it until the
    next time.
    """
    admitted = kernel.admitted()
    used = among(_names(admitted), _names(_of(kernel.abi, keys)))
    if used.all():
        return 0
    gone, stay = admitted[~used], admitted[used]
    owners = distinct(_names(gone["wl"])).view(admitted.dtype["wl"])
    left = np.zeros(len(owners), kernel.abi.wl)
    for name, what in (("routes", _ROUTE), ("peers", _PEER)):
        mine = np.sort(_names(stay["wl"][stay["what"] == what]))
        first, last = (np.searchsorted(mine, _names(owners), side) for side in ("left", "right"))
        left[name] = last - first
    kernel.withdraw(gone, owners, left)
    return len(gone)


def _of(abi: Any, keys: NDArray[Any]) -> NDArray[Any]:
    """Return what the kernel has let in for these series."""
    seen = np.zeros(2 * len(keys), abi.wl_seen)
    for half, what in ((seen[: len(keys)], _ROUTE), (seen[len(keys) :], _PEER)):
        for name in _FIELDS:
            half["wl"][name] = keys[name]
        half["what"] = what
    seen["lo"][: len(keys)] = keys["route"]
    peers = np.ascontiguousarray(keys["peer"]).view(np.uint64)
    seen["hi"][len(keys) :], seen["lo"][len(keys) :] = peers[:, 0], peers[:, 1]
    return seen


def _names(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as plain bytes, which can be compared and sorted."""
    packed = np.ascontiguousarray(rows)
    return packed.view(f"V{packed.dtype.itemsize}")
