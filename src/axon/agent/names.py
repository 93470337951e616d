"""From kernel keys to names: who serves or calls, by which route, whom."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from axon.agent.flows import Who, address, error_names, version_names
from axon.agent.matching import method_names
from axon.export.series import Series
from axon.kernel import Abi
from axon.snapshot import Grouping, Snapshot
from axon.snapshot.sparse import Rows


class Names:
    """Series by their names.

    `who(key, pid)` and `peer(key)` name the ends of an ax_key, `route(id)` its route.
    """

    def __init__(
        self,
        abi: Abi,
        route: Callable[[int], str],
        who: Callable[[Any, int], Who],
        peer: Callable[[Any], str],
    ) -> None:
        self._route = route
        self._who = who
        self._peer = peer
        self._methods = method_names(abi)
        self._versions = version_names(abi)
        self._errors = error_names(abi)
        self._server = abi.enum("ax_role")["AX_ROLE_SERVER"]
        self._grouping = Grouping(self._name)

    @property
    def series(self) -> list[Series]:
        """Every distinct series."""
        return self._grouping.labels

    def of(self, snapshot: Snapshot) -> Rows:
        """Return (n,) the index in `series` of each row.

        The same array is returned for as long as neither rows nor names change.
        """
        return self._grouping.of(snapshot)

    def forget(self, services: set[str], peers: set[str]) -> None:
        """Ask anew for series of these services, and for those with these peers."""

        def stale(one: Series) -> bool:
            return one.service in services or one.peer in peers

        if (services or peers) and any(map(stale, self.series)):
            self._grouping.forget(stale)

    def _name(self, key: Any, pid: int) -> Series:
        who = self._who(key, pid)
        serves = bool(key["role"] == self._server)
        return Series(
            role="server" if serves else "client",
            service=who.service,
            namespace=who.namespace,
            method=self._methods.get(int(key["method"]), "_OTHER"),
            route=self._route(int(key["route"])),
            port=_same(int(key["port"])),
            status=_same(int(key["status"])),
            error=self._errors.get(int(key["error"])) or "",
            version=self._versions[int(key["version"])],
            peer=sys.intern(self._peer(key)),
            server_address="" if serves else _asked(key["peer"].tobytes()),
        )


def _asked(there: bytes) -> str:
    """Return the address that a client has asked, or nothing where peers are not told apart."""
    return sys.intern(address(there)) if any(there) else ""


@lru_cache(1024)
def _same(number: int) -> int:
    """Return one object for all equal numbers: a series has them for as long as it lives."""
    return number
