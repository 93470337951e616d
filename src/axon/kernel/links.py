"""The hooks' links: made, or given new programs, all of them or none."""

from __future__ import annotations

import errno
import os
from collections.abc import Container, Mapping
from contextlib import ExitStack
from pathlib import Path

from axon.errors import KernelError
from axon.kernel import bpf
from axon.kernel.pins import COMING, Pins, drop_link, entries
from axon.kernel.system import explain


def switch(
    programs: Mapping[str, tuple[bpf.Fd, int]], cgroup: Path, pins: Pins, undo: ExitStack
) -> dict[str, bpf.Fd]:
    """Have each hook run our program, by its pinned link or a new one, and return the links.

    `programs` maps a hook's name to its program and attach type. What is done can be undone by
    `undo`, until `settle` makes it last. A link whose former program is not to be had keeps the new
    one.
    """
    links = {}
    with _open(cgroup) as target:
        for name, (program, attach_type) in programs.items():
            try:
                link = _updated(pins.links / name, program, cgroup, pins, undo)
                links[name] = link or _made(
                    pins.links / (name + COMING), program, target, attach_type, undo
                )
            except OSError as e:
                raise _explain(e, name, cgroup) from e
    return links


def settle(pins: Pins, hooks: Container[str]) -> None:
    """Give new links the place of those to another cgroup; remove those of hooks that are no more."""
    for path in entries(pins.links):
        if path.name.endswith(COMING):
            place = path.with_name(path.name.removesuffix(COMING))
            before = bpf.obj_get(place) if place.exists() else None
            path.rename(place)
            if before:
                bpf.link_detach(before)
        elif path.name not in hooks:
            drop_link(path)


def _open(cgroup: Path) -> bpf.Fd:
    try:
        return bpf.Fd(os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as e:
        raise explain(e, f"open the cgroup {cgroup}") from e


def _updated(
    path: Path, program: bpf.Fd, cgroup: Path, pins: Pins, undo: ExitStack
) -> bpf.Fd | None:
    """Give a pinned link a new program; None if there is no link to this cgroup."""
    if not path.exists():
        return None
    link = bpf.obj_get(path)
    info = bpf.link_info(link)
    if info.cgroup_id != cgroup.stat().st_ino:
        return None
    before = pins.program_of(link, path.name)
    bpf.link_update(link, program)
    if before:
        undo.callback(bpf.link_update, link, before)
    return link


def _made(path: Path, program: bpf.Fd, target: bpf.Fd, attach_type: int, undo: ExitStack) -> bpf.Fd:
    """Attach to the cgroup and pin the link, beside one to another cgroup if there is one."""
    link = bpf.link_create(program, target.fileno(), attach_type)
    undo.callback(link.close)
    bpf.obj_pin(link, path)
    undo.callback(drop_link, path)
    return link


def _explain(e: OSError, name: str, cgroup: Path) -> KernelError:
    if e.errno == errno.EPERM:
        return KernelError(
            f"The kernel does not let {name} be attached to {cgroup}: another program sits there "
            "or above it and allows no second one. `bpftool cgroup tree` shows which; end the "
            "software that attached it, or choose another cgroup."
        )
    if e.errno == errno.E2BIG:
        return KernelError(
            f"{cgroup} has as many programs as a cgroup can have. `bpftool cgroup tree` shows "
            "them; end the software that attached them."
        )
    return explain(e, f"attach {name} to {cgroup}")
