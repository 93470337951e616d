"""What the gate in front of sockets judges by, and what it has counted: its maps.

There are two halves of everything; one is in use, the other may be written. See bpf/axon_policy.h.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any, Self

import numpy as np

from axon.kernel import bpf, tc
from axon.kernel.maps import Array, Map

GATE, CONTROL, DIRECTORY = "ax_gate", "ax_pol_ctl", "ax_pol_dir"
_KEYED = ("ax_pol_target", "ax_pol_caller", "ax_pol_addr")
OTHERS, PORTS, BRIDGE = -1, -2, -3
"""What may be on an interface's other end beside a container: other hosts; a bridge's ports, which tell;
another bridge (enum ax_beyond).
"""
GENERATION_MAPS = (CONTROL, DIRECTORY, "ax_pol_arena", *_KEYED)
"""What a generation is made of: of one and the same arena, and switched by one number."""


def take_off(program: int) -> None:
    """Take a program, by its id, off every interface of this network namespace that runs it."""
    for point in tc.points_of(program):
        tc.detach(point)


def hand_over(before: bpf.Fd, program: bpf.Fd, undo: ExitStack) -> None:
    """Have a program judge wherever another does, without a moment between.

    `undo` gives every place back. Interfaces that go meanwhile are left out.
    """
    for point in tc.points_of(bpf.prog_info(before).id):
        _put(point, program)
        undo.callback(_put, point, before)


def _put(point: tc.Point, program: bpf.Fd) -> None:
    try:
        tc.attach(point, program)
    except OSError as error:
        if error.errno not in tc.GONE:
            raise


def _set_mode(control: Array, mode: int) -> None:
    """Switch the mode; what was off says so first to what goes on from before."""
    fields = control.dtype.names or ()  # a pinned one may be older
    if mode and not control["mode"][0] and "offs" in fields:
        control["offs"][0] += 1
    control["mode"][0] = mode


class Mode:
    """The switch of a pinned gate, which works without an agent.

    During an upgrade there are two, and the last is the one that stays.
    """

    def __init__(self, tables: Sequence[Map]) -> None:
        self._tables = tables
        self._controls = [table.mapped(0, 1) for table in tables]
        self.ids = frozenset(table.info.id for table in tables)
        """Which maps have it."""

    @property
    def mode(self) -> int:
        """What is done with what is denied, enum ax_pol_mode."""
        return int(self._controls[-1]["mode"][0])

    @mode.setter
    def mode(self, mode: int) -> None:
        for control in self._controls:
            _set_mode(control, mode)

    @property
    def in_force(self) -> bool:
        """Whether anything is judged."""
        return any(control["gen"][0] and control["mode"][0] for control in self._controls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for table in self._tables:
            table.close()


class Gate:
    """The maps of the policies' side, and the program that judges."""

    def __init__(self, maps: Mapping[str, Map], program: bpf.Fd) -> None:
        self._maps = maps
        self._program = program
        self._control = maps["ax_pol_ctl"].mapped(0, 1)
        self.sets = maps["ax_pol_dir"].entries // 2

    @property
    def secret(self) -> int:
        """What keys the hashes of the sets' tables."""
        return int(self._control["secret"][0])

    @property
    def generation(self) -> int:
        """Which generation is in use; 0 if there was none."""
        return int(self._control["gen"][0])

    @property
    def mode(self) -> int:
        """What is done with what is denied, enum ax_pol_mode."""
        return int(self._control["mode"][0])

    @mode.setter
    def mode(self, mode: int) -> None:
        _set_mode(self._control, mode)

    @property
    def in_force(self) -> bool:
        """Whether anything is judged."""
        return bool(self.generation and self.mode)

    @property
    def named(self) -> bool:
        """Whether answers to denied requests name the policy, in x-axon-policy."""
        return bool(self._control["header"][0])

    @named.setter
    def named(self, value: bool) -> None:
        self._control["header"][0] = value

    @property
    def newest(self) -> int:
        """The greatest id of a cgroup that is known; those above are held. 0: none is."""
        return int(self._control["newest"][0])

    @newest.setter
    def newest(self, cgroup: int) -> None:
        self._control["newest"][0] = cgroup

    @cached_property
    def program(self) -> int:
        """The id of the program that judges."""
        return int(bpf.prog_info(self._program).id)

    # What is mapped counts as the agent's memory: only where there are policies.

    @cached_property
    def arena(self) -> Array:
        """The arena, u64 of shape (cells,)."""
        return self._maps["ax_pol_arena"].mapped(0, self.cells)

    @cached_property
    def _directory(self) -> Array:
        return self._maps["ax_pol_dir"].mapped(0, 2 * self.sets)

    @property
    def cells(self) -> int:
        """How many cells the arena has."""
        return self._maps["ax_pol_arena"].entries

    def directory(self, half: int) -> Array:
        """Return a half of the directory, shape (sets,) of ax_pol_set; writable."""
        return self._directory[half * self.sets : (half + 1) * self.sets]

    def write_cells(self, first: int, cells: Array) -> None:
        """Write part of the arena that no generation in use has."""
        self.arena[first : first + len(cells)] = cells

    def name(self, rows: Mapping[int, Any]) -> None:
        """Name policies by their numbers, struct ax_pol_name.

        What was counted for another policy of such a number goes, and what was for another number of
        such a name: a name has one number.
        """
        names, counts = self._maps["ax_pol_names"], self._maps["ax_pol_counts"]
        before = self.names()
        texts = {number: _text(row) for number, row in rows.items()}
        here = set(texts.values())
        for number, text in before.items():
            if texts.get(number, text) != text or (number not in texts and text in here):
                counts.update(number, np.zeros_like(counts.lookup(number)))
                names.update(number, np.zeros((), names.value))
        for number, row in rows.items():
            if before.get(number) != texts[number]:
                names.update(number, row)

    def names(self) -> dict[int, str]:
        """Return the names of policies by their numbers, also of those that are gone."""
        return names_in(self._maps["ax_pol_names"])

    def policy_name(self, policy: int) -> str:
        """Return what a policy is named, NAMESPACE/NAME; empty if it has no name any more."""
        row = self._maps["ax_pol_names"].lookup(policy)
        return "" if row is None else _text(row)

    def write_keys(self, half: int, tables: Sequence[tuple[Array, Array]]) -> None:
        """Fill a half that is not in use: keys and values of targets, callers and addresses.

        Raise OSError (E2BIG or ENOSPC) when a table is full.
        """
        for name, (keys, values) in zip(_KEYED, tables, strict=True):
            try:
                _fill(self._maps[name], half, keys, values)
            except OSError as error:
                if error.errno not in {errno.E2BIG, errno.ENOSPC}:
                    raise
                what = (
                    f"The kernel's table {name} is full: there is no room for {len(keys):,} entries"
                )
                raise OSError(error.errno, what) from error

    def switch(self, generation: int) -> None:
        """Let a generation be the one in use."""
        self._control["gen"][0] = generation

    def lead(self, ifindex: int, netns: int) -> None:
        """Say what is on an interface's other end: a container in a network namespace, as this one
        numbers it; or OTHERS, PORTS, BRIDGE.
        """
        row = np.zeros((), self._maps["ax_links"].value)
        row["netns"] = netns
        self._maps["ax_links"].update(ifindex, row)

    def beyond(self) -> dict[int, int]:
        """Return what was said of interfaces' other ends, by index."""
        indices, rows = self._maps["ax_links"].items()
        return dict(zip(indices.tolist(), rows["netns"].tolist(), strict=True))

    def forget(self, ifindex: int) -> None:
        """Have nothing known of an interface's other end any more."""
        self._maps["ax_links"].delete(ifindex)

    def attach(self, point: tc.Point) -> None:
        """Judge what passes there; raise OSError.

        What is sent goes to sockets of the container that the interface leads to, and is answered as
        if from there.
        """
        tc.attach(point, self._program)

    def detach(self) -> None:
        """Take it off every interface of this network namespace."""
        take_off(self.program)

    def unjudged(self, most: int) -> Array:
        """Take up to so many connections that were dropped unjudged, (n,) of ax_unjudged.

        There is one for each packet that was dropped, oldest first.
        """
        queue = self._maps["ax_pol_unjudged"]
        found = np.zeros(most, queue.value)
        for i in range(most):
            one = queue.pop()
            if one is None:
                return found[:i]
            found[i] = one
        return found

    def verdicts(self) -> Array:
        """Return how many verdicts of each kind there were, u64 (policies, AX_VERDICT_MAX)."""
        _, rows = self._maps["ax_pol_counts"].items()
        total: Array = rows["verdict"].sum(axis=1, dtype=np.uint64)
        return total

    def denials(self) -> Array:
        """Return how many denials there were by enum ax_deny, u64 (AX_DENIES,)."""
        values = self._maps["ax_pol_denies"].lookup(0)
        if values is None:
            raise AssertionError("an array has no missing entries")
        total: Array = values.sum(axis=0, dtype=np.uint64)
        return total


