"""A kernel series by its names, and the label sets that it is exported under."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from axon.export.labels import Labels


@dataclass(frozen=True)
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

    @cached_property
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

    @cached_property
    def _http(self) -> Labels:
        return Labels(
            (
                ("service_name", self.service),
                ("service_namespace", self.namespace),
                ("server_port", str(self.port)),
                ("http_request_method", self.method),
                ("http_route", self.route),
                ("http_response_status_code", str(self.status or "")),
                ("error_type", self.error_type),
                ("url_scheme", "http"),
                ("network_protocol_version", self.version),
            )
        )

    @cached_property
    def as_endpoint(self) -> Labels | None:
        """What makes an endpoint of the API: status, version and peer are summed away."""
        return Labels(
            (
                ("service", self.service),
                ("namespace", self.namespace),
                ("role", self.role),
                ("method", self.method),
                ("route", self.route),
                ("port", str(self.port)),
            )
        )

    @property
    def as_server(self) -> Labels | None:
        """Labels in the http_server families. The peer is summed away."""
        return self._http if self.role == "server" else None

    @property
    def as_client(self) -> Labels | None:
        """Labels in the http_client families. The peer is summed away."""
        return self._http if self.role == "client" else None

    @cached_property
    def as_edge(self) -> Labels | None:
        """Labels in the service graph, where both ends are known."""
        if not self.peer:
            return None
        client, server = self.peer, self.service
        if self.role == "client":
            client, server = server, client
        return Labels((("client", client), ("server", server)))

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

    @cached_property
    def as_legacy(self) -> Labels | None:
        """Labels of http_requests_total."""
        if self.role == "client":
            return None
        status = str(self.status) if self.status else "none"
        return Labels((("method", self.method), ("path", self.route), ("status", status)))

    @cached_property
    def as_legacy_path(self) -> Labels | None:
        """Labels of http_request_duration_seconds and http_request_size_bytes."""
        if self.role == "client":
            return None
        return Labels((("method", self.method), ("path", self.route)))
