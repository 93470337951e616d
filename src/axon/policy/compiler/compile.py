"""Compiles policies into what the kernel is given: pure, and only what has changed anew.

Numbers are stable: a policy, a set of labels and a combination of blocks keep theirs from one
compilation to the next, and a set whose content is the same is the same `Image`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from axon.errors import PolicyError
from axon.policy.compiler import keys, layout
from axon.policy.compiler.hashing import Hashes
from axon.policy.compiler.image import Image, build
from axon.policy.compiler.sets import Callers
from axon.policy.language.labels import Party
from axon.policy.language.model import Block, Network, Policy
from axon.policy.parties import blocks, callers, targets
from axon.policy.parties.given import NOTHING, Given
from axon.policy.parties.registry import Registry

_ANYBODY = Party.of({})


@dataclass(frozen=True, slots=True)
class Host:
    """Who is there. `cgroups` are the known ones by id, `networks` addresses of other hosts.

    `unknown` is who the servers of other cgroups are, None if they are not to be selected. Labels
    are those of a cgroup: unit, container and service; command and port are added, and what the
    user has `given`. Sockets of cgroups with greater ids than `newest` are held, which are not known
    yet; 0: none are. `disputed` cgroups were made by somebody else than root.
    """

    cgroups: Mapping[int, Party] = field(default_factory=dict)
    networks: Mapping[Network, Party] = field(default_factory=dict)
    unknown: Party | None = _ANYBODY
    given: Given = NOTHING
    newest: int = 0
    disputed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Entries that the kernel's maps have room for, in each half."""

    targets: int = 16_384
    callers: int = 16_384
    addresses: int = 32_768


@dataclass(frozen=True)
class Compiled:
    """One generation.

    `images[i]` is set i + 1. `targets` and `sets`, `callers` and `idents`, `addresses` and `peers`
    are keys and values of the kernel's maps, of types layout.TARGET and u32, CALLER and u32, ADDR
    and PEER, all for half 0: see `for_half`. `names` are the policies' texts by number, `parties`
    the callers' labels by theirs. Where cgroups are too many, who calls from `left_out` of them is
    unknown, and what serves in `unselected` is judged as in an unknown one.
    """

    images: tuple[Image, ...]
    targets: NDArray[Any]
    sets: NDArray[np.uint32]
    callers: NDArray[Any]
    idents: NDArray[np.uint32]
    addresses: NDArray[Any]
    peers: NDArray[Any]
    names: Mapping[int, str]
    parties: Mapping[int, Party]
    policies: Mapping[int, Policy]
    left_out: int = 0
    unselected: int = 0


def for_half(keys: NDArray[Any], half: int) -> NDArray[Any]:
    """Return keys of `targets`, `callers` or `addresses` for a half of the maps, 0 or 1."""
    keys = keys.copy()
    keys["half"] = half
    return keys


def name_of(text: str) -> NDArray[Any]:
    """Return the row of ax_pol_names for a policy, shape ()."""
    row = np.zeros((), layout.TEXT)
    raw = text.encode()[: layout.NAME]
    row["len"] = len(raw)
    row["text"][: len(raw)] = list(raw)
    return row


@dataclass(slots=True)
class _State:
    """A policy as it is compiled. `stamp` is another one whenever its image would be."""

    policy: Policy
    number: int
    callers: tuple[Callers, ...]
    stamp: int


class _Numbers(NamedTuple):
    """What has numbers."""

    policies: Registry[tuple[str, str]]
    idents: Registry[Party]
    combinations: Registry[frozenset[Block]]

    def copy(self) -> _Numbers:
        return _Numbers(self.policies.copy(), self.idents.copy(), self.combinations.copy())


class _Last(NamedTuple):
    """What the next generation goes on from if this one is accepted."""

    numbers: _Numbers
    states: dict[tuple[str, str], _State]
    images: dict[tuple[int, ...], Image]


