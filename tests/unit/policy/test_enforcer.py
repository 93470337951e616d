"""In which order policies come into force, and what is free when that is cut short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest

from axon.errors import PolicyError
from axon.kernel.gate import Gate
from axon.policy.compiler import layout
from axon.policy.compiler.compile import Host
from axon.policy.enforcer import Enforcer
from axon.policy.files.load import parse_policies
from axon.policy.language.labels import Party

POLICY = """\
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {{name: web}}
spec:
  podSelector: {{matchLabels: {{app: web}}}}
  ingress: [{{httpRules: [{{path: {path}}}]}}]
"""


class FakeGate:
    """A gate's maps; `log` has what was written that counts at once."""

    secret, sets, cells = 1, 16, 1 << 14

    def __init__(self) -> None:
        self.generation = 0
        self.arena = np.zeros(self.cells, np.uint64)
        self.rows = np.zeros((2, self.sets), layout.SET)
        self.log: list[tuple[str, int]] = []
        self.numbers: dict[int, str] = {}
        self.fails = False
        self._newest = 0

    @property
    def newest(self) -> int:
        """The newest cgroup that is known."""
        return self._newest

    @newest.setter
    def newest(self, cgroup: int) -> None:
        if cgroup != self._newest:
            self.log.append(("newest", cgroup))
        self._newest = cgroup

    def directory(self, half: int) -> Any:
        """Return a half of the directory."""
        return self.rows[half]

    def names(self) -> dict[int, str]:
        """Return the names that were given."""
        return self.numbers

    def name(self, rows: Mapping[int, Any]) -> None:
        """Name policies."""
        for number, row in rows.items():
            self.numbers[number] = row["text"].tobytes()[: int(row["len"])].decode()

    def write_cells(self, first: int, cells: Any) -> None:
        """Write cells."""
        self.arena[first : first + len(cells)] = cells

    def write_keys(self, half: int, tables: Sequence[object]) -> None:
        """Forget keys, or fail."""
        if self.fails:
            raise OSError(12, "Cannot allocate memory")

    def switch(self, generation: int) -> None:
        """Let a generation be the one in use."""
        self.log.append(("generation", generation))
        self.generation = generation

    def in_use(self) -> bytes:
        """Return the cells of the one set in use."""
        base = int(self.rows[self.generation & 1][1]["rules"]) - 1
        return self.arena[base : base + int(self.arena[base])].tobytes()


class Quiesce:
    """Waits, or fails to."""

    fails = False

    def __call__(self) -> None:
        """Wait."""
        if self.fails:
            raise OSError("it may not be waited for")


@pytest.fixture
def gate() -> FakeGate:
    """Give a gate with nothing in it."""
    return FakeGate()


@pytest.fixture
def quiesce() -> Quiesce:
    """Give what waits."""
    return Quiesce()


@pytest.fixture
def enforcer(gate: FakeGate, quiesce: Quiesce) -> Enforcer:
    """Give what brings policies into force there."""
    return Enforcer(cast("Gate", gate), quiesce)


def force(enforcer: Enforcer, path: str, newest: int = 0) -> None:
    """Bring one policy into force."""
    host = Host({7: Party.of({"app": "web"})}, unknown=None, newest=newest)
    enforcer.apply(parse_policies(POLICY.format(path=path), "f"), host)


def test_newer_cgroups_are_held_before_they_are_looked_up(
    gate: FakeGate, enforcer: Enforcer
) -> None:
    """Where none was held they are from before the switch on; else until it has been."""
    force(enforcer, "/a", newest=40)
    assert gate.log == [("newest", 40), ("generation", 1)]
    gate.log.clear()
    force(enforcer, "/b", newest=50)
    assert gate.log == [("generation", 2), ("newest", 50)]
    gate.log.clear()
    enforcer.apply([], Host(newest=60))
    assert gate.log == [("generation", 3), ("newest", 0)]


def test_more_than_half_is_refused(gate: FakeGate) -> None:
    """Policies that could not be replaced are not taken, neither at first nor later."""
    gate.cells = 512
    enforcer = Enforcer(cast("Gate", gate), Quiesce())
    large = "}, {path: ".join(f"/{n}{'a' * 100}" for n in range(12))
    for n in range(2):
        with pytest.raises(PolicyError, match=r"raise it\. Nothing was changed"):
            force(enforcer, large)
        assert gate.generation == n
        force(enforcer, "/a")


CALLED = """\
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {name: web}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}
"""


