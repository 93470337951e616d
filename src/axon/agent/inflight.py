"""Requests in flight and open sockets by their names, looked at when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from axon.agent.flows import Who
from axon.agent.matching import method_names
from axon.api import schema
from axon.export import active
from axon.export.active import Flight, Role
from axon.export.families import Family
from axon.export.series import Series
from axon.kernel import Active, Kernel
from axon.log import get

_ROLES: tuple[Role, ...] = ("server", "client")
_KINDS = {
    "AX_KIND_HTTP": "http1",
    "AX_KIND_TLS": "tls",
    "AX_KIND_HTTP2": "http2",
    "AX_KIND_UPGRADED": "upgraded",
    "AX_KIND_OPAQUE": "other",
    "AX_KIND_BROKEN": "broken",
    "AX_KIND_NEW": "unread",
    "AX_KIND_SYNC": "unread",
}
"""What a socket carries. AX_KIND_CLOSED is about to be freed."""

_log = get("agent")


class InFlight:
    """What is in flight and open, where the kernel can tell.

    `who(record, pid)` names the local service of an ax_active.
    """

    def __init__(self, kernel: Kernel, who: Callable[[Any, int], Who]) -> None:
        self._kernel = kernel
        self._who = who
        self._methods = method_names(kernel.abi)
        self._roles = {
            role: kernel.abi.enum("ax_role")[f"AX_ROLE_{role.upper()}"] for role in _ROLES
        }
        self._kinds = kernel.abi.enum("ax_kind")
        self._told = False
        fields = kernel.abi.active.fields
        self._grouped = fields["method"][1] + 1 if fields else 0
        """Bytes at the beginning of a record by which requests are told apart."""

    def families(self, known: Iterable[Series]) -> list[Family]:
        """Return the gauges; nothing where the kernel cannot tell.

        Whatever has a series in `known` is there, with 0 if it has nothing in flight.
        """
        look = self._look()
        if look is None:
            return []
        flights: dict[Role, dict[Flight, int]] = {role: {} for role in _ROLES}
        for one in known:
            flight = Flight(one.service, one.namespace, one.port, one.method)
            flights[one.role][flight] = 0
        for record, requests in self._groups(look):
            role: Role = "server" if record["role"] == self._roles["server"] else "client"
            who = self._who(record, int(record["pid"]))
            method = self._methods.get(int(record["method"]), "")
            flight = Flight(who.service, who.namespace, int(record["port"]), method)
            flights[role][flight] = flights[role].get(flight, 0) + requests
        return [*active.requests(flights), *active.sockets(self._sockets(look))]

    def status(self) -> dict[Role, schema.InFlight]:
        """Return what the API says of each side; nothing where the kernel cannot tell."""
        look = self._look()
        return (
            {role: self._side(look, number) for role, number in self._roles.items()} if look else {}
        )

    def _look(self) -> Active | None:
        try:
            return self._kernel.active()
        except OSError as error:
            if not self._told:
                _log.error("requests in flight cannot be read", error=error)
            self._told = True
            return None

    def _groups(self, look: Active) -> Iterable[tuple[Any, int]]:
        """Yield one record of each workload and method, and its requests in flight."""
        size = look.flights.dtype.itemsize
        rows = look.flights.view("u1").reshape(-1, size)[:, : self._grouped]
        keys = np.ascontiguousarray(rows).view(f"V{self._grouped}")[:, 0]
        order = np.argsort(keys, kind="stable")
        keys, flights = keys[order], look.flights[order]
        first = np.ones(len(keys), np.bool_)
        first[1:] = keys[1:] != keys[:-1]
        group = np.cumsum(first) - 1
        requests = np.bincount(group, flights["requests"]).astype(np.int64)
        return zip(flights[first], requests.tolist(), strict=True)

    def _sockets(self, look: Active) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for kind, name in _KINDS.items():
            for role, number in self._roles.items():
                key = name, role if name == "http1" else ""
                found[key] = found.get(key, 0) + int(look.open[number, self._kinds[kind]])
        return found

    def _side(self, look: Active, role: int) -> schema.InFlight:
        mine = look.flights[look.flights["role"] == role]
        since = mine["since"][mine["since"] > 0]
        return schema.InFlight(
            connections=int(look.open[role, self._kinds["AX_KIND_HTTP"]]),
            requests=int(mine["requests"].sum()),
            oldest=max(0, look.t_ns - int(since.min())) / 1e9 if len(since) else None,
        )
