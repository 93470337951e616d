"""The types of bpf/axon_policy.h as numpy dtypes, each by its name there, and its bounds.

A kernel's object carries the same in its BTF; `axon.kernel` can tell whether they agree.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any, Final

import numpy as np

from axon.policy.language.model import LONGEST_NAME

COMM: Final = 16
DEPTH: Final = 32
SETS: Final = 4096
POLICIES: Final = 4096
GROUPS: Final = 4
RULES: Final = GROUPS * 64 * 64
GLOBS: Final = 64
PROBES: Final = 8
NAME: Final = LONGEST_NAME

IDENT_FIRST: Final = 16
"""AX_IDENT_FIRST: the first number that stands for labels."""


class HostMode(IntEnum):
    """enum ax_pol_mode: what the host does with what is denied. A policy's own is `model.Mode`."""

    OFF = 0
    AUDIT = 1
    ENFORCE = 2


class SetFlag(IntFlag):
    """enum ax_pol_set_flag."""

    ENFORCE = 1
    AUDIT = 2
    NON_HTTP = 4
    HOST_TAILS = 8


class Kind(IntEnum):
    """enum ax_pol_kind."""

    SEGMENT = 0
    METHOD = 1
    HOST = 2
    TAIL = 3
    PORT = 4
    IDENT = 5
    BLOCK = 6


TARGET: Final[np.dtype[Any]] = np.dtype(
    [("cgroup", "<u8"), ("comm", "u1", COMM), ("port", "<u4"), ("half", "<u4")]
)
"""struct ax_pol_target."""

CALLER: Final[np.dtype[Any]] = np.dtype([("cgroup", "<u8"), ("comm", "u1", COMM), ("half", "<u8")])
"""struct ax_pol_caller."""

ADDR: Final[np.dtype[Any]] = np.dtype([("bits", "<u4"), ("half", "<u4"), ("addr", "u1", 16)])
"""struct ax_pol_addr."""

PEER: Final[np.dtype[Any]] = np.dtype([("ident", "<u4"), ("block", "<u4")])
"""struct ax_pol_peer."""

POINTERS: Final = (
    "table", "rules", "wild", "length", "opaque", "any_from", "any_method", "any_host", "any_port",
)  # fmt: skip
"""The fields of ax_pol_set that are numbers of cells."""

SET: Final[np.dtype[Any]] = np.dtype(
    [
        ("serial", "<u4"),
        ("flags", "<u4"),
        ("count", "<u4"),
        ("enforce", "<u4"),
        ("table", "<u4"),
        ("mask", "<u4"),
        ("rules", "<u4"),
        ("wild", "<u4"),
        ("length", "<u4"),
        ("opaque", "<u4"),
        ("any_from", "<u4"),
        ("any_method", "<u4"),
        ("any_host", "<u4"),
        ("any_port", "<u4"),
        ("deny", "<u2"),
        ("audit", "<u2"),
        ("pad", "<u4"),
    ]
)
"""struct ax_pol_set."""

RECORD: Final[np.dtype[Any]] = np.dtype(
    [("bits", "<u4"), ("len", "<u2"), ("kind", "u1"), ("sub", "u1")]
)
"""struct ax_pol_record."""

RULE: Final[np.dtype[Any]] = np.dtype(
    [("policy", "<u2"), ("number", "<u2"), ("glob", "<u4"), ("pad", "<u8")]
)
"""struct ax_pol_rule."""

GLOB: Final[np.dtype[Any]] = np.dtype(
    [("depth", "u1"), ("one", "u1"), ("prefix", "<u2"), ("suffix", "<u2"), ("pad", "<u2")]
)
"""struct ax_pol_glob."""

TEXT: Final[np.dtype[Any]] = np.dtype([("len", "<u4"), ("text", "u1", NAME)])
"""struct ax_pol_name."""
