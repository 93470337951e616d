"""The pin directory: what outlives an agent, and how one set of maps takes another's place.

    <pin_dir>/links/ax_ingress ...     each hook's link
    <pin_dir>/links/ax_ingress_next    only while hooks move to another cgroup: the link there
    <pin_dir>/programs/ax_ingress ...  the program that it runs
    <pin_dir>/maps/ax_cells ...        the maps that the programs use, and what describes them
    <pin_dir>/coming/                  only while links are given new programs: those
    <pin_dir>/next/                    only while an upgrade is under way: the maps to come
    <pin_dir>/old/                     only until the counts of the maps before were carried over

The BPF file system renames atomically and takes no dots in names. Whatever is needed later is pinned,
for to open an object by its id takes CAP_SYS_ADMIN.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from axon.errors import KernelError
from axon.kernel import bpf
from axon.kernel.gate import GATE, hand_over, take_off
from axon.kernel.maps import Map
from axon.kernel.system import BPFFS, bpffs_of, explain, mount_bpffs, mounts
from axon.kernel.tc import points_of
from axon.kernel.types import PREFIX, Types

_MAPS, _LINKS, _NEXT, _OLD = "maps", "links", "next", "old"
_PROGRAMS, _COMING = "programs", "coming"

COMING = "_next"
"""What ends the name of a link that is to take another's place."""


class Pins:
    """The pin directory of one data plane."""

    def __init__(self, pin_dir: Path) -> None:
        self.dir = pin_dir
        self.maps = pin_dir / _MAPS
        self.links = pin_dir / _LINKS
        self.programs = pin_dir / _PROGRAMS
        self.coming = pin_dir / _COMING
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
        for path in (self.links, self.programs, self.dir):
            with suppress(OSError):
                path.rmdir()

    def recover(self) -> None:
        """Finish or undo an upgrade that was cut short between pinning and renaming."""
        for path in entries(self.links):
            if path.name.endswith(COMING):
                drop_link(path)
        if self.next.is_dir():
            if self._fresh() & self._used():
                self.advance()
            else:
                remove(self.next)
        if self.coming.is_dir():
            self._sort_programs()

    def program_of(self, link: bpf.Fd, name: str) -> bpf.Fd | None:
        """Return the program that a hook's link runs; None if it is not pinned and may not be found.

        It is not if the Axon that made the link pinned none.
        """
        number = bpf.link_info(link).prog_id
        for path in (self.programs / name, self.coming / name):
            if path.exists():
                program = bpf.obj_get(path)
                if bpf.prog_info(program).id == number:
                    return program
        try:
            return bpf.prog_by_id(number)
        except PermissionError:
            return None

    def pin_coming(self, programs: Mapping[str, bpf.Fd]) -> None:
        """Pin the programs that links are to be given; raise KernelError if that fails."""
        pin(programs, self.coming)

    def settle_programs(self) -> None:
        """Let the programs in `coming`, which the links run by now, be those in `programs`."""
        remove(self.programs)
        self.coming.rename(self.programs)

    def _fresh(self) -> set[int]:
        """Return the ids of the maps in `next` that are not in `maps` as well."""
        ids = [
            {Map(bpf.obj_get(path)).info.id for path in entries(directory) if _is_map(path)}
            for directory in (self.next, self.maps)
        ]
        return ids[0] - ids[1]

    def _used(self) -> set[int]:
        """Return the ids of the maps that the attached programs use."""
        used: set[int] = set()
        for path in entries(self.links):
            with bpf.obj_get(path) as link:
                program = self.program_of(link, path.name)
                if program is None:
                    raise KernelError(
                        f"An upgrade of what is pinned in {self.dir} was cut short, and only "
                        "CAP_SYS_ADMIN may see how far it had come. Run `axon run --keep` once as "
                        "root, or `axon detach` to begin anew."
                    )
                used |= bpf.prog_map_ids(program)
        return used

    def _sort_programs(self) -> None:
        """Keep in `programs` what each link runs; a part of them may have been given new ones."""
        self.programs.mkdir(mode=0o700, exist_ok=True)
        self._sort_gate()
        for path in entries(self.coming):
            if not (self.links / path.name).exists():
                continue
            with bpf.obj_get(self.links / path.name) as link, bpf.obj_get(path) as program:
                if bpf.link_info(link).prog_id == bpf.prog_info(program).id:
                    path.rename(self.programs / path.name)
        remove(self.coming)

    def _sort_gate(self) -> None:
        """Have one program judge everywhere: the coming one, if it does anywhere already."""
        coming, pinned = self.coming / GATE, self.programs / GATE
        if not coming.exists():
            return
        with bpf.obj_get(coming) as program:
            if not points_of(bpf.prog_info(program).id):
                return
            if pinned.exists():
                with bpf.obj_get(pinned) as before, ExitStack() as undo:
                    hand_over(before, program, undo)
                    undo.pop_all()
        coming.rename(pinned)

    def judge_by(self, program: bpf.Fd, undo: ExitStack) -> None:
        """Have a program judge wherever the pinned one does; `undo` gives every place back."""
        pinned = self.programs / GATE
        if pinned.exists():
            before = bpf.obj_get(pinned)
            hand_over(before, program, undo)

    def advance(self) -> None:
        """Let the maps in `next` take the place of those in `maps`, which become `old`."""
        if self.maps.is_dir():
            self.maps.rename(self.old)
        self.next.rename(self.maps)

    def take_off_gate(self) -> None:
        """Take the gate off every interface that runs the pinned one."""
        for path in (self.programs / GATE, self.coming / GATE):
            if path.exists():
                with bpf.obj_get(path) as program:
                    take_off(bpf.prog_info(program).id)

    def remove_all(self) -> list[str]:
        """Detach every link, unpin everything and return what was removed, by its path."""
        removed = []
        for path in entries(self.links):
            with suppress(OSError), bpf.obj_get(path) as link:
                bpf.link_detach(link)
        for directory in (
            self.links,
            self.programs,
            self.coming,
            self.next,
            self.old,
            self.maps,
            self.dir,
        ):
            removed += remove(directory)
        return removed


