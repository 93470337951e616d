"""Who is at the ends of a series: services of this host, or addresses."""

from __future__ import annotations

import ipaddress
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from axon.agent.ends import OTHER, Ends
from axon.identity import Identity, Workload
from axon.kernel import Abi, load_abi


def raw(text: str) -> NDArray[np.uint8]:
    """Return an address as the kernel has it."""
    ip = ipaddress.ip_address(text)
    mapped = ipaddress.IPv6Address(f"::ffff:{ip}") if ip.version == 4 else ip
    return np.frombuffer(mapped.packed, np.uint8)


class Known:
    """An identity that knows what it is told."""

    def __init__(self) -> None:
        self.listening: dict[tuple[str, int], str] = {}
        self.residents: dict[str, str] = {}
        self.outdated: set[str] = set()

    def workload(self, cgroup: int, *_: object, **__: object) -> Workload:
        """Name a workload by its cgroup."""
        return Workload(name=f"unit{cgroup}", namespace="slice")

    def server_at(self, address: bytes, port: int, _: int = 0) -> str | None:
        """Return who listens there."""
        ip = ipaddress.IPv6Address(address)
        return self.listening.get((str(ip.ipv4_mapped or ip), port))

    def resident_at(self, address: bytes) -> str | None:
        """Return who has an address."""
        ip = ipaddress.IPv6Address(address)
        return self.residents.get(str(ip.ipv4_mapped or ip))

    def refresh(self) -> set[str]:
        """Return the names that are outdated."""
        return self.outdated


class Case:
    """Ends with an identity behind them."""

    def __init__(self, *, clients: bool = True) -> None:
        self.abi: Abi = load_abi()
        self.known = Known()
        self.ends = Ends(self.abi, cast("Identity", self.known), clients=clients)
        self.server = self.abi.enum("ax_role")["AX_ROLE_SERVER"]
        self.client = self.abi.enum("ax_role")["AX_ROLE_CLIENT"]

    def key(self, role: int, peer: str, port: int = 80) -> Any:
        """Return a series' key."""
        key = np.zeros((), self.abi.key)
        key["cgroup"], key["role"], key["port"], key["peer"] = 5, role, port, raw(peer)
        return key

    def flow(self, role: int, here: str, port: int, cgroup: int = 5) -> NDArray[Any]:
        """Return a flow record."""
        flow = np.zeros(1, self.abi.flow)
        flow["role"], flow["laddr"], flow["cgroup"] = role, raw(here), cgroup
        flow["lport"] = port
        return flow


@pytest.fixture
def case() -> Case:
    """Give ends that know nothing."""
    return Case()


def test_local_services(case: Case) -> None:
    """A series' own end is named by its cgroup; what has no place of its own is other."""
    key = case.key(case.server, "::")
    assert case.ends.of_series(key, 1).service == "unit5"
    key["cgroup"] = 0
    assert case.ends.of_series(key, 0) == OTHER
    assert case.ends.of_flow(case.flow(case.server, "10.0.0.1", 80)[0]).service == "unit5"


def test_a_peer_that_is_not_told_apart_has_no_name(case: Case) -> None:
    """Without an address there is nothing to say, on either side."""
    for role in (case.server, case.client):
        assert case.ends.peer(case.key(role, "::")) == ""


def test_a_remote_client_is_its_address(case: Case) -> None:
    """Who called from elsewhere is known by address, or as a container of this host."""
    assert case.ends.peer(case.key(case.server, "10.9.9.9")) == "10.9.9.9"
    assert case.ends.peer(case.key(case.server, "fd00::9")) == "fd00::9"
    case.known.residents["10.9.9.9"] = "docker:web"
    assert case.ends.peer(case.key(case.server, "10.9.9.9")) == "docker:web"


def test_a_client_on_this_host_speaks_for_itself(case: Case) -> None:
    """Its own series names both ends, so the server's series names none: no edge counts twice."""
    key = case.key(case.server, "10.0.0.1")
    assert case.ends.peer(key) == "10.0.0.1"
    assert case.ends.learn(case.flow(case.client, "10.0.0.1", 4000)) == {"10.0.0.1"}
    assert case.ends.peer(key) == ""
    assert case.ends.peer(case.key(case.server, "127.0.0.1")) == ""
    alone = Case(clients=False)
    assert alone.ends.peer(alone.key(alone.server, "127.0.0.1")) == "127.0.0.1"


def test_a_server_is_known_by_its_requests(case: Case) -> None:
    """Before a server was seen it is a place, afterwards a service; the old name is outdated."""
    key = case.key(case.client, "10.0.0.1", 8080)
    assert case.ends.peer(key) == "10.0.0.1:8080"
    assert case.ends.peer(case.key(case.client, "fd00::1", 8080)) == "[fd00::1]:8080"
    outdated = case.ends.learn(case.flow(case.server, "10.0.0.1", 8080, cgroup=7))
    assert "10.0.0.1:8080" in outdated
    assert case.ends.peer(key) == "unit7"
    assert case.ends.learn(case.flow(case.server, "10.0.0.1", 8080, cgroup=7)) == set()


def test_a_loopback_server_is_asked_for_where_the_caller_is(case: Case) -> None:
    """127.0.0.1 is another host in each network namespace: the host's own tables come first."""
    key = case.key(case.client, "127.0.0.1", 8080)
    case.ends.learn(case.flow(case.server, "127.0.0.1", 8080, cgroup=7))
    assert case.ends.peer(key) == "unit7"
    case.known.listening["127.0.0.1", 8080] = "mine"
    assert case.ends.peer(key) == "mine"


def test_what_was_unknown_is_asked_for_again(case: Case) -> None:
    """Places without a name come up for naming again, and so do services with better names."""
    case.ends.peer(case.key(case.client, "10.0.0.1", 8080))
    again: set[str] = set()
    for _ in range(10):
        again |= case.ends.refresh()[1]
    assert again == {"10.0.0.1:8080"}
    case.known.outdated = {"unit5"}
    assert case.ends.refresh() == ({"unit5"}, {"unit5"})


def test_an_empty_batch_teaches_nothing(case: Case) -> None:
    """No records, no change."""
    assert case.ends.learn(np.zeros(0, case.abi.flow)) == set()
