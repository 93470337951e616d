"""Which policies select which sockets, by cgroup, command and port."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from axon.policy.language.labels import COMMAND, PORT, SERVICE, Operator, Party
from axon.policy.language.model import Policy
from axon.policy.parties.crowd import surplus
from axon.policy.parties.dynamic import OTHER, Condition, pruned, selections, split
from axon.policy.parties.given import Given

UNKNOWN = 0
"""The cgroup that stands for all that are not known: their labels are command and port alone."""


class Entry(NamedTuple):
    """A row of ax_pol_target: `policies` are indexes, in ascending order, of those that select it."""

    cgroup: int
    command: str
    port: str
    policies: tuple[int, ...]


def targets(
    policies: Sequence[Policy], cgroups: Mapping[int, Party], unknown: Party | None, given: Given
) -> list[Entry]:
    """Return every row that is needed so that each socket's look-up finds what selects it.

    A known cgroup that is like the unknown ones has none; any other has one for (any command, any
    port), so that nothing of cgroup 0 is mixed in. `unknown` is who the sockets of other cgroups
    belong to; None: they are not selected. `given` is what the user says of all of them.
    """
    index = _Index(policies, given)
    known: dict[Party, dict[tuple[str, str], tuple[int, ...]]] = {}
    others = index.rows(unknown) if unknown else {(OTHER, OTHER): ()}
    # What is not found at all is not selected.
    shown = {key: chosen for key, chosen in others.items() if chosen or key != (OTHER, OTHER)}
    entries = [Entry(UNKNOWN, *key, chosen) for key, chosen in shown.items()]
    for cgroup, party in cgroups.items():
        if party not in known:
            known[party] = index.rows(party)
        if known[party] != others:
            entries += [Entry(cgroup, *key, chosen) for key, chosen in known[party].items()]
    return entries


def fit(
    entries: list[Entry], most: int, cgroups: Mapping[int, Party], disputed: Collection[int]
) -> tuple[list[Entry], int]:
    """Return so many entries at the most, if leaving out cgroups is enough; and how many were.

    Their sockets are judged as those of unknown cgroups. That may open what a policy has selected, so
    none but `disputed` cgroups are: their servers are of whoever has made too many.
    """
    gone = surplus([entry.cgroup for entry in entries], most, cgroups, disputed)
    return [entry for entry in entries if entry.cgroup not in gone], len(gone)


class _Index:
    """Policies by a label that they ask for, so that not every one is asked about every cgroup."""

    def __init__(self, policies: Sequence[Policy], given: Given) -> None:
        self._policies = policies
        self._given = given
        self._by_pair: dict[tuple[str, str], list[int]] = {}
        self._others: list[int] = []
        for i, policy in enumerate(policies):
            for r in policy.selector.requirements:
                # These may be the socket's, and not the cgroup's.
                if r.operator is Operator.IN and r.key not in {COMMAND, PORT, SERVICE}:
                    for value in r.values:
                        self._by_pair.setdefault((r.key, value), []).append(i)
                    break
            else:
                self._others.append(i)

    def rows(self, party: Party) -> dict[tuple[str, str], tuple[int, ...]]:
        """Return the policies that select a cgroup's sockets, by command and port."""
        return pruned(self._given.spread(party, self._rows, ports=True))

    def _rows(self, party: Party) -> dict[tuple[str, str], tuple[int, ...]]:
        base = []
        conditions = []
        for i in self._candidates(party):
            policy = self._policies[i]
            if policy.namespace != party.namespace:
                continue
            fits, requirements = split(policy.selector, party)
            if fits and requirements:
                conditions.append(Condition(i, requirements))
            elif fits:
                base.append(i)
        found = selections(base, conditions, ports=True)
        return {key: tuple(sorted(chosen)) for key, chosen in found.items()}

    def _candidates(self, party: Party) -> Iterator[int]:
        yield from self._others
        for pair in party.pairs:
            yield from self._by_pair.get(pair, ())
