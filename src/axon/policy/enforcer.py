"""Brings policies into force: compiled, placed, written beside what is in use, and switched to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from axon.kernel.gate import Gate
from axon.policy.compiler.arena import Arena, taken
from axon.policy.compiler.compile import Bounds, Compiled, Compiler, Host, for_half, name_of
from axon.policy.language.model import Mode, Policy


class Enforcer:
    """The policies of one gate. `quiesce` waits until no program runs that began before."""

    def __init__(
        self, gate: Gate, quiesce: Callable[[], None], bounds: Bounds | None = None
    ) -> None:
        self._gate = gate
        self._quiesce = quiesce
        self._compiler = Compiler(gate.secret, bounds, gate.names())
        places, serial = taken(gate.directory(gate.generation & 1), gate.arena)
        self._arena = Arena(gate.cells, places, serial)

    def apply(self, policies: Iterable[Policy], host: Host) -> Compiled:
        """Judge by these policies from now on.

        Every request is judged by the old ones or the new. Raise PolicyError when they exceed a
        bound: the old ones stay in force then.
        """
        compiled = self._compiler.compile(policies, host)
        placement = self._arena.place(compiled.images)
        gate = self._gate
        generation = gate.generation + 1 & 0xFFFFFFFF or 2
        half = generation & 1
        for policy, text in compiled.names.items():
            gate.name(policy, name_of(text))
        for first, cells in placement.writes:
            gate.write_cells(first, cells)
        directory = gate.directory(half)
        directory[len(placement.entries) :] = 0
        directory[: len(placement.entries)] = placement.entries.view(directory.dtype)
        gate.write_keys(
            half,
            [
                (for_half(compiled.targets, half), compiled.sets),
                (for_half(compiled.callers, half), compiled.idents),
                (for_half(compiled.addresses, half), compiled.peers),
            ],
        )
        gate.switch(generation)
        enforces = any(one.mode is Mode.ENFORCE for one in compiled.policies.values())
        gate.newest = host.newest if enforces else 0
        self._quiesce()
        self._arena.switched(placement)
        return compiled