def _fill(table: Map, half: int, keys: Array, values: Array) -> None:
    """Have a half of a table be these entries. Most are what it was two generations ago."""
    there, said = table.items()
    mine = there["half"] == half
    there, said = there[mine], said[mine]
    before = dict(zip(_raw(there), _raw(said), strict=True))
    wanted = np.ascontiguousarray(keys.view(table.key) if len(keys) else keys, table.key)
    values = np.ascontiguousarray(values, table.value)
    raw = _raw(wanted)
    stay = set(raw)
    table.delete_many(there[[key not in stay for key in before]])
    fresh = [before.get(key) != value for key, value in zip(raw, _raw(values), strict=True)]
    table.update_many(wanted[fresh], values[fresh])


def _raw(rows: Array) -> list[bytes]:
    """Return the bytes of each row."""
    data, size = rows.tobytes(), rows.dtype.itemsize
    return [data[at : at + size] for at in range(0, len(data), size)]


def names_in(table: Map) -> dict[int, str]:
    """Return the names of policies by their numbers, of the map ax_pol_names."""
    numbers, rows = table.items()
    return {int(n): _text(row) for n, row in zip(numbers, rows, strict=True) if row["len"]}


def _text(row: Any) -> str:
    """Return the text of a struct ax_pol_name; one that was cut may end within a character."""
    raw: bytes = row["text"].tobytes()
    return raw[: int(row["len"])].decode(errors="replace")
