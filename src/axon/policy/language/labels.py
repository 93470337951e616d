"""Labels, who has them, and what selects them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

NAMESPACE: Final = "default"
"""Where policies and workloads are that do not say so."""

NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""The label that every namespace has; its value is the namespace's name."""

PORT: Final = "axon.dev/port"
COMMAND: Final = "axon.dev/command"
SERVICE: Final = "axon.dev/service"
UNIT: Final = "axon.dev/unit"
CONTAINER: Final = "axon.dev/container"
DERIVED: Final = frozenset({PORT, COMMAND, SERVICE, UNIT, CONTAINER})
"""Labels that Axon gives on a plain host; no others begin with axon.dev/."""

COMMAND_BYTES: Final = 15
"""Bytes that the kernel keeps of a command (TASK_COMM_LEN without its NUL)."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who has a set of labels, in a namespace. Equal and hashed by both."""

    pairs: tuple[tuple[str, str], ...] = ()
    namespace: str = NAMESPACE
    labels: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, labels: Mapping[str, str], namespace: str = NAMESPACE) -> Party:
        """Return the party with these labels."""
        return cls(tuple(sorted(labels.items())), namespace, dict(labels))

    def with_labels(self, more: Mapping[str, str]) -> Party:
        """Return a party with these labels as well."""
        return Party.of({**self.labels, **more}, self.namespace)

    def __str__(self) -> str:
        return ",".join(f"{key}={value}" for key, value in self.pairs) or "no labels"


class Operator(StrEnum):
    """What an expression asks of a label, in Kubernetes' words."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a selector asks of one label. `values` are for In and NotIn."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def met_by(self, value: str | None) -> bool:
        """Return whether a label's value will do; None where there is none."""
        match self.operator:
            case Operator.IN:
                return value in self.values
            case Operator.NOT_IN:
                return value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None

    def __str__(self) -> str:
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.IN if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
        word = "in" if self.operator is Operator.IN else "notin"
        return f"{self.key} {word} ({','.join(self.values)})"


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that all have to be met. None at all: everybody."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels meet every requirement."""
        return all(r.met_by(labels.get(r.key)) for r in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements)) or "everybody"


def namespace_labels(namespace: str) -> Mapping[str, str]:
    """Return the labels of a namespace: those that every one has."""
    return {NAMESPACE_NAME: namespace}


def contradiction(requirements: Iterable[Requirement]) -> str | None:
    """Return a label's key of which a selector asks what cannot be, or None."""
    wanted: dict[str, set[str]] = {}
    present: set[str] = set()
    absent: set[str] = set()
    unwanted: dict[str, set[str]] = {}
    for r in requirements:
        match r.operator:
            case Operator.IN:
                present.add(r.key)
                wanted.setdefault(r.key, set(r.values)).intersection_update(r.values)
            case Operator.NOT_IN:
                unwanted.setdefault(r.key, set()).update(r.values)
            case Operator.EXISTS:
                present.add(r.key)
            case Operator.DOES_NOT_EXIST:
                absent.add(r.key)
    impossible = present & absent
    impossible |= {key for key, values in wanted.items() if not values - unwanted.get(key, set())}
    return min(impossible, default=None)


def exclusive(requirements: Sequence[Requirement]) -> str | None:
    """Return why nobody on a host meets requirements of Axon's labels together, or None.

    Who is in a container has no unit, and who has either is called by it (axon.dev/service).
    """
    asked = {r.key for r in requirements if r.operator in {Operator.IN, Operator.EXISTS}}
    if {UNIT, CONTAINER} <= asked:
        return "nobody has both a unit and a container"
    named = [(r.key, set(r.values)) for r in requirements if r.operator is Operator.IN]
    services = [values for key, values in named if key == SERVICE]
    for key, values in named:
        for names in services:
            if key == UNIT and not values & names:
                return f"the {SERVICE} of a unit is the unit"
            if key == CONTAINER and not values & {name.partition(":")[2] for name in names}:
                return f"the {SERVICE} of a container is its runtime, a colon and its name"
    return None


def candidates(
    selector: Selector, by_pair: Mapping[tuple[str, str], list[int]], everybody: Iterable[int]
) -> Iterator[int]:
    """Yield the numbers that may match, by the first requirement that names values."""
    for r in selector.requirements:
        if r.operator is Operator.IN:
            for value in r.values:
                yield from by_pair.get((r.key, value), ())
            return
    yield from everybody
