"""Records of single requests: the important ones first, within a bound, and never instead of counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.kit.axon import Axon
from tests.live.kit.books import Books, wait_for
from tests.live.kit.wire import OK, Listener, Wire, answer, get, head

RECORDS = 2000  # more than the ring holds


@pytest.fixture
def told(axon: Axon) -> Iterator[Axon]:
    """Give the Axon with bounds that a test sets."""
    axon.flows()
    before = axon.kernel.ctl.copy()
    axon.kernel.ctl["flow_interval"] = axon.kernel.ctl["error_interval"] = 0
    axon.kernel.ctl["slow_ns"] = 0
    yield axon
    for name in ("flow_interval", "error_interval", "slow_ns"):
        axon.kernel.ctl[name] = before[name]


def flags(axon: Axon, flow: dict[str, Any]) -> set[str]:
    """Return the names of a record's flags."""
    names = axon.kernel.abi.enum("ax_flow_flag")
    return {n.removeprefix("AX_FLOW_") for n, bit in names.items() if int(flow["flags"]) & bit}


def served(axon: Axon, port: int) -> list[dict[str, Any]]:
    """Take the server's records of a port."""
    return [f for f in axon.flows() if f["role"] == "server" and int(f["lport"]) == port]


def test_first_sightings(wire: Wire, books: Books, told: Axon) -> None:
    """The first request of every series is told, even if no other is."""
    for _ in range(5):
        for path in "/a", "/b", "/c":
            wire.exchange(get(path))
    books.expect(wire.port, {"GET /a 200": 5, "GET /b 200": 5, "GET /c 200": 5})
    flows = served(told, wire.port)
    assert [(f["path"], f["number"]) for f in flows] == [("/a", 0), ("/b", 1), ("/c", 2)]
    assert all("FIRST" in flags(told, flow) for flow in flows)


def test_errors_and_slow_ones(wire: Wire, books: Books, told: Axon) -> None:
    """Failed and slow requests have a bound of their own."""
    for _ in range(2):
        wire.exchange(get("/a"))
        wire.exchange(get("/failed"), answer(503))
    told.flows()
    told.kernel.ctl["error_interval"] = 1
    told.kernel.ctl["slow_ns"] = 50_000_000
    for _ in range(3):
        wire.exchange(get("/a"))
        wire.exchange(get("/failed"), answer(503))
    wire.ask(get("/a"))
    time.sleep(0.06)
    wire.answer(OK)
    flows = served(told, wire.port)
    assert [f["path"] for f in flows] == ["/failed"] * 3 + ["/a"]
    assert all("ERROR" in flags(told, f) for f in flows[:3])
    assert "SLOW" in flags(told, flows[3])


def test_rate_bound(wire: Wire, books: Books, told: Axon) -> None:
    """Ordinary requests are told at most so often, and all are counted."""
    wire.exchange(get("/a"))
    told.flows()
    told.kernel.ctl["flow_interval"] = 100_000_000
    began = time.monotonic()
    asked = 1
    while time.monotonic() < began + 0.5:
        wire.exchange(get("/a"))
        asked += 1
    books.expect(wire.port, {"GET /a 200": asked})
    told_of = len(served(told, wire.port))
    cpus, burst = told.kernel.shards, 8
    assert 3 <= told_of <= cpus * (burst + 6)
    assert asked > 5 * told_of
    time.sleep(0.1)  # until the bound lets the next test's first record through


def test_full_ring(wire: Wire, books: Books, told: Axon) -> None:
    """When nobody reads the records they are dropped and counted; the requests are counted."""
    told.kernel.ctl["flow_interval"] = 1
    wire.exchange(get("/a"))
    for _ in range(RECORDS):
        wire.exchange(get("/a"))
    books.expect(wire.port, {"GET /a 200": RECORDS + 1})
    dropped = books.since("DROP_FLOW_RING")
    assert dropped > 0
    assert books.since("INFO_FLOWS") + dropped == 2 * (RECORDS + 1)
    told.flows()
    wire.exchange(get("/a"))
    assert wait_for(lambda: served(told, wire.port), bool)
    books.expect(wire.port, {"GET /a 200": RECORDS + 2})


def test_records_without_text(listener: Listener, books: Books, told: Axon) -> None:
    """Of pipelined requests only the first has its own path; the others say so."""
    told.kernel.ctl["flow_interval"] = 1
    wire = listener.connect()
    wire.ask(get("/a") + get("/b"))
    wire.answer(OK + OK)
    wire.ask(head("GET /c HTTP/1.1", "Host: other.test"))
    wire.answer(OK)
    flows = served(told, listener.port)
    assert [(f["path"], f["host"]) for f in flows] == [
        ("/a", "wire.test"),
        ("", ""),
        ("/c", "other.test"),
    ]
    assert ["NO_TEXT" in flags(told, f) for f in flows] == [False, True, False]


def test_endings_in_records(listener: Listener, books: Books, told: Axon) -> None:
    """A record of a request without a response says why, and has no status."""
    told.kernel.ctl["error_interval"] = 1
    wire = listener.connect()
    wire.ask(get("/a"))
    wire.server.close()
    assert wire.client.recv(1) == b""
    books.expect(listener.port, ["GET /a - no_response"])
    (flow,) = served(told, listener.port)
    assert (flow["status"], flow["ttfb"], flow["error"]) == (0, 0, "no_response")
    assert {"FIRST", "ERROR"} <= flags(told, flow)
