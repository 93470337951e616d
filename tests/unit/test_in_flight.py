"""Requests in flight by their names, from records as the kernel writes them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from axon.agent.flows import Who
from axon.agent.inflight import InFlight
from axon.export.families import Scalars
from axon.export.series import Series
from axon.kernel import Active, Kernel, load_abi

SECOND = 1_000_000_000
WEB = Series("server", "web", "", "GET", "/", 80, 200, "", "1.1")


class FakeKernel:
    """A kernel that has seen certain connections; None where it cannot tell."""

    def __init__(self, *flights: dict[str, Any], tells: bool = True) -> None:
        self.abi = load_abi()
        records = np.zeros(len(flights), self.abi.active)
        for record, fields in zip(records, flights, strict=True):
            for name, value in fields.items():
                record[name] = value
        kinds = self.abi.enum("ax_kind")
        counts = np.zeros(self.abi.open["conns"].shape, np.uint64)
        counts[:, kinds["AX_KIND_HTTP"]] = (7, 3)
        counts[:, kinds["AX_KIND_NEW"]] = counts[:, kinds["AX_KIND_SYNC"]] = 1
        self.look = Active(100 * SECOND, records, counts) if tells else None

    def active(self) -> Active | None:
        """Return the look."""
        return self.look


def gauges(kernel: FakeKernel, *known: Series) -> dict[str, dict[str, float]]:
    """Return the samples by family and labels."""
    found = in_flight(kernel).families(known)
    return {
        one.name: {
            " ".join(v for _, v in label.pairs): value
            for label, value in zip(one.labels, one.values, strict=True)
        }
        for one in found
        if isinstance(one, Scalars)
    }


def in_flight(kernel: FakeKernel) -> InFlight:
    """Return what is tested; services are called by their cgroups."""
    return InFlight(cast("Kernel", kernel), lambda record, _: Who(f"s{record['cgroup']}", "ns"))


def test_connections_of_a_workload_are_summed() -> None:
    """Requests are told apart by service, port, method and side, and an unknown method is left out."""
    get, post, unknown = 1, 3, 10
    found = gauges(
        FakeKernel(
            {"cgroup": 1, "port": 80, "method": get, "requests": 2, "pid": 5, "cookie": 1},
            {"cgroup": 1, "port": 80, "method": get, "requests": 1, "pid": 6, "cookie": 2},
            {"cgroup": 1, "port": 80, "method": post, "requests": 1},
            {"cgroup": 1, "port": 80, "method": unknown, "requests": 1},
            {"cgroup": 1, "port": 81, "method": get, "requests": 1},
            {"cgroup": 2, "port": 80, "method": get, "requests": 4, "role": 1},
        )
    )
    assert found["http_server_active_requests"] == {
        "s1 ns 80 GET http": 3,
        "s1 ns 80 POST http": 1,
        "s1 ns 80 http": 1,
        "s1 ns 81 GET http": 1,
    }
    assert found["http_client_active_requests"] == {"s2 ns 80 GET http": 4}
    sockets = found["axon_open_connections"]
    assert (sockets["http1 server"], sockets["http1 client"], sockets["unread"]) == (7, 3, 4)


def test_what_has_been_counted_is_there_with_nothing_in_flight() -> None:
    """A gauge that falls to nothing is 0, not missing."""
    found = gauges(FakeKernel(), WEB)
    assert found["http_server_active_requests"] == {"web 80 GET http": 0}
    assert found["http_client_active_requests"] == {}


def test_each_side_has_its_oldest() -> None:
    """The age is that of the first byte seen first; one that is unknown does not count."""
    kernel = FakeKernel(
        {"requests": 1, "since": 98 * SECOND},
        {"requests": 2, "since": 90 * SECOND},
        {"requests": 1},
        {"requests": 1, "role": 1},
    )
    found = in_flight(kernel).status()
    assert found["server"].requests == 4
    assert found["server"].oldest == pytest.approx(10)
    assert (found["client"].requests, found["client"].oldest) == (1, None)
    assert found["client"].connections == 3


def test_kernels_that_cannot_tell() -> None:
    """There is no gauge, rather than one that is 0."""
    kernel = FakeKernel(tells=False)
    assert gauges(kernel, WEB) == {}
    assert in_flight(kernel).status() == {}