class Compiler:
    """Compiles one generation after the other. `secret` keys the hashes of the sets' tables.

    `known` are policies by their numbers of before, NAMESPACE/NAME, which they keep: what was
    counted for them is not to be another's.
    """

    def __init__(
        self, secret: int, bounds: Bounds | None = None, known: Mapping[int, str] | None = None
    ) -> None:
        self._bounds = bounds or Bounds()
        self._hashes = Hashes(secret)
        self._numbers = _Numbers(
            Registry(1, layout.POLICIES, "policies"),
            Registry(layout.IDENT_FIRST, 1 << 31, "sets of labels"),
            Registry(1, 1 << 31, "address blocks"),
        )
        self._numbers.policies.take({number: _key(text) for number, text in (known or {}).items()})
        self._states: dict[tuple[str, str], _State] = {}
        self._images: dict[tuple[int, ...], Image] = {}
        self._last = _Last(self._numbers, self._states, self._images)
        self._stamps = count(1)

    def compile(self, policies: Iterable[Policy], host: Host) -> Compiled:
        """Return a generation for these policies on this host.

        Raise PolicyError, which names the policy and the bound, if they exceed one. The next
        generation goes on from the last that was accepted.
        """
        chosen = self._distinct(policies)
        numbers = self._numbers.copy()
        numbers.policies.keep({policy.key for policy in chosen})
        population = callers.populate(
            chosen, host.cgroups, host.networks, numbers.idents, host.given
        )
        cut = blocks.cut(_blocks(chosen), population.networks, numbers.combinations)
        states = [
            self._state(policy, numbers.policies[policy.key], population, cut) for policy in chosen
        ]
        rows = targets.targets(chosen, host.cgroups, host.unknown, host.given)
        rows, unselected = targets.fit(rows, self._bounds.targets, host.cgroups, host.disputed)
        left_out = population.fit(self._bounds.callers, host.cgroups, host.disputed)
        self._check(rows, population, cut)
        sets, images = self._sets(rows, states)
        self._last = _Last(numbers, {state.policy.key: state for state in states}, images)
        return Compiled(
            tuple(images.values()),
            keys.of_targets(rows),
            np.array([sets[row.policies] for row in rows], np.uint32),
            keys.of_callers(population.entries),
            np.array([entry.ident for entry in population.entries], np.uint32),
            keys.of_addresses(cut.entries),
            np.array([(e.ident, e.block) for e in cut.entries], layout.PEER),
            {state.number: str(state.policy) for state in states},
            population.parties,
            {state.number: state.policy for state in states},
            left_out,
            unselected,
        )

    def accept(self) -> None:
        """Go on from what was compiled last: it is in force."""
        self._numbers, self._states, self._images = self._last

    def _distinct(self, policies: Iterable[Policy]) -> list[Policy]:
        """Return policies by name, those that have not changed as the objects they were."""
        chosen: dict[tuple[str, str], Policy] = {}
        for policy in policies:
            if policy.key in chosen:
                raise PolicyError(f"There are two policies {policy}: give one another name.")
            before = self._states.get(policy.key)
            same = before is not None and before.policy == policy
            chosen[policy.key] = before.policy if before and same else policy
        return [chosen[key] for key in sorted(chosen)]

    def _state(
        self, policy: Policy, number: int, population: callers.Population, cut: blocks.Blocks
    ) -> _State:
        found = tuple(_callers(policy, i, population, cut) for i in range(len(policy.ingress)))
        before = self._states.get(policy.key)
        if (
            before
            and before.policy is policy
            and (before.number, before.callers) == (number, found)
        ):
            return before
        return _State(policy, number, found, next(self._stamps))

    def _check(
        self, rows: Sequence[targets.Entry], population: callers.Population, cut: blocks.Blocks
    ) -> None:
        for number, most, what, remedy in (
            (len(rows), self._bounds.targets, "combinations of cgroup, command and port",
             "select fewer commands and ports beside each other"),
            (len(population.entries), self._bounds.callers, "combinations of cgroup and command",
             "name fewer commands of callers"),
            (len(cut.entries), self._bounds.addresses, "networks",
             "name fewer networks under ipBlock"),
        ):  # fmt: skip
            if number > most:
                raise PolicyError(
                    f"The policies need {number:,} {what}, and Axon has room for {most:,}: "
                    f"{remedy}. Nothing was changed."
                )

    def _sets(
        self, rows: Sequence[targets.Entry], states: Sequence[_State]
    ) -> tuple[dict[tuple[int, ...], int], dict[tuple[int, ...], Image]]:
        """Return the number of each selection of policies, and the images in their order, by stamps."""
        selections = dict.fromkeys(row.policies for row in rows if row.policies)
        if len(selections) >= layout.SETS:
            last = states[next(reversed(selections))[-1]].policy
            raise PolicyError(
                f"The policies select workloads in {len(selections):,} different ways, and Axon has "
                f"room for {layout.SETS - 1:,}: let {last} and others select more workloads each. "
                "Nothing was changed."
            )
        images = {}
        by_key = {state.policy.key: state for state in states}
        numbers = {state.policy.key: state.number for state in states}
        for selection in selections:
            chosen = [states[i] for i in selection]
            stamps = tuple(state.stamp for state in chosen)
            images[stamps] = self._images.get(stamps) or build(
                [state.policy for state in chosen],
                numbers,
                lambda policy, entry: by_key[policy.key].callers[entry],
                self._hashes,
            )
        return {(): 0} | {s: i for i, s in enumerate(selections, 1)}, images


def _key(text: str) -> tuple[str, str]:
    namespace, _, name = text.partition("/")
    return namespace, name


def _callers(
    policy: Policy, entry: int, population: callers.Population, cut: blocks.Blocks
) -> Callers:
    """Return who the peers of an entry of `ingress` are."""
    idents: set[int] = set()
    numbers: set[int] = set()
    for peer in policy.ingress[entry].peers:
        if peer.block:
            numbers |= cut.of(peer.block)
        else:
            idents |= population.of(peer, policy.namespace)
    return Callers(frozenset(idents), frozenset(numbers))


def _blocks(policies: Iterable[Policy]) -> set[Block]:
    return {
        peer.block
        for policy in policies
        for ingress in policy.ingress
        for peer in ingress.peers
        if peer.block
    }
