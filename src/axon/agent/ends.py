"""The other end of a connection, by what is known of this host's addresses.

A series has its peer's address and the server's port, but not its own address. Flow records have
both ends, so which service listens where, and which addresses are this host's, is learned from them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import numpy as np

from axon.agent.flows import Who, address
from axon.agent.matching import Flows
from axon.kernel import Abi

_MOST = 65_536
_NOBODY = bytes(16)


class Ends:
    """Names peers. `who(record)` is the local service of a flow record."""

    def __init__(self, abi: Abi, who: Callable[[Any], Who], *, clients: bool) -> None:
        """`clients`: whether the clients' side is observed too."""
        self._who = who
        self._server = abi.enum("ax_role")["AX_ROLE_SERVER"]
        self._clients = clients
        self._local: set[bytes] = set()
        self._listening: dict[tuple[bytes, int], str] = {}
        self._on_port: dict[int, set[str]] = {}

    def learn(self, flows: Flows) -> set[str]:
        """Take in the ends of flow records; return the names of peers that are outdated now."""
        server = flows["role"] == self._server
        port = np.where(server, flows["lport"], 0)
        ends = np.zeros(len(flows), [("address", "V16"), ("port", "u2")])
        ends["address"] = flows["laddr"].view("V16")[:, 0] if len(flows) else b""
        ends["port"] = port
        _, first = np.unique(ends, return_index=True)
        outdated: set[str] = set()
        for i in first.tolist():
            here, at = flows["laddr"][i].tobytes(), int(port[i])
            if here not in self._local and len(self._local) < _MOST:
                self._local.add(here)
                outdated.add(address(here))
            if at and len(self._listening) < _MOST:
                name = self._who(flows[i]).service
                if self._listening.get((here, at)) != name:
                    self._listening[here, at] = name
                    self._on_port.setdefault(at, set()).add(name)
                    outdated.add(_place(here, at))
        return outdated

    def peer(self, key: Any) -> str:
        """Return what to call the peer of a series (an ax_key), or nothing where it is unknown.

        The server of a request is a service of this host or an address with its port; the client an
        address. A client on this host has a series of its own, which names both: nothing here.
        """
        there = key["peer"].tobytes()
        if there == _NOBODY:
            return ""
        if key["role"] == self._server:
            local = there in self._local or ipaddress.ip_address(address(there)).is_loopback
            return "" if local and self._clients else address(there)
        port = int(key["port"])
        known = self._listening.get((there, port))
        if known is None and ipaddress.ip_address(address(there)).is_loopback:
            here = self._on_port.get(port, set())
            known = next(iter(here)) if len(here) == 1 else None
        return known or _place(there, port)


def _place(raw: bytes, port: int) -> str:
    text = address(raw)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
