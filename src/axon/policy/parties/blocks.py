"""ipBlocks and known addresses, cut into networks of which the longest that fits says everything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, NamedTuple

from axon.policy.language.model import Block, Network, within
from axon.policy.parties.registry import Registry

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_EVERY_IPV4: Final = IPv4Network("0.0.0.0/0")


class Entry(NamedTuple):
    """A row of ax_pol_addr: bits of the mapped address, its 16 bytes, and what they stand for."""

    bits: int
    address: bytes
    ident: int
    block: int


@dataclass(frozen=True, slots=True)
class Blocks:
    """`entries` for the trie, and for each block the numbers of the combinations that it is in."""

    entries: tuple[Entry, ...] = ()
    numbers: Mapping[Block, frozenset[int]] | None = None

    def of(self, block: Block) -> frozenset[int]:
        """Return the numbers of the combinations that a block is in."""
        return self.numbers.get(block, frozenset()) if self.numbers else frozenset()


def cut(
    blocks: Collection[Block],
    idents: Mapping[Network, int],
    registry: Registry[frozenset[Block]],
) -> Blocks:
    """Return what addresses stand for.

    `idents` are the identities of networks outside this host; `registry` numbers combinations of
    blocks, from 1 on. The addresses of one combination lie in the same blocks, all exceptions
    considered.
    """
    by_network: dict[Network, list[Block]] = {}
    by_except: dict[Network, list[Block]] = {}
    for block in blocks:
        by_network.setdefault(block.network, []).append(block)
        for net in block.excepts:
            by_except.setdefault(net, []).append(block)
    numbers: dict[Block, set[int]] = {block: set() for block in blocks}
    networks: set[Network] = {*by_network, *by_except, *idents}
    if any(isinstance(net, IPv6Network) and net.supernet_of(_MAPPED) for net in networks):
        # In the trie every IPv4 address lies in ::/0; here that ends.
        networks.add(_EVERY_IPV4)
    alive = set()
    entries = []
    around: list[_State] = []
    for net in sorted(networks, key=_order):
        while around and not within(net, around[-1].network):
            around.pop()
        outer = around[-1] if around else _State(net, frozenset(), 0, 0)
        inside = (outer.inside | set(by_network.get(net, ()))) - set(by_except.get(net, ()))
        number = registry[inside] if inside else 0
        here = _State(net, inside, idents.get(net, outer.ident), number)
        around.append(here)
        alive.add(inside)
        for block in inside:
            numbers[block].add(number)
        if (here.ident, number) != (outer.ident, outer.number) or net == _EVERY_IPV4:
            entries.append(Entry(*mapped(net), here.ident, number))
    registry.keep(alive)
    return Blocks(tuple(entries), {block: frozenset(found) for block, found in numbers.items()})


class _State(NamedTuple):
    """What holds in a network where none of those within it says otherwise."""

    network: Network
    inside: frozenset[Block]
    ident: int
    number: int


def mapped(net: Network) -> tuple[int, bytes]:
    """Return the bits and the 16 bytes of a network, IPv4 mapped."""
    if isinstance(net, IPv6Network):
        return net.prefixlen, net.network_address.packed
    return net.prefixlen + 96, _MAPPED.network_address.packed[:12] + net.network_address.packed


def _order(net: Network) -> tuple[int, int, int]:
    """Sort networks so that each stands behind all that it lies in."""
    return net.version, int(net.network_address), net.prefixlen
