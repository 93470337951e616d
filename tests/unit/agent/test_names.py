"""From the kernel's keys to what is exported: which series are one, and which are told apart."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from axon.agent.flows import Who
from axon.agent.names import Names
from axon.export.series import Series
from axon.snapshot import Collector
from tests.unit.snapshot.fake import SECOND, FakeKernel


class Case:
    """A fake kernel whose workloads are all called web, and their peers shop."""

    def __init__(self, tmp_path: Path) -> None:
        self.kernel = FakeKernel()
        roles = self.kernel.abi.enum("ax_role")
        self.server, self.client = roles["AX_ROLE_SERVER"], roles["AX_ROLE_CLIENT"]
        self._collector = Collector(
            self.kernel, ledger=tmp_path / "ledger", idle_seconds=600, clock=self.kernel.clock
        )
        self._names = Names(
            self.kernel.abi, "/{}".format, lambda *_: Who("web", ""), lambda _: "shop"
        )

    def request(self, role: int, peer: bytes, times: int = 1) -> None:
        """Count requests, the other end of which has an address."""
        key = self.kernel.key(role=role, cgroup=1, port=80, method=1, route=5, status=200)
        key["peer"] = bytearray(peer)
        self.kernel.request(key, times=times)

    def counted(self) -> dict[Series, int]:
        """Look; return how many requests each series has, if any."""
        self.kernel.now += SECOND
        snapshot = self._collector.tick()
        found: dict[Series, int] = {}
        for at, count in zip(self._names.of(snapshot), snapshot.count.tolist(), strict=True):
            if count:
                series = self._names.series[at]
                found[series] = found.get(series, 0) + count
        return found


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Give a kernel that has counted nothing."""
    return Case(tmp_path)


def raw(address: str) -> bytes:
    """Return an address as the kernel has it."""
    return ipaddress.IPv6Address(address).packed


def test_a_clients_series_have_the_address_asked(case: Case) -> None:
    """One service with two addresses is two servers; IPv4 within IPv6 is written as IPv4."""
    asked = {"::ffff:127.0.0.1": 3, "::ffff:127.0.0.2": 4, "fd00::1": 5, "::1": 6, "::": 7}
    for address, times in asked.items():
        case.request(case.client, raw(address), times)
    counted = case.counted()
    assert {one.server_address: count for one, count in counted.items()} == {
        "127.0.0.1": 3,
        "127.0.0.2": 4,
        "fd00::1": 5,
        "::1": 6,
        "": 7,
    }
    assert {(one.role, one.peer, one.port) for one in counted} == {("client", "shop", 80)}


def test_a_servers_series_have_no_address(case: Case) -> None:
    """The address in the key is its client's: it makes no series more."""
    for address in ("::ffff:10.0.0.1", "::ffff:10.0.0.2", "::"):
        case.request(case.server, raw(address))
    ((series, count),) = case.counted().items()
    assert (series.role, series.server_address, count) == ("server", "", 3)
