"""The contract between kernel and user space, as numpy dtypes and enumerations."""

from __future__ import annotations

from typing import Any

import numpy as np

from axon.errors import KernelError
from axon.kernel.btf import Btf

_STRUCTS = (
    "key", "ref", "cell", "slot", "route", "flow", "filter", "active", "open",
    "ctl", "config", "rt_set", "rt_key", "rt_bits", "wl_key", "wl", "wl_seen",
)  # fmt: skip


class Abi:
    """Layouts of bpf/axon.h by the BTF of the object that is running.

    `abi.key` is the dtype of `struct ax_key`, and so on for each struct that user space reads.
    Byte arrays (addresses, paths, names) are `u1` subarrays: a text's end is told by its length
    field or by a NUL.
    """

    key: np.dtype[Any]
    ref: np.dtype[Any]
    cell: np.dtype[Any]
    slot: np.dtype[Any]
    route: np.dtype[Any]
    flow: np.dtype[Any]
    filter: np.dtype[Any]
    active: np.dtype[Any]
    open: np.dtype[Any]
    ctl: np.dtype[Any]
    config: np.dtype[Any]
    rt_set: np.dtype[Any]
    rt_key: np.dtype[Any]
    rt_bits: np.dtype[Any]
    wl_key: np.dtype[Any]
    wl: np.dtype[Any]
    wl_seen: np.dtype[Any]

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        try:
            for name in _STRUCTS:
                setattr(self, name, btf.struct("ax_" + name))
        except KeyError as e:
            raise KernelError(
                f"The kernel programs do not describe {e.args[0][1]}: they are of another version. "
                "Build or install axon again."
            ) from e

    def enum(self, name: str) -> dict[str, int]:
        """Return the enumerators of `enum name`, spelled as in C: `AX_METHOD_GET`."""
        try:
            return self._btf.enum(name)
        except KeyError as e:
            raise KernelError(
                f"The kernel programs do not describe enum {name}: they are of another version. "
                "Build or install axon again."
            ) from e
