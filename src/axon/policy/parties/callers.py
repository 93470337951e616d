"""Who the callers are: a number for each set of labels, and which of them a peer means."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from axon.policy.language.labels import (
    COMMAND,
    SERVICE,
    Operator,
    Party,
    Selector,
    namespace_labels,
)
from axon.policy.language.model import Network, Peer, Policy
from axon.policy.parties.crowd import later, surplus
from axon.policy.parties.dynamic import Condition, pruned, selections, service_of, split
from axon.policy.parties.given import Given
from axon.policy.parties.registry import Registry


class Entry(NamedTuple):
    """A row of ax_pol_caller; `command` is OTHER for every other one."""

    cgroup: int
    command: str
    ident: int


@dataclass(slots=True)
class Population:
    """Everybody who has a number. `entries` are for the kernel, `networks` for ax_pol_addr."""

    parties: dict[int, Party] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    networks: dict[Network, int] = field(default_factory=dict)
    _by_pair: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    _found: dict[tuple[str, Peer], frozenset[int]] = field(default_factory=dict)

    def of(self, peer: Peer, namespace: str) -> frozenset[int]:
        """Return the numbers of those whom a peer of a policy in a namespace means by labels."""
        key = (namespace, peer)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = frozenset(self._matching(peer, namespace))
        return found

    def _matching(self, peer: Peer, namespace: str) -> Iterator[int]:
        if peer.pods is None and peer.namespaces is None:
            return
        pods = peer.pods or Selector()
        for number in self._candidates(pods):
            party = self.parties[number]
            if in_namespace(peer, namespace, party.namespace) and pods.matches(party.labels):
                yield number

    def _candidates(self, selector: Selector) -> Iterable[int]:
        """Return the numbers that may match, by the first requirement that names values."""
        for r in selector.requirements:
            if r.operator is Operator.IN:
                return {n for value in r.values for n in self._by_pair.get((r.key, value), ())}
        return self.parties

    def fit(self, most: int, cgroups: Mapping[int, Party], disputed: Collection[int]) -> int:
        """Leave out cgroups until there are so many entries at the most; return how many were.

        They are unknown callers then. Of each set of labels one cgroup stays: what there is no room for
        beside those is asked for by policies.
        """
        rows = [entry.cgroup for entry in self.entries]
        gone = surplus(rows, most, cgroups, disputed, list(later(cgroups)))
        self.entries = [entry for entry in self.entries if entry.cgroup not in gone]
        return len(gone)

    def add(self, number: int, party: Party) -> None:
        """Take somebody in."""
        if number not in self.parties:
            self.parties[number] = party
            for pair in party.pairs:
                self._by_pair.setdefault(pair, []).append(number)


def in_namespace(peer: Peer, own: str, namespace: str) -> bool:
    """Return whether a peer of a policy in namespace `own` means those of a namespace."""
    if peer.namespaces is None:
        return namespace == own
    return peer.namespaces.matches(namespace_labels(namespace))


def populate(
    policies: Iterable[Policy],
    cgroups: Mapping[int, Party],
    networks: Mapping[Network, Party],
    registry: Registry[Party],
    given: Given,
) -> Population:
    """Return who is who: sockets of known cgroups, with what is given to them, and whoever is at
    known addresses.
    """
    named = _named(policies)
    population = Population()
    alive = set()
    commands: dict[Party, list[tuple[str, int]]] = {}
    for cgroup, party in cgroups.items():
        if party not in commands:
            # Those whom no selector tells apart are one.
            found = pruned(given.spread(party, lambda one: _meant(named, one), ports=False))
            commands[party] = []
            for (command, _), (one, _) in found.items():
                someone = caller(one, command)
                alive.add(someone)
                commands[party].append((command, registry[someone]))
                population.add(registry[someone], someone)
        population.entries += [Entry(cgroup, *one) for one in commands[party]]
    for network, party in networks.items():
        alive.add(party)
        population.networks[network] = registry[party]
        population.add(registry[party], party)
    registry.keep(alive)
    return population


def caller(party: Party, command: str) -> Party:
    """Return who calls from a cgroup by a command."""
    service = party.labels.get(SERVICE, service_of(command, None))
    return party.with_labels({COMMAND: command, SERVICE: service})


def _named(policies: Iterable[Policy]) -> list[Selector]:
    """Return the selectors of callers that ask for a command, or a service that may be one."""
    found = {
        peer.pods: None
        for policy in policies
        for ingress in policy.ingress
        for peer in ingress.peers
        if peer.pods and any(r.key in {COMMAND, SERVICE} for r in peer.pods.requirements)
    }
    return list(found)


def _meant(
    named: Sequence[Selector], party: Party
) -> dict[tuple[str, str], tuple[Party, tuple[int, ...]]]:
    """Return who calls from a cgroup, and which selectors mean them, by command."""
    found = selections((), _conditions(named, party), ports=False)
    return {key: (party, tuple(chosen)) for key, chosen in found.items()}


def _conditions(named: Sequence[Selector], party: Party) -> list[Condition[int]]:
    conditions = []
    for i, selector in enumerate(named):
        fits, requirements = split(selector, party)
        if fits and requirements:
            conditions.append(Condition(i, requirements))
    return conditions
