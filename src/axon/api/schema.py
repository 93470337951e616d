"""What the API says, as types. The OpenAPI document is made from them, and the client returns them.

Times are Unix time in seconds, durations in seconds, sizes in bytes, rates a second. A value that
needs a request to exist is null where there was none.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["server", "client"]
Verdict = Literal["forwarded", "audit", "dropped"]
ErrorType = Literal["no_response", "reset", "incomplete", "timeout"]


class _Struct(msgspec.Struct, frozen=True, kw_only=True):
    """The base of every type here: immutable, made by keyword."""


class Endpoint(_Struct, frozen=True):
    """One endpoint within the window: a service, a route and a method, on one side."""

    service: str
    namespace: str
    """What the service belongs to, such as a slice or a container's project; may be empty."""
    role: Role
    method: str
    route: str
    port: int
    """The server's."""
    rate: float
    error_rate: float
    """Requests a second answered by 5xx (a client's side: 4xx too) or not completely."""
    count: int
    """Requests within the window."""
    total: int
    """Requests since the endpoint appeared."""
    p50: float | None
    p95: float | None
    p99: float | None
    ttfb: float | None
    """Mean time from the request's first byte to the response's; null where none was answered."""
    request_bytes: float
    """On the wire, a second, heads included."""
    response_bytes: float
    statuses: dict[str, int]
    """Requests within the window by status, or by error type where none was received."""


class Totals(_Struct, frozen=True):
    """Every request of one side."""

    rate: float
    error_rate: float
    count: int
    """Requests within the window."""
    total: int
    """Requests since Axon first started, retired series included."""
    p50: float | None
    p95: float | None
    p99: float | None
    request_bytes: float
    response_bytes: float


class Snapshot(_Struct, frozen=True):
    """The endpoints of this host at one moment."""

    host: str
    time: float
    window: float
    """Seconds that rates, percentiles and counts are about."""
    slow: float
    """Requests at least so long count as slow."""
    endpoints: list[Endpoint]
    server: Totals
    client: Totals
    lost: dict[str, int]
    """Requests or stream positions that could not be followed since Axon first started, by reason."""
    connections: dict[str, int]
    """Connections by what they carry: http1, tls, http2, upgraded, other."""
    notes: list[str]
    """What the reader should know: a full table, traffic that is not read yet."""


class End(_Struct, frozen=True):
    """One end of a connection."""

    address: str
    port: int


class Flow(_Struct, frozen=True, tag="flow", tag_field="type"):
    """One request."""

    time: float
    """When its first byte was seen."""
    service: str
    namespace: str
    role: Role
    method: str
    route: str
    path: str | None
    """Without the query; null where only the route was kept."""
    path_cut: bool
    host: str | None
    version: str
    status: int | None
    error: ErrorType | None
    duration: float
    ttfb: float | None
    request_body: int
    response_body: int
    request_wire: int
    response_wire: int
    source: End
    """The client's end."""
    destination: End
    """The server's end."""
    pid: int | None
    tid: int | None
    command: str
    cgroup: int
    connection: str
    """The socket's cookie, in hexadecimal; a JSON number would lose digits."""
    number: int
    """Of the request on its connection, from 0."""
    reasons: list[Literal["first", "slow", "error", "denied", "sampled"]]
    """Why the record was written, beside the filters that asked for it."""
    verdict: Verdict | None
    """What policies made of it; null where none selects the server, and on the client's side."""
    policy: str | None
    """NAMESPACE/NAME of the policy that decided."""
    rule: str | None
    """Place in the policy of the rule that allowed it, as `ingress[0].httpRules[2]`."""
    denial: str | None
    """Why it was, or under audit would be, denied: a reason of docs/policy.md."""
    caller: str | None
    """Labels of who asked, or `unknown` or `world`; of a judged request."""


class Begin(_Struct, frozen=True, tag="begin", tag_field="type"):
    """The first line of a stream of flows."""

    id: int
    """What DELETE /api/v1/flows/{id} takes to end the stream with its last line."""


class Finish(_Struct, frozen=True, tag="end", tag_field="type"):
    """The last line of a stream of flows."""

    matched: int
    """Requests that passed the filters while the stream was open."""
    shown: int
    """How many of them were in the stream; the rest fell to the rate bound or a full buffer."""
    at_least: bool = False
    """Whether more may have matched: a service that is a process is told from others of its cgroup
    behind the rate bound only."""


class Recent(_Struct, frozen=True):
    """Flow records held in memory, oldest first."""

    flows: list[Flow]


class Option(_Struct, frozen=True):
    """One setting in force."""

    name: str
    value: str
    source: str
    help: str


class Config(_Struct, frozen=True):
    """The settings in force and where each came from."""

    settings: list[Option]


class Program(_Struct, frozen=True):
    """A program in the kernel. Run times are counted while kernel.bpf_stats_enabled is on."""

    name: str
    run_count: int
    run_seconds: float
    verified_instructions: int


class Table(_Struct, frozen=True):
    """How full one of the kernel's tables is."""

    name: str
    used: int
    size: int


class InFlight(_Struct, frozen=True):
    """What one side has open at this moment, looked at within the last second."""

    connections: int
    """Open HTTP/1 connections."""
    requests: int
    """Requests whose response is not complete."""
    oldest: float | None
    """Seconds since the first byte of the one that has waited longest."""


class Status(_Struct, frozen=True):
    """The agent and its programs."""

    version: str
    pid: int
    started: float
    attached: bool
    healthy: bool
    problem: str
    """What is wrong, or empty."""
    pin_dir: str
    cgroup: str
    metrics: str
    """Address of /metrics, or `off`."""
    kernel: str
    programs: list[Program]
    tables: list[Table]
    kernel_bytes: int
    """Bound of all maps."""
    bytes_per_socket: int
    resident_bytes: int
    cpu_seconds: float
    snapshot_seconds: float
    """What the last tick took."""
    counters: dict[str, int]
    """Every counter of the kernel side, by its name in axon.h in lower case."""
    server: InFlight | None = None
    """Null where the kernel cannot tell."""
    client: InFlight | None = None


class Health(_Struct, frozen=True):
    """Whether the agent does its work."""

    ok: bool
    problem: str


class Problem(_Struct, frozen=True):
    """Why a request was refused."""

    error: str
