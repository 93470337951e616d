"""Labels that the user gives to workloads and callers of a plain host, beside those that Axon gives.

An entry asks for labels that Axon gives: unit, container, service, command, port; or for addresses of
other hosts. Whoever meets several entries has the labels of all; of one label the later entry's counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from axon.policy.language.labels import COMMAND, PORT, SERVICE, Operator, Party, Requirement
from axon.policy.language.model import Address, Network, within
from axon.policy.parties.dynamic import OTHER, commands_in, ports_in, service_of

Value = TypeVar("Value")
Rows = Mapping[tuple[str, str], Value]
"""What holds by command and port: every combination of some of both, OTHER among them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Who is meant, by labels that Axon gives or by a network, and what is said of them."""

    match: tuple[tuple[str, str], ...]
    network: Network | None
    labels: tuple[tuple[str, str], ...]
    namespace: str | None = None

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Return whether somebody with these labels of Axon's is meant."""
        return self.network is None and all(labels.get(key) == value for key, value in self.match)


@dataclass(frozen=True, slots=True)
class Given:
    """All that the user says. Equal if the entries are."""

    entries: tuple[Entry, ...] = ()

    def workload(self, party: Party, command: str, port: str) -> Party:
        """Return a cgroup's party with what is given to its server of a command and a port."""
        service = party.labels.get(SERVICE, service_of(command, port))
        return self._with(party, {COMMAND: command, PORT: port, SERVICE: service})

    def caller(self, party: Party, command: str) -> Party:
        """Return a cgroup's party with what is given to its callers of a command."""
        service = party.labels.get(SERVICE, service_of(command, None))
        return self._with(party, {COMMAND: command, SERVICE: service})

    def at(self, address: Address) -> Party | None:
        """Return who is at an address of another host; None if nothing is said of it."""
        around = [one for one in self.entries if one.network and address in one.network]
        return _said(Party.of({}), around) if around else None

    def networks(self) -> dict[Network, Party]:
        """Return who is at addresses of other hosts: the longest network that an address is in says
        everything.
        """
        found = {}
        for one in self.entries:
            if one.network is not None and one.network not in found:
                around = [e for e in self.entries if e.network and within(one.network, e.network)]
                found[one.network] = _said(Party.of({}), around)
        return found

    def spread(
        self, party: Party, rows: Callable[[Party], Rows[Value]], *, ports: bool
    ) -> Rows[Value]:
        """Return what holds by command and port where the labels depend on them too.

        `rows` gives it for fixed labels. Without `ports` it is about callers, who have none.
        """
        commands, numbers = self._named(party, ports=ports)
        if not commands and not numbers:
            return rows(self._variant(party, OTHER, OTHER, ports=ports))
        parties = {
            (c, p): self._variant(party, c, p, ports=ports)
            for c in (OTHER, *commands)
            for p in (OTHER, *numbers)
        }
        tables = {one: rows(one) for one in set(parties.values())}
        keys = {one: tuple(map(set, zip(*table, strict=True))) for one, table in tables.items()}
        all_commands = {*commands, *(c for of, _ in keys.values() for c in of)}
        all_numbers = {*numbers, *(p for _, of in keys.values() for p in of)}
        out = {}
        for c in sorted(all_commands | {OTHER}):
            for p in sorted(all_numbers | {OTHER}):
                one = parties[c if c in commands else OTHER, p if p in numbers else OTHER]
                there = keys[one]
                out[c, p] = tables[one][
                    c if c in there[0] else OTHER, p if p in there[1] else OTHER
                ]
        return out

    def _variant(self, party: Party, command: str, port: str, *, ports: bool) -> Party:
        return self.workload(party, command, port) if ports else self.caller(party, command)

    def _with(self, party: Party, more: Mapping[str, str]) -> Party:
        if not self.entries:
            return party
        labels = {**party.labels, **more}
        return _said(party, [one for one in self.entries if one.fits(labels)])

    def _named(self, party: Party, *, ports: bool) -> tuple[list[str], list[str]]:
        """Return the commands and ports that make a difference to a cgroup's sockets."""
        asked = [
            Requirement(key, Operator.IN, (value,))
            for one in self.entries
            if one.network is None
            for key, value in one.match
            if key in {COMMAND, PORT} or (key == SERVICE and SERVICE not in party.labels)
            if all(k in _OF_SOCKETS or party.labels.get(k) == v for k, v in one.match)
        ]
        commands = sorted(set(commands_in(asked, ports=ports)))
        return commands, sorted(set(ports_in(asked))) if ports else []


_OF_SOCKETS = frozenset({COMMAND, PORT, SERVICE})
NOTHING = Given()


def _said(party: Party, entries: Sequence[Entry]) -> Party:
    """Return a party with what entries say of it."""
    if not entries:
        return party
    labels = dict(party.labels)
    namespace = party.namespace
    for one in entries:
        labels.update(one.labels)
        namespace = one.namespace or namespace
    return Party.of(labels, namespace)


def named(entries: Iterable[Entry]) -> tuple[int, int]:
    """Return how many commands and ports entries name, a service naming one of each."""
    asked = [Requirement(key, Operator.IN, (value,)) for one in entries for key, value in one.match]
    both = {*commands_in(asked, ports=True), *commands_in(asked, ports=False)}
    return len(both), len(set(ports_in(asked)))
