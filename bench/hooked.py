"""Programs that are attached for one turn at a time: the same processes are measured with them and without."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from axon.kernel import Kernel, bpf

# enum bpf_attach_type of the hooks of bpf/axon.bpf.c that are a cgroup's
_TYPES = {
    "ax_ingress": 0,
    "ax_egress": 1,
    "ax_sockops": 3,
    "ax_bind4": 8,
    "ax_bind6": 9,
    "ax_connect4": 10,
    "ax_connect6": 11,
    "ax_release": 34,
}

Programs = Mapping[int, bpf.Fd]
"""By the type of hook that they are for."""
Scope = tuple[Programs, Sequence[Path]]
"""What is attached, to each of some cgroups."""
NOTHING: Scope = ({}, ())


def of_axon(kernel: Kernel) -> Programs:
    """Return Axon's programs; itself it is attached where nothing is measured."""
    programs = kernel._programs  # noqa: SLF001
    return {kind: programs[name] for name, kind in _TYPES.items() if name in programs}


def of_step(programs: Mapping[str, bpf.Fd], step: str) -> Programs:
    """Return a pair of the floor's programs."""
    return {0: programs[f"{step}_ingress"], 1: programs[f"{step}_egress"]}


@contextmanager
def hooked(*scopes: Scope) -> Iterator[None]:
    """Have programs attached meanwhile."""
    with ExitStack() as undo:
        for programs, groups in scopes:
            for group in groups:
                target = bpf.Fd(os.open(group, os.O_RDONLY))
                undo.callback(target.close)
                for kind, program in programs.items():
                    undo.callback(bpf.link_create(program, target.fileno(), kind).close)
        yield


def rates(
    states: Mapping[str, Scope],
    run: Callable[[float], int],
    *,
    seconds: float,
    turn: float,
) -> dict[str, float]:
    """Return how much a second was done in each state, while all take turns in another order each time.

    `run` has something done for so long and returns how much that was.
    """
    done, active = dict.fromkeys(states, 0), dict.fromkeys(states, 0.0)
    order, end = list(states), time.monotonic() + seconds
    while time.monotonic() < end:
        random.shuffle(order)
        for name in order:
            with hooked(states[name]):
                began = time.monotonic()
                done[name] += run(turn)
                active[name] += time.monotonic() - began
    return {name: done[name] / active[name] for name in states}
