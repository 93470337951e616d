"""A kernel series by its names, and the label sets that it is exported under."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from axon.export.labels import Labels

_HTTP = (
    "service_name",
    "service_namespace",
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


class _Made:
    """Label sets of one series that have been asked for."""

    __slots__ = ("edge", "endpoint", "http", "legacy")

    def __init__(self) -> None:
        self.http: Labels | None = None
        self.endpoint: Labels | None = None
        self.edge: Labels | None = None
        self.legacy: Labels | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """What the requests of one kernel series have in common.

    `route` is the text, `status` 0 where no response came, `error` empty where one came whole.
    `peer` names the other end, if it is known: a service of this host, or an address and port.
    Label sets are made when they are first asked for, and kept; None: not exported there.
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
    _made: _Made = field(default_factory=_Made, init=False, repr=False, compare=False)

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
        return str(self.status) if self.status >= (500 if self.role == "server" else 400) else ""

    @property
    def as_endpoint(self) -> Labels:
        """What makes an endpoint of the API: status, version and peer are summed away."""
        made = self._made.endpoint
        if made is None:
            values = (
                self.service,
                self.namespace,
                self.role,
                self.method,
                self.route,
                str(self.port),
            )
            made = self._made.endpoint = Labels(_ENDPOINT, values)
        return made

    @property
    def as_server(self) -> Labels | None:
        """Labels in the http_server families. The peer is summed away."""
        return self._http() if self.role == "server" else None

    @property
    def as_client(self) -> Labels | None:
        """Labels in the http_client families. The peer is summed away."""
        return self._http() if self.role == "client" else None

    @property
    def as_edge(self) -> Labels | None:
        """Labels in the service graph, where both ends are known."""
        made = self._made.edge
        if made is None and self.peer:
            ends = (self.service, self.peer) if self.role == "client" else (self.peer, self.service)
            made = self._made.edge = Labels(_EDGE, ends)
        return made

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
        made = self._made.legacy
        if made is None and self.role == "server":
            status = str(self.status) if self.status else "none"
            made = self._made.legacy = Labels(_LEGACY, (self.method, self.route, status))
        return made

    @property
    def as_legacy_path(self) -> Labels | None:
        """Labels of http_request_duration_seconds and http_request_size_bytes."""
        return Labels(_LEGACY[:2], (self.method, self.route)) if self.role == "server" else None

    def _http(self) -> Labels:
        made = self._made.http
        if made is None:
            values = (
                self.service,
                self.namespace,
                str(self.port),
                self.method,
                self.route,
                str(self.status or ""),
                self.error_type,
                "http",
                self.version,
            )
            made = self._made.http = Labels(_HTTP, values)
        return made