def entries(directory: Path) -> list[Path]:
    """Return what lies in a directory, by name; nothing if there is none."""
    return sorted(directory.iterdir()) if directory.is_dir() else []


def pinned_gates() -> dict[int, set[Path]]:
    """Return the pin directories of each program that judges, by its id: a mount may be bound twice."""
    found: defaultdict[int, set[Path]] = defaultdict(set)
    for mount in mounts():
        if mount.kind != "bpf":
            continue
        for directory, _, names in os.walk(mount.point):
            place = Path(directory)
            if GATE in names and place.name in {_PROGRAMS, _COMING}:
                with suppress(OSError), bpf.obj_get(place / GATE) as program:
                    found[bpf.prog_info(program).id].add(place.parent)
    return found


def open_maps(directory: Path) -> dict[str, Map]:
    """Open every map pinned in a directory, with its dtypes as they are described there.

    Raise KernelError where they are not and may not be asked for.
    """
    types = Types(directory)
    found = {}
    for path in entries(directory):
        if _is_map(path):
            found[path.name] = _described(bpf.obj_get(path), types)
    return found


def open_map(directory: Path, name: str) -> Map | None:
    """Open one of them; None if there is none of that name."""
    try:
        fd = bpf.obj_get(directory / name)
    except FileNotFoundError:
        return None
    return _described(fd, Types(directory))


def pin(objects: Mapping[str, bpf.Fd], directory: Path) -> None:
    """Pin objects by their names in a new directory; raise KernelError if that fails, leaving nothing behind."""
    try:
        directory.mkdir(mode=0o700)
        for name, fd in objects.items():
            bpf.obj_pin(fd, directory / name)
    except OSError as e:
        remove(directory)
        raise explain(e, f"pin anything in {directory}") from e


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


def drop_link(path: Path) -> None:
    """Detach a pinned link and unpin it."""
    with bpf.obj_get(path) as link:
        bpf.link_detach(link)
    path.unlink()


def _is_map(path: Path) -> bool:
    return not path.name.startswith(PREFIX)


def _described(fd: bpf.Fd, types: Types) -> Map:
    info = bpf.map_info(fd)
    if not info.btf_id:
        return Map(fd)
    btf = types.of(info.btf_id)
    key, value = info.btf_key_type_id, info.btf_value_type_id
    return Map(fd, btf.dtype(key) if key else None, btf.dtype(value) if value else None, btf)
