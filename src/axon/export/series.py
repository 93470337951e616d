"""A kernel series by its names, and the label sets that it is exported under."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from axon.export.labels import Labels

_HTTP = (
    "service_name",
    "service_namespace",
    "server_address",
    "server_port",
    "http_request_method",
    "http_route",
    "http_response_status_code",
    "error_type",
    "url_scheme",
    "network_protocol_version",
)
_ENDPOINT = ("service", "namespace", "role", "method", "route", "port")
_EDGE = ("client", "server")
_LEGACY = ("method", "path", "status")


@dataclass(frozen=True, slots=True)
class Series:
    """What the requests of one kernel series have in common.

    `route` is the text, `status` 0 where no response came, `error` empty where one came whole.
    `peer` names the other end, if it is known: a service of this host, or an address and port.
    `server_address` is where a client has asked, if it is known: one peer may have many. A server's
    own is not told apart, and empty.
    Label sets are made when they are first asked for; the two that a series rarely has in common
    with others are kept. None: not exported there.
    """

    role: Literal["server", "client"]
    service: str
    namespace: str
    method: str
    route: str
    port: int
    status: int
    error: str
    version: str
    peer: str = ""
    server_address: str = ""
    _endpoint: Labels | None = field(default=None, init=False, repr=False, compare=False)
    _http: Labels | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def failed(self) -> bool:
        """Whether the request was answered by 5xx, or not completely."""
        return self.status >= 500 or bool(self.error)

    @property
    def error_type(self) -> str:
        """The label error_type: what cut the request short, else a status that is an error.

        4xx is an error to a client and none to a server:
        https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status
        """
        if self.error:
            return self.error
        failed = self.status >= (500 if self.role == "server" else 400)
        return _number(self.status) if failed else ""

    @property
    def as_endpoint(self) -> Labels:
        """What makes an endpoint of the API: status, version and peer are summed away."""
        made = self._endpoint
        if made is None:
            made = _endpoint(
                self.service, self.namespace, self.role, self.method, self.route, self.port
            )
            object.__setattr__(self, "_endpoint", made)
        return made

    @property
    def as_server(self) -> Labels | None:
        """Labels in the http_server families. The peer is summed away."""
        return self._as_http() if self.role == "server" else None

    @property
    def as_client(self) -> Labels | None:
        """Labels in the http_client families. Of the peer there is its address."""
        return self._as_http() if self.role == "client" else None

    @property
    def as_edge(self) -> Labels | None:
        """Labels in the service graph, where both ends are known."""
        if not self.peer:
            return None
        if self.role == "client":
            return _edge(self.service, self.peer)
        return _edge(self.peer, self.service)

    @property
    def as_failed_edge(self) -> Labels | None:
        """Labels of an edge, if the requests have failed."""
        return self.as_edge if self.failed else None

    @property
    def as_client_edge(self) -> Labels | None:
        """Labels of an edge, if it was measured at the client's end."""
        return self.as_edge if self.role == "client" else None

    @property
    def as_server_edge(self) -> Labels | None:
        """Labels of an edge, if it was measured at the server's end."""
        return self.as_edge if self.role == "server" else None

    @property
    def as_legacy(self) -> Labels | None:
        """Labels of http_requests_total."""
        if self.role != "server":
            return None
        status = _number(self.status) if self.status else "none"
        return Labels(_LEGACY, (self.method, self.route, status))

    @property
    def as_legacy_path(self) -> Labels | None:
        """Labels of http_request_duration_seconds and http_request_size_bytes."""
        return Labels(_LEGACY[:2], (self.method, self.route)) if self.role == "server" else None

    def _as_http(self) -> Labels:
        made = self._http
        if made is None:
            values = (
                self.service,
                self.namespace,
                self.server_address,
                _number(self.port),
                self.method,
                self.route,
                _number(self.status) if self.status else "",
                self.error_type,
                "http",
                self.version,
            )
            made = Labels(_HTTP, values)
            object.__setattr__(self, "_http", made)
        return made


# Kept while they are in use: many series have the same, and each would have one of its own.


@lru_cache(1024)
def _number(number: int) -> str:
    return str(number)


@lru_cache(512)
def _edge(client: str, server: str) -> Labels:
    return Labels(_EDGE, (client, server))


@lru_cache(512)
def _endpoint(  # noqa: PLR0917 - the fields that make an endpoint
    service: str, namespace: str, role: str, method: str, route: str, port: int
) -> Labels:
    return Labels(_ENDPOINT, (service, namespace, role, method, route, _number(port)))
