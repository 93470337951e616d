"""A workload's rules as bitmaps: for each thing that a request is judged by, the rules that allow it.

T. V. Lakshman, D. Stiliadis: High-Speed Policy-Based Packet Forwarding Using Efficient
Multi-dimensional Range Matching, 1998. A bitmap is an integer here; bit i is rule i.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from axon.policy.compiler.layout import DEPTH, Kind
from axon.policy.language.hosts import Host
from axon.policy.language.model import HttpRule, Policy, Rule
from axon.policy.language.paths import Glob


class Callers(NamedTuple):
    """Who the peers of an entry are: numbers of identities, and of combinations of blocks."""

    idents: frozenset[int] = frozenset()
    blocks: frozenset[int] = frozenset()


Who = Callable[[Policy, int], Callers]
"""Who may ask by a policy's entry of `ingress`, by its index; not asked for one without peers."""

Key = tuple[int, bytes]
"""What a bitmap is found by: kind << 8 | sub, and the text."""


@dataclass(slots=True)
class Bits:
    """The bitmaps of a set, as struct ax_pol_set describes them."""

    wild: list[int] = field(default_factory=lambda: [0] * DEPTH)
    length: list[int] = field(default_factory=lambda: [0] * (DEPTH + 2))
    opaque: int = 0
    any_from: int = 0
    any_method: int = 0
    any_host: int = 0
    any_port: int = 0
    keys: dict[Key, int] = field(default_factory=dict)
    ports: int = 0
    """How many ports are named."""

    def lone(self) -> dict[str, int]:
        """Return the bitmaps that a set's entry points to, by field."""
        names = ("opaque", "any_from", "any_method", "any_host", "any_port")
        return {name: getattr(self, name) for name in names}


def bits_of(rules: Sequence[Rule], who: Who) -> Bits:
    """Return the bitmaps of rules in this order."""
    bits = Bits()
    _paths(bits, rules)
    _methods_and_hosts(bits, rules)
    _ingress(bits, rules, who)
    return bits


def _paths(bits: Bits, rules: Sequence[Rule]) -> None:
    """Take in the rules' paths.

    A wildcard stands for a segment that is not empty, and an empty one can only be the last. The
    kernel therefore does not count `wild` for an empty segment; what a tail or no path at all
    allows there is listed as a literal.
    """
    keys, wild, length = bits.keys, bits.wild, bits.length
    tails = [0] * (DEPTH + 1)
    """By the number of segments before the tail."""
    for i, rule in enumerate(rules):
        bit = 1 << i
        pattern = rule.http.path
        if rule.opaque:
            bits.opaque |= bit
        if pattern is None:
            tails[0] |= bit
            length[0] |= bit
            continue
        for depth, segment in enumerate(pattern.segments):
            if segment is None or isinstance(segment, Glob):
                wild[depth] |= bit
            else:
                keys[depth, segment] = keys.get((depth, segment), 0) | bit
        n = len(pattern.segments)
        if pattern.tail:
            tails[n] |= bit
        else:
            length[n] |= bit
    below = 0
    for depth in range(DEPTH):
        below |= tails[depth]
        if below:
            wild[depth] |= below
            keys[depth, b""] = keys.get((depth, b""), 0) | below
            length[depth + 1] |= below
    length[DEPTH + 1] |= below | tails[DEPTH]


def _methods_and_hosts(bits: Bits, rules: Sequence[Rule]) -> None:
    keys = bits.keys
    methods: dict[str, int] = {}
    hosts: dict[Host, int] = {}
    for i, rule in enumerate(rules):
        bit = 1 << i
        http: HttpRule = rule.http
        for method in http.methods:
            methods[method] = methods.get(method, 0) | bit
        if not http.methods:
            bits.any_method |= bit
        if http.host is None:
            bits.any_host |= bit
        else:
            hosts[http.host] = hosts.get(http.host, 0) | bit
    for method, value in methods.items():
        keys[Kind.METHOD << 8, method.encode()] = value | bits.any_method
    tails = {host.name: value for host, value in hosts.items() if host.tail}
    for host, value in hosts.items():
        merged = value | bits.any_host
        for suffix in _suffixes(host.name):
            merged |= tails.get(suffix, 0)
        if host.tail:
            keys[Kind.TAIL << 8, host.name.encode()[::-1]] = merged
        else:
            keys[Kind.HOST << 8, host.name.encode()] = merged


def _suffixes(name: str) -> list[str]:
    """Return what tails a host could have: of `a.b.c` they are `.b.c` and `.c`."""
    return [name[at:] for at in range(1, len(name)) if name[at] == "."]


def _ingress(bits: Bits, rules: Sequence[Rule], who: Who) -> None:
    """Take in the rules' peers and ports, which are those of their entries."""
    ports: dict[int, int] = {}
    peers: dict[Callers, int] = {}
    for rule, value in _entries(rules):
        ingress = rule.ingress
        if not ingress.ports:
            bits.any_port |= value
        for first, last in ingress.ports:
            for port in range(first, last + 1):
                ports[port] = ports.get(port, 0) | value
        if ingress.peers:
            callers = who(rule.policy, rule.number >> 8)
            peers[callers] = peers.get(callers, 0) | value
        else:
            bits.any_from |= value
    bits.ports = len(ports)
    for port, value in ports.items():
        bits.keys[Kind.PORT << 8, _number(port)] = value | bits.any_port
    _peers(bits, peers)


def _peers(bits: Bits, peers: Mapping[Callers, int]) -> None:
    for kind, which in ((Kind.IDENT, 0), (Kind.BLOCK, 1)):
        found: dict[int, int] = {}
        for callers, value in peers.items():
            for number in callers[which]:
                found[number] = found.get(number, 0) | value
        for number in sorted(found):
            bits.keys[kind << 8, _number(number)] = found[number] | bits.any_from


def _number(number: int) -> bytes:
    """Return a number as the text that it is hashed as."""
    return number.to_bytes(4, "little")


def _entries(rules: Sequence[Rule]) -> Iterable[tuple[Rule, int]]:
    """Return one rule of each entry of `ingress`, and the bitmap of all of the entry's."""
    entries: dict[int, tuple[Rule, int]] = {}
    for i, rule in enumerate(rules):
        key = id(rule.ingress)
        before = entries.get(key)
        entries[key] = (rule, before[1] | 1 << i if before else 1 << i)
    return entries.values()
