"""The labels that are not a cgroup's: command, port, and a service that is named after them.

The kernel knows a socket by its cgroup, its command and its port. Of the commands and ports only
those make a difference that some selector names; all others are "any other".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from axon.policy.language.labels import (
    COMMAND,
    COMMAND_BYTES,
    PORT,
    SERVICE,
    Operator,
    Party,
    Requirement,
    Selector,
)

OTHER: Final = ""
"""A command or port that no selector names."""

What = TypeVar("What")
Value = TypeVar("Value")


class Condition(NamedTuple, Generic[What]):
    """What a selector still asks of command, port and service, for something that it decides."""

    what: What
    requirements: tuple[Requirement, ...]


def split(selector: Selector, party: Party) -> tuple[bool, tuple[Requirement, ...]]:
    """Return whether a cgroup's labels will do, and what is asked beside them."""
    own_service = SERVICE in party.labels
    more = []
    for r in selector.requirements:
        if r.key in {COMMAND, PORT} or (r.key == SERVICE and not own_service):
            more.append(r)
        elif not r.met_by(party.labels.get(r.key)):
            return False, ()
    return True, tuple(more)


def service_of(command: str, port: str | None) -> str:
    """Return what a server is called that has neither unit nor container; None: a caller.

    A process may call itself as it likes: by a name such as units and containers have it is nobody.
    """
    if port is None:
        return OTHER if command.endswith(".service") or ":" in command else command
    return f"{command}:{port}" if command and port else OTHER


def selections(
    base: Sequence[What], conditions: Sequence[Condition[What]], *, ports: bool
) -> dict[tuple[str, str], list[What]]:
    """Return what is selected by command and port, with OTHER where none of those named is meant.

    Every combination of the commands and ports that the conditions name is there. Without `ports` it
    is about callers, who have none.
    """
    commands = sorted({c for one in conditions for c in commands_in(one.requirements, ports=ports)})
    numbers = sorted({p for one in conditions for p in ports_in(one.requirements)}) if ports else []
    found = {(c, p): list(base) for c in (OTHER, *commands) for p in (OTHER, *numbers)}
    for what, requirements in conditions:
        of_command = [r for r in requirements if r.key == COMMAND]
        of_port = [r for r in requirements if r.key == PORT]
        of_service = [r for r in requirements if r.key == SERVICE]
        fitting = _fitting(numbers, of_port)
        if not ports:
            fitting = [OTHER] if all(r.met_by(None) for r in of_port) else []
        for c in _fitting(commands, of_command):
            for p in fitting:
                service = service_of(c, p if ports else None)
                if all(r.met_by(service) for r in of_service):
                    found[c, p].append(what)
    return found


def pruned(found: Mapping[tuple[str, str], Value]) -> dict[tuple[str, str], Value]:
    """Return the same without what a look-up finds anyway: by (command, port), (command, OTHER),
    (OTHER, port), (OTHER, OTHER).
    """
    rows: dict[str, dict[str, Value]] = {}
    for (command, port), value in found.items():
        rows.setdefault(command, {})[port] = value
    return {
        (command, port): value
        for command, row in rows.items()
        if command == OTHER or row != rows[OTHER]
        for port, value in row.items()
        if port == OTHER or value != row[OTHER]
    }


def _fitting(named: Sequence[str], requirements: Sequence[Requirement]) -> list[str]:
    """Return those of the values that are named, and OTHER, that meet requirements."""
    values: Iterable[str] = (OTHER, *named)
    for r in requirements:
        if r.operator is Operator.IN:
            values = r.values
            break
    return [v for v in values if all(r.met_by(v) for r in requirements)]


def commands_in(requirements: Iterable[Requirement], *, ports: bool) -> Iterator[str]:
    """Yield the commands that are named; with `ports` a service is COMMAND:PORT, else a command."""
    for r in requirements:
        if r.key == COMMAND:
            yield from r.values
        elif r.key == SERVICE:
            for value in r.values:
                command = value.rpartition(":")[0] if ports else service_of(value, None)
                if 0 < len(command.encode()) <= COMMAND_BYTES:
                    yield command


def ports_in(requirements: Iterable[Requirement]) -> Iterator[str]:
    """Yield the ports that are named, by themselves or in a service's name."""
    for r in requirements:
        if r.key == PORT:
            yield from r.values
        elif r.key == SERVICE:
            for value in r.values:
                port = value.rpartition(":")[2]
                if port.isascii() and port.isdigit() and len(port) <= 5 and str(int(port)) == port:
                    yield port
