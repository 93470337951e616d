"""What the API says of policies, as types; see schema.py for its units."""

from __future__ import annotations

from typing import Literal

import msgspec

HostMode = Literal["off", "audit", "enforce"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy in force."""

    name: str
    namespace: str
    mode: Literal["enforce", "audit"]
    selector: str
    """Which workloads it is for, as a person writes labels."""
    rules: int
    workloads: list[str]
    """Services that it selects, of those that listen or have been asked something."""
    forwarded: int
    """Requests that it let by since the kernel began to count."""
    audit: int
    """Requests that it would have denied."""
    dropped: int
    """Requests that it denied."""
    file: str
    line: int
    digest: str
    """Another one whenever the policy says something else."""


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """The policies in force on this host."""

    directory: str | None
    """Where they are read from; null where the agent reads none."""
    labels: str | None
    """The file of labels, if there is one."""
    mode: HostMode
    """What the host does with what is denied: axon policy mode."""
    generation: int
    """Raised whenever what is in force changes; 0: nothing was ever in force."""
    problem: str
    """Why the newest files are not in force, or empty if they are."""
    denials: dict[str, int]
    """How much was denied or dropped since the kernel began to count, by reason, those that are not 0."""
    policies: list[Policy]


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked, as policies see it."""

    service: str
    """On this host; empty for others."""
    labels: dict[str, str] | None
    """Null for somebody of whom none are known."""
    namespace: str
    address: str | None
    """Null where callers are not told apart: setting peers."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it was sent."""

    path: str
    host: str
    """Empty where it is not known."""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller has asked a workload for, with one method and on one route."""

    service: str
    labels: dict[str, str]
    namespace: str
    port: int
    caller: Caller
    method: str
    route: str
    """The path of what was denied to another host."""
    count: int
    """Requests; of what was denied to other hosts those that a flow record was kept of."""
    denied: bool
    samples: list[Sample]
    """Some of the requests; none where only the route is known."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked on this host in the last hours, as far as there is room for it."""

    seconds: float
    """For how long; 0: it is not remembered."""
    lost: int
    """Requests that there was no room for."""
    exchanges: list[Exchange]


FORGOTTEN = Traffic(seconds=0, lost=0, exchanges=[])
"""What an agent says that remembers no traffic."""

NONE = Policies(
    directory=None, labels=None, mode="off", generation=0, problem="", denials={}, policies=[]
)
"""What an agent without policies says."""
