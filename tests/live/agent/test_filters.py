"""The kernel's filters of flows and the agent's say the same about every request."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from axon.agent.matching import compile_filter, passes
from axon.api.filters import FlowFilter, parse
from tests.live.agent.conftest import Server
from tests.live.kit.axon import Attacher, Axon

LONG = "/bytes/100000/".ljust(64, "a")
FILTERS = [
    "method=GET",
    "method=POST,DELETE",
    "method=_OTHER",
    "method=GET&not=method",
    "status=5xx",
    "status=404",
    "status=200-299&not=status",
    "path=/status/",
    "path=/status/*&not=path",
    f"path={LONG}",
    "path=/bytes/1000000",
    "address=10.77.0.0/24",
    "address=10.77.0.1",
    "address=10.77.0.3",
    "address=10.77.0.0/25&not=address",
    "address=fd77::/16",
    "min_duration=0.1",
    "min_duration=0.1&not=min_duration",
    "role=client",
    "role=server&not=role",
    "command=python3",
    "command=python",
    "error=true",
    "error=true&not=error",
    "error=true&status=500",
    "method=GET&role=server&path=/status/&status=4xx",
    "method=GET&role=server&path=/status/&status=4xx&not=method,path",
    "port=1",
    "server_port=1&not=server_port",
]
PATHS = [
    ("GET", "/"),
    ("GET", "/status/404"),
    ("GET", "/status/500"),
    ("POST", "/status/503?q=/bytes/"),
    ("PUT", "/bytes/10"),
    ("DELETE", "/status/204"),
    ("BREW", "/status/418"),
    ("GET", LONG + "/x"),
    ("GET", LONG[:-1] + "?"),
    ("GET", "/slow"),
    ("GET", "/abort"),
]


@pytest.fixture(scope="module")
def axon(attach_live: Attacher) -> Iterator[Axon]:
    """Attach a data plane whose filters are this module's."""
    made = attach_live()
    made.kernel.ctl["flow_interval"] = 0
    made.kernel.ctl["error_interval"] = 0
    yield made
    made.kernel.ctl["filters"] = 0


@pytest.mark.parametrize("batch", range(0, len(FILTERS), 7))
def test_kernel_and_agent_agree(axon: Axon, server: Server, batch: int) -> None:
    """Of varied requests each filter takes those, in the kernel, that it takes in an array."""
    kernel = axon.kernel
    wanted = [
        parse([part.split("=", 1) for part in text.split("&")])  # type: ignore[misc]
        for text in FILTERS[batch : batch + 7]
    ]
    everything = FlowFilter()
    kernel.ring().read()
    for i, one in enumerate([*wanted, everything]):
        kernel.filters[i] = compile_filter(kernel.abi, one)
        kernel.filters["active"][i] = 1
    last = len(wanted)
    kernel.ctl["filters"] = (1 << (last + 1)) - 1
    for method, path in PATHS:
        server.request(path, method, b"body" if method in ("POST", "PUT") else b"")
    records = kernel.ring().read()
    deadline = time.monotonic() + 10
    while len(records) < 2 * len(PATHS) and time.monotonic() < deadline:
        time.sleep(0.05)
        records = np.concatenate([records, kernel.ring().read()])
    kernel.ctl["filters"] = 0

    assert len(records) == 2 * len(PATHS)
    assert np.all(records["matched"] >> last & 1)
    for i, one in enumerate(wanted):
        by_kernel = (records["matched"] >> i & 1).astype(bool)
        by_agent = passes(kernel.abi, one, records)
        assert by_kernel.tolist() == by_agent.tolist(), one
        assert kernel.filters["matched"][i] == by_kernel.sum()
    assert kernel.filters["matched"][last] == kernel.filters["shown"][last] == len(records)
