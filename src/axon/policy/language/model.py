"""What a policy says: `L7NetworkPolicy` of `axon.dev/v1alpha1`, as it is meant.

A policy's rules are numbered by their place: entry of `ingress`, entry of its `httpRules`. Of all
rules that could decide a request the first in `rules_of` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from axon.policy.language.hosts import Host
from axon.policy.language.labels import Selector
from axon.policy.language.paths import Pattern
from axon.policy.language.problems import Mark

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

ENTRIES = 256

LONGEST_NAME = 128
"""Bytes of NAMESPACE/NAME, as answers and counters carry it."""
"""Entries of `ingress`, and of one `httpRules`; see struct ax_pol_rule."""


def within(inner: Network, outer: Network) -> bool:
    """Return whether all addresses of a network are in another one, which may be the same."""
    shift = outer.max_prefixlen - outer.prefixlen
    return (
        inner.version == outer.version
        and inner.prefixlen >= outer.prefixlen
        and int(inner.network_address) >> shift == int(outer.network_address) >> shift
    )


class Mode(StrEnum):
    """What becomes of a request that no rule allows."""

    ENFORCE = "enforce"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Block:
    """Addresses of a network, without those of some networks within it."""

    network: Network
    excepts: tuple[Network, ...] = ()

    def contains(self, address: Address) -> bool:
        """Return whether an address is meant."""
        return address in self.network and not any(address in net for net in self.excepts)

    def __str__(self) -> str:
        without = f" except {','.join(map(str, self.excepts))}" if self.excepts else ""
        return f"{self.network}{without}"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who may ask: everybody with some labels in some namespaces, or whoever is in a block.

    Without `namespaces` the policy's own is meant.
    """

    pods: Selector | None = None
    namespaces: Selector | None = None
    block: Block | None = None

    def __str__(self) -> str:
        if self.block:
            return str(self.block)
        where = f" in namespaces with {self.namespaces}" if self.namespaces is not None else ""
        return f"{self.pods or 'everybody'}{where}"


class Ports(NamedTuple):
    """Ports from the first to the last, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class HttpRule:
    """A request that is allowed. No methods, no path or no host: any."""

    methods: tuple[str, ...] = ()
    path: Pattern | None = None
    host: Host | None = None
    mark: Mark | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        host = f" at {self.host}" if self.host else ""
        return f"{','.join(self.methods) or '*'} {self.path.text if self.path else '*'}{host}"


@dataclass(frozen=True, slots=True)
class Ingress:
    """Who may ask for what on which ports. No peers: everybody; no ports: every port.

    `rules` is None where bytes pass that nothing is known of.
    """

    peers: tuple[Peer, ...] = ()
    ports: tuple[Ports, ...] = ()
    rules: tuple[HttpRule, ...] | None = None
    mark: Mark | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy. `non_http`: what is no readable HTTP/1 is let by."""

    name: str
    namespace: str
    selector: Selector
    ingress: tuple[Ingress, ...] = ()
    mode: Mode = Mode.ENFORCE
    non_http: bool = False
    mark: Mark | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """What tells policies apart."""
        return self.namespace, self.name

    @property
    def digest(self) -> str:
        """Another text whenever the policy says something else, the same in every process."""
        return blake2b(repr(self).encode(), digest_size=12).hexdigest()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


_OPAQUE = HttpRule()


class Rule(NamedTuple):
    """A rule in its policy; `number` is that of struct ax_pol_rule."""

    policy: Policy
    ingress: Ingress
    http: HttpRule
    number: int

    @property
    def opaque(self) -> bool:
        """Whether its peers pass unparsed."""
        return self.ingress.rules is None

    @property
    def mark(self) -> Mark | None:
        """Where it is written."""
        return self.ingress.mark if self.opaque else self.http.mark

    @property
    def where(self) -> str:
        """Its place in its policy, as a person counts fields: `ingress[0].httpRules[2]`."""
        place = f"ingress[{self.number >> 8}]"
        return place if self.opaque else f"{place}.httpRules[{self.number & 0xFF}]"

    def __str__(self) -> str:
        return "anything, unparsed" if self.opaque else str(self.http)


def rules_of(policies: Iterable[Policy]) -> list[Rule]:
    """Return the rules of policies: those that enforce, then those that audit, and of each the
    specific before the general, by path, then host, then method, then caller.
    """
    rules = [
        Rule(policy, ingress, http, i << 8 | j)
        for policy in policies
        for i, ingress in enumerate(policy.ingress)
        for j, http in enumerate((_OPAQUE,) if ingress.rules is None else ingress.rules)
    ]
    rules.sort(key=_rank)
    return rules


_ANY_PATH = b"\x04"
_ANYTHING = b"\x05"


def _rank(rule: Rule) -> tuple[object, ...]:
    http = rule.http
    host = http.host
    return (
        rule.policy.mode is Mode.AUDIT,
        http.path.rank if http.path else _ANYTHING if rule.opaque else _ANY_PATH,
        (2, 0) if host is None else (1, -len(host.name)) if host.tail else (0, 0),
        not http.methods,
        not rule.ingress.peers,
        rule.policy.namespace,
        rule.policy.name,
        rule.number,
    )
