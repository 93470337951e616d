"""The pin directory: what outlives an agent, and how one set of maps takes another's place.

    <pin_dir>/links/ax_ingress ...   each hook's link
    <pin_dir>/maps/ax_cells ...      the maps that the attached programs use
    <pin_dir>/next/                  only while an upgrade is under way: the maps to come
    <pin_dir>/old/                   only until the counts of the maps before have been carried over

The BPF file system renames atomically and takes no dots in names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from axon.errors import KernelError
from axon.kernel import bpf
from axon.kernel.btf import Btf
from axon.kernel.maps import Map
from axon.kernel.system import BPFFS, bpffs_of, explain, mount_bpffs

_MAPS, _LINKS, _NEXT, _OLD = "maps", "links", "next", "old"
CELLS = "ax_cells"


class Pins:
    """The pin directory of one data plane."""

    def __init__(self, pin_dir: Path) -> None:
        self.dir = pin_dir
        self.maps = pin_dir / _MAPS
        self.links = pin_dir / _LINKS
        self.next = pin_dir / _NEXT
        self.old = pin_dir / _OLD

    def prepare(self) -> None:
        """Make the directory, mounting the BPF file system if need be; KernelError if that fails."""
        if bpffs_of(self.dir) is None:
            if not self.dir.is_relative_to(BPFFS) or bpffs_of(BPFFS):
                raise KernelError(
                    f"{self.dir} is not on a BPF file system. Choose a pin_dir below {BPFFS}."
                )
            try:
                mount_bpffs()
            except OSError as e:
                raise explain(e, f"mount the BPF file system (`mount -t bpf bpf {BPFFS}`)") from e
        try:
            for path in (self.dir, self.links):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            raise explain(e, f"create the pin directory {self.dir}") from e

    def tidy(self) -> None:
        """Remove the directories if nothing is pinned in them."""
        for path in (self.links, self.dir):
            with suppress(OSError):
                path.rmdir()

    def recover(self) -> None:
        """Finish or undo an upgrade that was cut short between pinning and renaming."""
        if not self.next.is_dir():
            return
        used: set[int] = set()
        for path in entries(self.links):
            with bpf.obj_get(path) as link, bpf.prog_by_id(bpf.link_info(link).prog_id) as program:
                used |= bpf.prog_map_ids(program)
        coming = self.next / CELLS
        if coming.exists() and Map(bpf.obj_get(coming)).info.id in used:
            self.advance()
        else:
            remove(self.next)

    def advance(self) -> None:
        """Let the maps in `next` take the place of those in `maps`, which become `old`."""
        if self.maps.is_dir():
            self.maps.rename(self.old)
        self.next.rename(self.maps)

    def remove_all(self) -> list[str]:
        """Detach every link, unpin everything and return what was removed, by its path."""
        removed = []
        for path in entries(self.links):
            with suppress(OSError), bpf.obj_get(path) as link:
                bpf.link_detach(link)
        for directory in (self.links, self.next, self.old, self.maps, self.dir):
            removed += remove(directory)
        return removed


def entries(directory: Path) -> list[Path]:
    """Return what lies in a directory, by name; nothing if there is none."""
    return sorted(directory.iterdir()) if directory.is_dir() else []


def open_maps(directory: Path) -> dict[str, Map]:
    """Open every map pinned in a directory, with the dtypes that the kernel knows for it."""
    types: dict[int, Btf] = {}
    found = {}
    for path in entries(directory):
        fd = bpf.obj_get(path)
        found[path.name] = Map(fd, *_dtypes(fd, types))
    return found


def pin_maps(maps: Mapping[str, Map], directory: Path) -> None:
    """Pin maps by their names in a new directory; raise KernelError if that fails, leaving nothing behind."""
    try:
        directory.mkdir(mode=0o700)
        for name, item in maps.items():
            bpf.obj_pin(item.fd, directory / name)
    except OSError as e:
        remove(directory)
        raise explain(e, f"pin the maps in {directory}") from e


def remove(directory: Path) -> list[str]:
    """Remove a directory of pins; return what was removed, by its path."""
    removed = []
    for path in entries(directory):
        path.unlink()
        removed.append(os.fspath(path))
    if directory.is_dir():
        directory.rmdir()
        removed.append(os.fspath(directory))
    return removed


def _dtypes(fd: bpf.Fd, types: dict[int, Btf]) -> tuple[np.dtype[Any] | None, np.dtype[Any] | None]:
    """Return the key's and value's dtypes by the BTF that the kernel keeps; None where it has none."""
    info = bpf.map_info(fd)
    if not info.btf_id:
        return None, None
    if info.btf_id not in types:
        types[info.btf_id] = Btf(bpf.btf_bytes(info.btf_id))
    key, value = info.btf_key_type_id, info.btf_value_type_id
    btf = types[info.btf_id]
    return btf.dtype(key) if key else None, btf.dtype(value) if value else None
