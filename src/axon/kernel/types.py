"""The types of pinned maps, kept beside them: the kernel gives its own copy to CAP_SYS_ADMIN only.

The BPF file system holds no files, but it holds maps: what describes the maps is in one that no
program uses, packed, under the id by which the kernel knows it.

    <directory of maps>/types_17    the BTF of every map there whose btf_id is 17
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from axon.errors import KernelError
from axon.kernel import bpf
from axon.kernel.btf import Btf
from axon.kernel.maps import Map

PREFIX = "types_"


class Types:
    """What describes the maps that are pinned in a directory, each BTF read once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[int, Btf] = {}

    def of(self, btf_id: int) -> Btf:
        """Return the types under an id; raise KernelError where they may not be read."""
        if btf_id not in self._read:
            self._read[btf_id] = Btf(bytes_of(self._directory, btf_id))
        return self._read[btf_id]


def keep(maps: Iterable[Map], directory: Path, before: Path, ours: bytes) -> None:
    """Pin in a directory what describes the maps there, as far as it is not.

    It is taken from the directory `before`, else it is `ours`: that of the maps made just now.
    """
    for btf_id in sorted({item.info.btf_id for item in maps} - {0}):
        path, known = directory / f"{PREFIX}{btf_id}", before / f"{PREFIX}{btf_id}"
        if path.exists():
            continue
        if known.exists():
            with bpf.obj_get(known) as fd:
                bpf.obj_pin(fd, path)
            continue
        try:
            content = bpf.btf_bytes(btf_id)
        except PermissionError:
            content = ours
        _pin(zlib.compress(content), path)


def bytes_of(directory: Path, btf_id: int) -> bytes:
    """Return the BTF under an id, as it is kept in a directory, else as the kernel has it."""
    path = directory / f"{PREFIX}{btf_id}"
    if path.exists():
        with bpf.obj_get(path) as fd:
            packed = Map(fd).lookup(0)
        if packed is None:
            raise AssertionError("an array has no missing entries")
        return zlib.decompress(packed.tobytes())
    try:
        return bpf.btf_bytes(btf_id)
    except PermissionError as e:
        raise KernelError(
            f"What is pinned in {directory} was left by an Axon that did not describe it, and only "
            "CAP_SYS_ADMIN may ask the kernel. Run `axon run --keep` once as root to describe it, or "
            "`axon detach` to begin anew."
        ) from e


def _pin(packed: bytes, path: Path) -> None:
    size = len(packed)
    with bpf.map_create(bpf.MAP_ARRAY, "ax_types", 4, size, 1) as fd:
        Map(fd, value=np.dtype(f"V{size}")).update(0, np.frombuffer(packed, f"V{size}"))
        bpf.obj_pin(fd, path)
