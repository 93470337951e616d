"""A host to look at: endpoints, flows and a snapshot with invented numbers."""

from __future__ import annotations

from typing import Any

from axon.api.schema import End, Endpoint, Flow, Snapshot, Totals

_ENDPOINTS = (
    # service, method, route, requests a second, failed share, P50 in seconds
    ("nginx.service", "GET", "/", 1420.0, 0.0, 0.00021),
    ("nginx.service", "GET", "/static/{file}", 812.5, 0.0, 0.00009),
    ("docker:web", "GET", "/api/users/{id}", 640.0, 0.0, 0.0023),
    ("docker:web", "POST", "/api/users/{id}/orders", 96.4, 0.004, 0.018),
    ("docker:orders", "GET", "/api/v2/customers/{id}/orders/{id}/items", 41.0, 0.0, 0.0061),
    ("docker:orders", "DELETE", "/api/v2/customers/{id}/orders/{id}", 2.4, 0.25, 0.034),
    ("checkout.service", "POST", "/checkout", 18.2, 0.012, 0.412),
    ("python3", "GET", "/reports/{name}", 0.4, 0.0, 1.7),
    ("python3", "OPTIONS", "/reports/{name}", 0.0, 0.0, 0.0),
    ("prometheus.service", "GET", "/metrics", 0.1, 0.0, 0.0049),
)


def endpoint(**changes: Any) -> Endpoint:
    """Return an endpoint with 100 requests a second that take about a millisecond."""
    values: dict[str, Any] = {
        "service": "web.service",
        "namespace": "",
        "role": "server",
        "method": "GET",
        "route": "/",
        "port": 80,
        "rate": 100.0,
        "error_rate": 0.0,
        "count": 1000,
        "total": 100_000,
        "p50": 0.001,
        "p95": 0.003,
        "p99": 0.009,
        "ttfb": 0.0008,
        "request_bytes": 40_000.0,
        "response_bytes": 800_000.0,
        "statuses": {"200": 1000},
    }
    return Endpoint(**values | changes)


def idle(**changes: Any) -> Endpoint:
    """Return an endpoint without a request in the window."""
    nothing: dict[str, Any] = {
        "rate": 0.0, "count": 0, "p50": None, "p95": None, "p99": None, "ttfb": None,
        "request_bytes": 0.0, "response_bytes": 0.0, "statuses": {},
    }  # fmt: skip
    return endpoint(**nothing | changes)


def endpoints() -> list[Endpoint]:
    """Return ten endpoints: busy, slow, failing, idle."""
    rows = []
    for service, method, route, rate, failed, p50 in _ENDPOINTS:
        who: dict[str, Any] = {"service": service, "method": method, "route": route}
        if not rate:
            rows.append(idle(**who))
            continue
        count = round(rate * 10)
        bad = round(count * failed)
        rows.append(
            endpoint(
                **who,
                rate=rate,
                error_rate=rate * failed,
                count=count,
                total=count * 977,
                p50=p50,
                p95=p50 * 3.1,
                p99=p50 * 9.7,
                ttfb=p50 * 0.8,
                request_bytes=rate * 412,
                response_bytes=rate * 8123,
                statuses={"200": count - bad} | ({"503": bad} if bad else {}),
            )
        )
    rows.append(endpoint(service="docker:web", role="client", route="/v1/charge", port=8443))
    return rows


def totals(**changes: Any) -> Totals:
    """Return the totals of one side."""
    values: dict[str, Any] = {
        "rate": 3031.0, "error_rate": 1.2, "count": 30_310, "total": 1_234_567,
        "p50": 0.001, "p95": 0.01, "p99": 0.1, "request_bytes": 1e6, "response_bytes": 1e7,
    }  # fmt: skip
    return Totals(**values | changes)


def snapshot(**changes: Any) -> Snapshot:
    """Return a snapshot of the ten endpoints."""
    values: dict[str, Any] = {
        "host": "web-1",
        "time": 1_763_800_000.0,
        "window": 10.0,
        "slow": 1.0,
        "endpoints": endpoints(),
        "server": totals(),
        "client": totals(total=4321),
        "lost": {"gap": 0, "reorder": 0},
        "connections": {"http1": 40, "tls": 12, "http2": 3, "upgraded": 0, "other": 0},
        "notes": [],
    }
    return Snapshot(**values | changes)


def flow(**changes: Any) -> Flow:
    """Return a request that was answered with 200 after 1.23 ms."""
    values: dict[str, Any] = {
        "time": 1_763_800_000.123,
        "service": "nginx.service",
        "namespace": "system",
        "role": "server",
        "method": "GET",
        "route": "/users/{id}",
        "path": "/users/42",
        "path_cut": False,
        "host": "shop.example",
        "version": "1.1",
        "status": 200,
        "error": None,
        "duration": 0.00123,
        "ttfb": 0.0011,
        "request_body": 0,
        "response_body": 512,
        "request_wire": 80,
        "response_wire": 700,
        "source": End(address="10.0.0.7", port=40312),
        "destination": End(address="10.0.0.1", port=80),
        "pid": 4242,
        "tid": 4243,
        "command": "nginx",
        "cgroup": 77,
        "connection": "1f",
        "number": 3,
        "reasons": ["sampled"],
        "verdict": None,
        "policy": None,
        "rule": None,
        "denial": None,
        "caller": None,
    }
    return Flow(**values | changes)
