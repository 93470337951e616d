"""Reads who may ask, and on which ports."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from axon.policy.files.fields import Access
from axon.policy.files.selecting import SelectorReader, Side
from axon.policy.files.source import Node, Scalar
from axon.policy.language.model import Block, Network, Peer, Ports, within

EVERY_PORT: Final = Ports(1, 65535)

_ANY_PORT = "write its number, or leave the field out for every port"
_EVERYBODY = "write {} for everybody of these namespaces, or leave the field out"
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class PeerReader:
    """Reads the entries of `from` and of `ports`."""

    def __init__(self, access: Access, selectors: SelectorReader) -> None:
        self._access = access
        self._problems = access.problems
        self._selectors = selectors

    def peer(self, node: Node) -> Peer | None:
        """Return who may ask."""
        fields = self._access.fields(
            node, "an entry of from", ("podSelector", "namespaceSelector", "ipBlock")
        )
        if fields is None:
            return None
        namespaces, block = fields.get("namespaceSelector"), fields.get("ipBlock")
        pods = (
            fields.get("podSelector")
            if namespaces is None
            else self._access.meant(fields, "podSelector", _EVERYBODY)
        )
        if pods is None and namespaces is None and block is None:
            self._problems.add(
                node.mark,
                "an entry of from that names nobody",
                "write podSelector, namespaceSelector or ipBlock; leave from out for everybody",
            )
            return None
        if block is not None and (pods or namespaces):
            self._problems.add(
                fields.key("ipBlock"),
                "ipBlock stands beside a selector",
                "write them as two entries of from",
            )
        read = self._selectors.selector
        return Peer(
            None if pods is None else read(pods, "podSelector", Side.CALLER),
            None if namespaces is None else read(namespaces, "namespaceSelector", Side.NAMESPACE),
            None if block is None else self._block(block),
        )

    def _block(self, node: Node) -> Block | None:
        fields = self._access.fields(node, "ipBlock", ("cidr", "except"))
        if fields is None:
            return None
        cidr = fields.get("cidr")
        if cidr is None:
            self._problems.add(node.mark, "ipBlock needs a cidr", "write cidr: 10.0.0.0/8")
            return None
        network = self.network(cidr, "cidr")
        if network is not None:
            self._check_source(cidr, network)
        excepts = []
        before = len(self._problems)
        without = self._access.meant(fields, "except", "write [NETWORK], or leave the field out")
        for item in self._access.items(without, "except"):
            inner = self.network(item, "except")
            if network is not None and inner is not None:
                excepts.append(inner)
                self._check_except(item, inner, network)
        nothing_left = network is not None and network in _collapsed(excepts)
        if nothing_left and len(self._problems) == before:
            self._problems.add(
                fields.key("except"), f"except leaves nothing of {network}", "remove some of it"
            )
        return None if network is None else Block(network, tuple(excepts))

    def _check_source(self, node: Node, network: Network) -> None:
        """Take note if no connection comes from a network."""
        if network.is_unspecified:
            everybody = network.supernet(new_prefix=0)
            self._problems.add(
                node.mark,
                f"nobody has the address {network.network_address}",
                f"write {everybody} for every address",
            )
        elif network.is_multicast:
            self._problems.add(
                node.mark,
                f"nobody asks from {network}, which is multicast",
                "write addresses of callers",
            )

    def _check_except(self, node: Node, inner: Network, network: Network) -> None:
        if within(network, inner):
            what = f"{inner} leaves nothing of {network}"
        elif not within(inner, network):
            what = f"{inner} is not within {network}"
        else:
            return
        remedy = f"write a smaller network that is within {network}, or remove it"
        self._problems.add(node.mark, what, remedy)

    def network(self, node: Node, what: str, *, alone: bool = False) -> Network | None:
        """Return a network; with `alone` an address by itself stands for that one."""
        remedy = "write an address and its bits, such as 10.0.0.0/8"
        text = self._access.filled(node, what, remedy)
        if text is None:
            return None
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            self._problems.add(node.mark, f"{text!r} is no network", remedy)
            return None
        if "/" not in text and not alone:
            self._problems.add(node.mark, f"{text} has no /BITS", f"write {network}")
        elif ipaddress.ip_interface(text).ip != network.network_address:
            self._problems.add(node.mark, f"{text} has bits behind its prefix", f"write {network}")
        elif "." in text.partition("/")[2]:
            self._problems.add(node.mark, f"{text} has a mask", f"write {network}")
        elif network.version == 6 and network.subnet_of(_MAPPED):
            inner = ipaddress.ip_address(int(network.network_address) & 0xFFFFFFFF)
            self._problems.add(
                node.mark, f"{text} is IPv4 in IPv6", f"write {inner}/{network.prefixlen - 96}"
            )
        return network

    def ports(self, node: Node) -> Ports | None:
        """Return ports; EVERY_PORT where none is named."""
        fields = self._access.fields(node, "an entry of ports", ("port", "endPort", "protocol"))
        if fields is None:
            return None
        port = self._access.meant(fields, "port", _ANY_PORT)
        end, protocol = fields.get("endPort"), fields.get("protocol")
        if protocol is not None and self._access.text(protocol, "protocol") != "TCP":
            shown = (protocol.value or '""') if isinstance(protocol, Scalar) else "this"
            self._problems.add(
                protocol.mark,
                f"protocol {shown} carries no HTTP/1",
                "write TCP, or remove the entry",
            )
        if port is None:
            if end is not None:
                self._problems.add(end.mark, "endPort without port", "write port: FIRST beside it")
            return EVERY_PORT
        if isinstance(port, Scalar) and not port.value:
            self._problems.add(port.mark, "the port is empty", _ANY_PORT)
            return None
        if isinstance(port, Scalar) and not re.fullmatch(r"[-+]?[0-9]+", port.value):
            self._problems.add(
                port.mark,
                f"the port has a name, {port.value}, and a host does not know what is meant by it",
                "write its number",
            )
            return None
        first = self._access.number(port, "port", 1, 65535)
        last = first if end is None else self._access.number(end, "endPort", first or 1, 65535)
        if first is None or last is None:
            return None
        return Ports(first, last)


def _collapsed(networks: list[Network]) -> list[Network]:
    """Return the same addresses in as few networks as there can be."""
    four = [net for net in networks if isinstance(net, ipaddress.IPv4Network)]
    six = [net for net in networks if isinstance(net, ipaddress.IPv6Network)]
    return [*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six)]
