"""Gauges of this moment: requests in flight, sockets that are open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from axon.export.families import Family, Scalars
from axon.export.labels import Labels

Role = Literal["server", "client"]

_NAMES = (
    "service_name",
    "service_namespace",
    "server_port",
    "http_request_method",
    "url_scheme",
)


class Flight(NamedTuple):
    """What requests in flight are told apart by; `method` is empty where it is unknown."""

    service: str
    namespace: str
    port: int
    method: str


Flights = Mapping[Flight, int]


def requests(flights: Mapping[Role, Flights]) -> list[Family]:
    """Return the gauges of requests in flight, by side."""
    return [
        _in_flight(
            "http_server_active_requests",
            "Requests at the server whose response is not complete.",
            flights["server"],
        ),
        _in_flight(
            "http_client_active_requests",
            "Requests at the client whose response is not complete.",
            flights["client"],
        ),
    ]


def sockets(counts: Mapping[tuple[str, str], int]) -> list[Family]:
    """Return the gauge of open sockets: by what they carry and, for HTTP, their role."""
    return [
        Scalars(
            "axon_open_connections",
            "TCP sockets open now that have carried data, by what they carry.",
            "gauge",
            [Labels(("kind", "role"), key) for key in counts],
            list(counts.values()),
        )
    ]


def _in_flight(name: str, text: str, flights: Flights) -> Scalars:
    labels = [
        Labels(_NAMES, (one.service, one.namespace, str(one.port), one.method, "http"))
        for one in flights
    ]
    return Scalars(name, text, "gauge", labels, list(flights.values()))