def host(callers: int) -> Host:
    """Return a host with a server and so many callers, all of whom a set tells apart."""
    parties = {8 + n: Party.of({"app": f"a{n}"}) for n in range(callers)}
    return Host({7: Party.of({"app": "web"}), **parties}, unknown=None)


def test_policies_that_have_grown_with_the_host(gate: FakeGate) -> None:
    """They stay in force beyond half, follow the host while there is room, and can be made less."""
    gate.cells = 2048
    enforcer = Enforcer(cast("Gate", gate), Quiesce())
    policies = parse_policies(CALLED, "f")
    two = [
        *policies,
        *parse_policies(POLICY.format(path="/b").replace("name: web", "name: b"), "f"),
    ]
    enforcer.apply(two, host(2))
    before = enforcer.tight
    enforcer.apply(two, host(100))
    assert (before, enforcer.tight) == (False, True)
    with pytest.raises(PolicyError, match="raise policy_memory and restart the agent"):
        enforcer.apply(two, host(101))
    assert enforcer.cramped
    three = [*two, *parse_policies(CALLED.replace("name: web", "name: c"), "f")]
    with pytest.raises(PolicyError, match="may take half"):
        enforcer.apply(three, host(100))
    enforcer.apply(policies, host(2))
    assert (enforcer.cramped, enforcer.tight) == (False, False)


def test_policies_that_have_grown_are_taken_over(gate: FakeGate) -> None:
    """The next agent is not refused: where they have no room beside themselves, other maps have it."""
    gate.cells = 2048
    policies = parse_policies(CALLED, "f")
    former = Enforcer(cast("Gate", gate), Quiesce())
    for callers in (2, 100):
        former.apply(policies, host(callers))
    generation = gate.generation
    after = Enforcer(cast("Gate", gate), Quiesce())
    with pytest.raises(PolicyError, match="no room"):
        after.apply(policies, host(100))
    assert (gate.generation, after.cramped) == (generation, True)
    with pytest.raises(PolicyError, match="no room"):
        after.apply(policies, host(500))
    assert not after.cramped
    other = FakeGate()
    other.cells, other.generation = gate.cells, generation
    anew = Enforcer(cast("Gate", other), Quiesce())
    anew.apply(policies, host(100))
    assert (other.generation, anew.tight) == (generation + 1, True)


def test_what_is_refused_takes_no_numbers(gate: FakeGate) -> None:
    """A policy keeps its number, and what was counted for it, when others instead of it are refused."""
    gate.cells = 4096
    enforcer = Enforcer(cast("Gate", gate), Quiesce())
    force(enforcer, "/a")
    assert gate.numbers == {1: "default/web"}
    other = parse_policies(POLICY.format(path="/a").replace("name: web", "name: other"), "f")
    gate.fails = True
    with pytest.raises(OSError, match="allocate"):
        enforcer.apply(other, host(1))
    gate.fails = False
    large = "}, {path: ".join(f"/{n}{'a' * 200}" for n in range(200))
    much = parse_policies(POLICY.format(path=large).replace("name: web", "name: much"), "f")
    with pytest.raises(PolicyError, match="may take half"):
        enforcer.apply(much, host(1))
    compiled = enforcer.apply(parse_policies(POLICY.format(path="/b"), "f"), host(1))
    assert compiled.names == {1: "default/web"}


def test_what_is_in_use_is_not_given_away(
    gate: FakeGate, enforcer: Enforcer, quiesce: Quiesce
) -> None:
    """Also where it could not be waited for those who read what was before: then nothing is written."""
    force(enforcer, "/a")
    quiesce.fails = True
    with pytest.raises(OSError, match="waited"):
        force(enforcer, "/b")
    cells, generation = gate.in_use(), gate.generation
    before = gate.arena.copy(), gate.rows.copy()
    with pytest.raises(OSError, match="waited"):
        force(enforcer, "/c")
    assert (gate.in_use(), gate.generation) == (cells, generation)
    assert np.array_equal(gate.arena, before[0])
    assert np.array_equal(gate.rows, before[1])
    quiesce.fails = False
    written = gate.write_cells
    places: list[range] = []

    def note(first: int, some: Any) -> None:
        places.append(range(first, first + len(some)))
        written(first, some)

    gate.write_cells = note  # type: ignore[assignment,method-assign]
    used = int(gate.rows[generation & 1][1]["rules"]) - 1
    force(enforcer, "/c")
    assert gate.generation == generation + 1
    assert all(used not in place for place in places)
    assert places
