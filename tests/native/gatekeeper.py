"""The gate's reader and judge (bpf/strict.h, bpf/judge.h) as a library: streams in, what was decided out."""

from __future__ import annotations

import ctypes
import re
from ctypes import c_int32, c_uint8, c_uint32, c_uint64
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from tests.native import build

_ENFORCE = 1  # AX_POL_ENFORCE
_CONTRACT = build.ROOT / "bpf" / "axon_policy.h"
_STRICT = build.ROOT / "bpf" / "strict.h"


_NUMBERS = (
    *("reason", "heads", "verdict", "policy", "rule"),
    *("phase", "method_len", "path_len", "host_len"),
)


class _Ends(ctypes.Structure):
    _fields_ = tuple((name, c_uint32) for name in ("ident", "block", "port", "soft"))


class _Seen(ctypes.Structure):
    _fields_ = (
        ("denied", c_int32),
        *((name, c_uint32) for name in _NUMBERS),
        ("left", c_uint64),
        ("method", c_uint8 * 32),
        ("path", c_uint8 * 2048),
        ("host", c_uint8 * 256),
    )


@dataclass(frozen=True)
class Seen:
    """What became of a packet: the reason of a denial or "", the heads that were complete before, the last
    one's verdict, policy and rule, and how far the reading is. Method and path are as far as they were read.
    """

    reason: str
    heads: int
    verdict: str
    policy: int
    rule: int
    phase: str
    left: int
    method: bytes
    path: bytes


class Gatekeeper:
    """The library. There is one a process, because its maps are global."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL(str(build.gate()))
        self._reasons = _names(_CONTRACT, "ax_deny", "AX_DENY_")
        self._verdicts = _names(_CONTRACT, "ax_verdict", "AX_VERDICT_")
        self._phases = _names(_STRICT, "ax_g_phase", "AX_G_")
        self._secret = c_uint64(0)
        self.everything: Any = None
        """The set of a workload that may be asked for everything, where a test has loaded one."""

    def load(self, arena: np.ndarray[Any, Any], secret: int) -> None:
        """Put compiled policies where the judge looks for them."""
        self._lib.st_load(arena.ctypes.data_as(ctypes.c_void_p), len(arena))
        self._secret = c_uint64(secret)

    def begin(self, entry: Any, *, ident: int = 1, block: int = 0, port: int = 80) -> None:
        """Begin a connection to a workload that a set (struct ax_pol_set) judges."""
        soft = not int(entry["flags"]) & _ENFORCE
        ends = _Ends(ident, block, port, soft)
        self._lib.st_begin(entry.tobytes(), ctypes.byref(ends), self._secret)

    def feed(self, payload: bytes) -> Seen:
        """Let the gate see the next packet."""
        seen = _Seen()
        self._lib.st_feed(payload, len(payload), ctypes.byref(seen))
        assert self._lib.nx_zones_clean(), "something was written behind the work area"
        return Seen(
            reason=self._reasons[seen.reason] if seen.denied else "",
            heads=seen.heads,
            verdict=self._verdicts[seen.verdict] if seen.heads else "",
            policy=seen.policy,
            rule=seen.rule,
            phase=self._phases[seen.phase],
            left=seen.left,
            method=bytes(seen.method[: seen.method_len]),
            path=bytes(seen.path[: seen.path_len]),
        )

    def stream(self, packets: list[bytes]) -> tuple[int, Seen]:
        """Let it see packets until one is denied; return all heads and what became of the last packet."""
        heads, seen = 0, self.feed(b"")
        for packet in packets:
            seen = self.feed(packet)
            heads += seen.heads
            if seen.reason:
                break
        return heads, seen


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """Return a stream in pieces."""
    at = sorted({0, len(stream), *(place % (len(stream) or 1) for place in places)})
    return [stream[a:b] for a, b in pairwise(at)]


@cache
def _names(header: Any, enum: str, prefix: str) -> dict[int, str]:
    body = header.read_text().split(f"enum {enum} {{", 1)[1].split("};", 1)[0]
    found = re.findall(rf"^\s*{prefix}(\w+)", body, re.MULTILINE)
    return {i: name.lower() for i, name in enumerate(found)}
