"""The filter in front of sockets: a program on one direction of an interface (tc, clsact qdisc).

It stays attached when its process ends, until somebody detaches it or the interface goes.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from axon.kernel import bpf
from axon.kernel.libbpf import TcHook, TcOpts, check, lib, sized
from axon.kernel.netlink import (
    ETH_P_ALL,
    Filter,
    filters,
    has_ethernet,
    interfaces,
    is_clsact,
    put_filter,
)

GONE = frozenset({errno.ENODEV, errno.ENXIO})
"""Error numbers of an interface that has gone."""
HANDLE, PRIORITY = 0xA0, 1
"""Ours among the interface's filters: before those of others, which begin at 49152 unasked."""

_INGRESS, _EGRESS = 1, 2  # enum bpf_tc_attach_point
_PARENTS = {False: 0xFFFF_FFF2, True: 0xFFFF_FFF3}  # of clsact, by whether it is egress
_TCX = {False: 46, True: 47}  # enum bpf_attach_type, by whether it is egress
_NAME = "ax_gate"
_INTO, _BARE, _PORT = 1, 2, 4
"""AX_CLASS_INTO, AX_CLASS_BARE, AX_CLASS_PORT: what ax_gate asks a filter's class for."""


@dataclass(frozen=True, slots=True)
class Point:
    """A direction of an interface: packets that come out of it, or that are sent into it.

    `port`: what comes out of a bridge's port is judged by the bridge, which is told what it comes from.
    """

    ifindex: int
    egress: bool = False
    port: bool = False

    def hook(self) -> TcHook:
        """Return it as libbpf takes it."""
        hook = TcHook(ifindex=self.ifindex, attach_point=_EGRESS if self.egress else _INGRESS)
        sized(hook)
        return hook


def attach(point: Point, program: bpf.Fd) -> None:
    """Attach a program, in the place of ours that is there; raise OSError."""
    hook = point.hook()
    made: int = lib().bpf_tc_hook_create(hook)
    if made != -errno.EEXIST:
        check(made)
    elif point.egress and not is_clsact(point.ifindex):
        # both directions of that one are the same place
        raise OSError(
            errno.EEXIST,
            "its qdisc is `ingress`, which has no place for what is sent; it may be replaced by `clsact`",
        )
    put_filter(
        point.ifindex,
        _PARENTS[point.egress],
        priority=PRIORITY,
        handle=HANDLE,
        program=program.fileno(),
        name=_NAME,
        class_id=_INTO * point.egress
        | _BARE * (not has_ethernet(point.ifindex))
        | _PORT * point.port,
    )


def detach(point: Point) -> bool:
    """Detach ours; return whether it was there. The qdisc stays: others may use it by now."""
    opts = TcOpts(handle=HANDLE, priority=PRIORITY)
    sized(opts)
    gone: int = lib().bpf_tc_detach(point.hook(), opts)
    if gone in {-errno.ENOENT, -errno.EINVAL, -errno.ENODEV}:
        return False
    check(gone)
    return True


def chain(point: Point) -> list[Filter]:
    """Return the filters there in the order in which they run; raise OSError."""
    return filters(point.ifindex, _PARENTS[point.egress])


def is_ours(one: Filter) -> bool:
    """Return whether a filter is in our place."""
    return (one.priority, one.handle) == (PRIORITY, HANDLE)


def attached(point: Point) -> int:
    """Return the id of the program that is attached as ours; 0 for none."""
    return next((one.program for one in chain(point) if is_ours(one)), 0)


def is_for_port(one: Filter) -> bool:
    """Return whether a filter of ours is for a bridge's port."""
    return bool(one.class_id & _PORT)


def points_of(program: int) -> list[Point]:
    """Return where a program, by its id, is attached as ours in this network namespace."""
    return [
        Point(interface.index, egress=egress, port=is_for_port(one))
        for interface in interfaces()
        for egress in (False, True)
        for one in chain(Point(interface.index, egress=egress))
        if is_ours(one) and one.program == program
    ]


def ahead(point: Point) -> int:
    """Return how many programs run there before every filter (tcx, from Linux 6.6 on)."""
    return bpf.attached_count(point.ifindex, _TCX[point.egress])


def in_front(point: Point) -> list[str]:
    """Return whose word counts there before ours, or would if ours were attached; raise OSError.

    A filter is in the way where it has our priority for other packets than ours, or is of another
    kind: nothing can be put in front of it then.
    """
    found = [
        f"the program {name} (tcx)"
        for name in bpf.attached_names(point.ifindex, _TCX[point.egress])
    ]
    there = chain(point)
    attached_here = any(map(is_ours, there))
    for one in there:
        if is_ours(one) or one.priority > PRIORITY:
            break
        if attached_here or (one.kind, one.protocol) != ("bpf", ETH_P_ALL):
            named = f"the filter {one.name}, of kind" if one.name else "a filter of kind"
            found.append(f"{named} {one.kind} with priority {one.priority}")
    return found
