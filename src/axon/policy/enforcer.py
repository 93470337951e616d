"""Brings policies into force: compiled, placed, written beside what is in use, and switched to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from axon.errors import PolicyError
from axon.garbage import unsearched
from axon.kernel.gate import Gate
from axon.policy.compiler.arena import Arena, Placement, taken
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
        self._accepted: Mapping[int, Policy] | None = None if gate.generation else {}
        """What is in force; None where an earlier agent brought it there."""
        self._switched: Placement | None = None
        """What is in use while programs may still read what was before."""
        self.cramped = False
        """Whether the last policies have room in maps of their own, and none beside those in force."""

    @property
    def tight(self) -> bool:
        """Whether what is in force takes more than half, so that not every change has room."""
        return self._arena.tight

    def apply(self, policies: Iterable[Policy], host: Host) -> Compiled:
        """Judge by these policies from now on.

        Every request is judged by the old ones or the new. Raise PolicyError when they exceed a
        bound: the old ones stay in force then.
        """
        self.cramped = False
        with unsearched():
            compiled = self._compiler.compile(policies, host)
        # For who comes later there may be more than that, and who is there is taken over with it.
        if self._accepted is not None and compiled.policies != self._accepted:
            self._arena.check(compiled.images)
        self._settle()  # what could not be waited for the last time
        try:
            placement = self._arena.place(compiled.images)
        except PolicyError:
            self.cramped = self._arena.holds(compiled.images)
            raise
        gate = self._gate
        generation = gate.generation + 1 & 0xFFFFFFFF or 2
        half = generation & 1
        gate.name({policy: name_of(text) for policy, text in compiled.names.items()})
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
        enforces = any(one.mode is Mode.ENFORCE for one in compiled.policies.values())
        newest = host.newest if enforces else 0
        if not gate.newest:
            # Where nothing was held a newer cgroup would be looked up in the new generation before
            # it is to be held, found not to be selected, and be so for as long as that is in use.
            gate.newest = newest
        gate.switch(generation)
        self._switched = placement
        gate.newest = newest
        self._accepted = compiled.policies
        self._compiler.accept()
        self._settle()
        return compiled

    def _settle(self) -> None:
        """Have what was in use before be free, as soon as no program reads it any more."""
        if self._switched:
            self._quiesce()
            self._arena.switched(self._switched)
            self._switched = None
