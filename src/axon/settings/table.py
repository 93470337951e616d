"""The table of settings: one attribute each, with its type, default, bounds and help.

The names are the same everywhere: `max_series` is the key in the file, AXON_MAX_SERIES in the
environment and --max-series on the command line. The help text feeds --help and the documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from axon.settings.kinds import Kind, Listen, Size, kind_of

Role = Literal["server", "client"]
Peers = Literal["none", "private", "all"]
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_MEMORY = Size(64 << 20)
_POLICY_MEMORY = Size(4 << 20)
_METRICS = Listen("127.0.0.1", 9464)


@dataclass(frozen=True, slots=True)
class About:
    """What stands beside a setting's type and default in the table: its help and its bounds."""

    help: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Settings:
    """Every setting of the agent, checked. Make one by `axon.settings.load`."""

    pin_dir: Annotated[
        Path,
        About(
            "Directory on the BPF file system where programs and maps are pinned; "
            "there is one agent for each."
        ),
    ] = Path("/sys/fs/bpf/axon")
    run_dir: Annotated[
        Path, About("Directory for the agent's lock, its state and its API socket, axon.sock.")
    ] = Path("/run/axon")
    cgroup: Annotated[
        Path | None,
        About(
            "cgroup v2 directory whose processes are observed; "
            "off: the root of the tree, so everything."
        ),
    ] = None
    roles: Annotated[
        tuple[Role, ...],
        About(
            "Ends of a connection to observe: server, requests that arrive here; "
            "client, requests that leave from here."
        ),
    ] = ("server", "client")
    routes: Annotated[
        Path | None,
        About(
            "File of route patterns, one a line, like /users/{id}/orders; "
            "they go before learned ones."
        ),
    ] = None
    learn_routes: Annotated[
        bool,
        About("Learn route templates from the paths that are seen, and name requests by them."),
    ] = True
    policy: Annotated[
        Path | None,
        About(
            "Directory of L7NetworkPolicy files (*.yaml, *.yml) that are in force; "
            "a change is taken up when they stand still, within two seconds."
        ),
    ] = None
    policy_labels: Annotated[
        Path | None,
        About(
            "File of labels for this host's workloads and callers and for addresses, in YAML; "
            "a change is taken up when it stands still, within two seconds."
        ),
    ] = None
    policy_hold: Annotated[
        bool,
        About(
            "Drop what is asked of a workload whose cgroup is too new to be known, until the next look: "
            "TCP asks again. Off: only policies that select by port or command judge it until then."
        ),
    ] = False
    policy_header: Annotated[
        bool,
        About("Name the policy in a denied request's answer (x-axon-policy), where policy is set."),
    ] = True
    traffic_hours: Annotated[
        float,
        About(
            "Hours of traffic that axon policy diff and generate know of, where policy is set; 0: none.",
            low=0,
            high=168,
        ),
    ] = 6.0
    policy_memory: Annotated[
        Size,
        About(
            "Room in the kernel for compiled policies: half of it for those in force, half for the "
            "next ones beside them. Policies that need more than half are refused; those in force may "
            "grow beyond it with the host.",
            low=64 << 10,
            high=1 << 30,
        ),
    ] = _POLICY_MEMORY
    peers: Annotated[
        Peers,
        About(
            "Other ends that are told apart in the service graph, and servers that clients ask by "
            "their addresses: none, private addresses, or all."
        ),
    ] = "private"
    max_series: Annotated[
        int,
        About(
            "Series kept in the kernel; requests beyond are counted under the route other.",
            low=64,
            high=1_000_000,
        ),
    ] = 10_000
    max_memory: Annotated[
        Size,
        About(
            "Bound for what the programs keep in the kernel to count; policies have policy_memory. "
            "Each series has a copy for each CPU as far as this allows.",
            low=1 << 20,
            high=64 << 30,
        ),
    ] = _MEMORY
    max_routes: Annotated[
        int,
        About("Routes told apart in each workload; the rest is other.", low=1, high=100_000),
    ] = 200
    max_peers: Annotated[
        int,
        About("Peers told apart for each workload; the rest has no peer.", low=0, high=100_000),
    ] = 32
    idle_seconds: Annotated[
        float,
        About(
            "A series without a request for so long gives its place to others.",
            low=5,
            high=31_536_000,
        ),
    ] = 600.0
    window_seconds: Annotated[
        int, About("Window of the rates and percentiles in top and in the API.", low=1, high=60)
    ] = 10
    slow_ms: Annotated[
        float,
        About(
            "Requests at least this long count as slow: they come first among the flow records. "
            "0: none.",
            low=0,
            high=3_600_000,
        ),
    ] = 1000.0
    flow_rate: Annotated[
        float,
        About(
            "Flow records of ordinary requests kept, a second and CPU; 0: none.",
            low=0,
            high=100_000,
        ),
    ] = 20.0
    error_rate: Annotated[
        float,
        About(
            "Flow records of failed and slow requests kept, a second and CPU; 0: none.",
            low=0,
            high=100_000,
        ),
    ] = 100.0
    flows_kept: Annotated[
        int,
        About("Flow records held in memory for observe --last; 0: none.", low=0, high=100_000),
    ] = 1000
    metrics_listen: Annotated[
        Listen | None, About("Address that serves /metrics to Prometheus, or off.")
    ] = _METRICS
    legacy_metrics: Annotated[
        bool,
        About(
            "Serve http_requests_total, http_request_duration_seconds and "
            "http_request_size_bytes too."
        ),
    ] = False
    api_listen: Annotated[
        Listen | None,
        About(
            "TCP address that serves the API beside the Unix socket, without authentication, "
            "or off."
        ),
    ] = None
    keep: Annotated[
        bool,
        About(
            "Leave the programs attached and counting when the agent ends, so that a restart "
            "misses nothing. axon detach removes them."
        ),
    ] = False
    log_level: Annotated[LogLevel, About("Least severity that is logged.")] = "info"
    log_format: Annotated[LogFormat, About("Form of the log lines on standard error.")] = "text"

    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def socket(self) -> Path:
        """Path of the API's Unix socket."""
        return self.run_dir / "axon.sock"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    kind: Kind
    default: Any
    about: About

    @property
    def env(self) -> str:
        """Name of the environment variable."""
        return "AXON_" + self.name.upper()

    @property
    def flag(self) -> str:
        """Name of the command-line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def help(self) -> str:
        """What the setting does, in one or two sentences."""
        return self.about.help


@cache
def table() -> Mapping[str, Setting]:
    """Return every setting by name, in the order of the documentation."""
    hints = get_type_hints(Settings, include_extras=True)
    rows = {}
    for f in fields(Settings):
        if get_origin(hints[f.name]) is Annotated:
            annotation, about = get_args(hints[f.name])
            rows[f.name] = Setting(f.name, kind_of(annotation), f.default, about)
    return rows
