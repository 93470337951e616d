"""The hooks' links: made, or given new programs, all of them or none."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from axon.errors import KernelError
from axon.kernel import bpf
from axon.kernel.pins import Pins, entries
from axon.kernel.system import explain


def switch(
    programs: Mapping[str, tuple[bpf.Fd, int]], cgroup: Path, pins: Pins, undo: ExitStack
) -> dict[str, bpf.Fd]:
    """Have each hook run our program, by its pinned link or a new one, and return the links.

    `programs` maps a hook's name to its program and attach type. What is done can be undone by
    `undo`, except the last step: links of hooks that there are no programs for are removed. A link
    whose former program is not to be had keeps the new one.
    """
    directory = pins.links
    links = {}
    with _open(cgroup) as target:
        for name, (program, attach_type) in programs.items():
            path = directory / name
            try:
                link = _updated(path, program, cgroup, pins, undo)
                links[name] = link or _made(path, program, target, attach_type, undo)
            except OSError as e:
                raise _explain(e, name, cgroup) from e
    for path in entries(directory):
        if path.name not in programs:
            _drop(path)
    return links


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
    """Attach to the cgroup and pin the link, in the place of one to another cgroup."""
    link = bpf.link_create(program, target.fileno(), attach_type)
    undo.callback(link.close)
    if path.exists():
        _drop(path)
    bpf.obj_pin(link, path)
    undo.callback(_drop, path)
    return link


def _drop(path: Path) -> None:
    with bpf.obj_get(path) as link:
        bpf.link_detach(link)
    path.unlink()


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
