"""What the API says of policies, as types; see schema.py for its units."""

from __future__ import annotations

from typing import Literal

import msgspec


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
    mode: Literal["off", "audit", "enforce"]
    """What the host does with what is denied: axon policy mode."""
    generation: int
    """Raised whenever what is in force changes; 0: nothing was ever in force."""
    problem: str
    """Why the newest files are not in force, or empty if they are."""
    policies: list[Policy]


NONE = Policies(directory=None, labels=None, mode="off", generation=0, problem="", policies=[])
"""What an agent without policies says."""
