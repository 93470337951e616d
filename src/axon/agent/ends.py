"""Both ends of a series by name: the service of this host, and its peer.

A series has its peer's address and the server's port, but not its own address. Flow records have
both ends, so which service was seen to serve where, and which addresses are this host's, is learned
from them; the rest is asked of the host's own tables.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np

from axon.agent.flows import Who, address, command
from axon.agent.matching import Flows
from axon.identity import Identity
from axon.kernel import Abi

OTHER = Who("other", "")
"""Whose requests are counted in the two series that take what has no place of its own."""

_MOST = 65_536
_AGAIN = 10  # looks until unknown peers are asked for anew
_NOBODY = bytes(16)


class Ends:
    """Names the ends of series and flow records. `clients`: the clients' side is observed too."""

    def __init__(self, abi: Abi, identity: Identity, *, clients: bool) -> None:
        self._identity = identity
        self._server = abi.enum("ax_role")["AX_ROLE_SERVER"]
        self._clients = clients
        self._local: set[bytes] = set()
        self._served: dict[tuple[bytes, int], Who] = {}
        self._unknown: set[str] = set()
        self._looks = 0

    def of_series(self, key: Any, pid: int) -> Who:
        """Return the local service of an ax_key."""
        if not key["cgroup"]:
            return OTHER
        return self._who(key, int(key["port"]), pid)

    def of_flow(self, flow: Any) -> Who:
        """Return the local service of an ax_flow."""
        port = flow["lport"] if flow["role"] == self._server else flow["rport"]
        return self._who(flow, int(port), int(flow["pid"]))

    def peer(self, key: Any) -> str:
        """Return what to call the peer of a series, or nothing where it is unknown.

        A server is a service of this host, or an address with its port. A client is the address. A
        client on this host has a series of its own, which names both ends: nothing here.
        """
        there = key["peer"].tobytes()
        if there == _NOBODY:
            return ""
        if key["role"] == self._server:
            return self._client(there)
        port = int(key["port"])
        served = self._served.get((there, port))
        if served and not _is_loopback(there):
            return served.service
        found = self._identity.server_at(there, port, int(key["cgroup"]))
        if found is None and served:
            return served.service
        if found is None and len(self._unknown) < _MOST:
            self._unknown.add(_place(there, port))
        return found or _place(there, port)

    def learn(self, flows: Flows) -> set[str]:
        """Take in the ends of flow records; return the names of peers that are outdated now."""
        ends = np.zeros(len(flows), [("address", "V16"), ("port", "u2")])
        ends["address"] = np.ascontiguousarray(flows["laddr"]).view("V16")[:, 0]
        ends["port"] = np.where(flows["role"] == self._server, flows["lport"], 0)
        last = {raw: i for i, raw in enumerate(ends.view("V18").tolist())}
        outdated: set[str] = set()
        for raw, i in last.items():
            here, port = raw[:16], int(ends["port"][i])
            if here not in self._local and len(self._local) < _MOST:
                self._local.add(here)
                outdated.add(address(here))
            if port and len(self._served) < _MOST:
                who = self.of_flow(flows[i])
                if self._served.get((here, port)) != who:
                    self._served[here, port] = who
                    outdated.add(_place(here, port))
        return outdated

    def refresh(self) -> tuple[set[str], set[str]]:
        """Look for what was not known; return the services and the peers that are outdated now."""
        services = self._identity.refresh()
        self._served = {
            end: who for end, who in self._served.items() if who.service not in services
        }
        peers: set[str] = set()
        self._looks += 1
        if self._looks % _AGAIN == 0:
            peers, self._unknown = self._unknown, set()
        return services, peers | services

    def _who(self, record: Any, port: int, pid: int) -> Who:
        found = self._identity.workload(
            int(record["cgroup"]),
            command(record["comm"].tobytes()),
            port,
            server=bool(record["role"] == self._server),
            pid=pid,
        )
        return Who(found.name, found.namespace)

    def _client(self, there: bytes) -> str:
        if self._clients and (there in self._local or _is_loopback(there)):
            return ""
        return self._identity.resident_at(there) or address(there)


def _is_loopback(raw: bytes) -> bool:
    return ipaddress.ip_address(address(raw)).is_loopback


def _place(raw: bytes, port: int) -> str:
    text = address(raw)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
