"""Flow records: the newest are kept as the kernel wrote them, and made readable when asked for."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

from axon.agent.matching import Flows, Mask, method_names
from axon.api.schema import End, ErrorType, Flow, Verdict
from axon.kernel import Abi

_NO_RULE = 0xFFFF
_END = ("cgroup", "comm", "role", "pid")
"""What the name of a record's local end depends on, beside the server's port."""

Reason = Literal["first", "slow", "error", "denied", "sampled"]


class Who(NamedTuple):
    """A service by its name, and what it belongs to, which may be empty."""

    service: str
    namespace: str


class Store:
    """The newest `size` records, oldest first."""

    def __init__(self, flow: np.dtype[Any], size: int) -> None:
        self._size = size
        # Memory that was never written to is not resident: an idle host's store costs nothing.
        self._records: Flows = np.zeros(size, flow)
        self._written = 0

    def add(self, flows: Flows) -> None:
        """Put records behind those that are there; the oldest go."""
        flows = flows[max(0, len(flows) - self._size) :]
        if not len(flows):
            return
        at = self._written % self._size
        head = min(len(flows), self._size - at)
        self._records[at : at + head] = flows[:head]
        self._records[: len(flows) - head] = flows[head:]
        self._written += len(flows)

    def newest(self, last: int, test: Callable[[Flows], Mask]) -> Flows:
        """Return up to `last` of the newest records that pass a test, oldest first."""
        at = self._written % self._size if self._size else 0
        if self._written <= self._size:
            records = self._records[: self._written]
        else:
            records = np.concatenate([self._records[at:], self._records[:at]])
        kept = np.flatnonzero(test(records))
        chosen: Flows = records[kept[max(0, len(kept) - last) :]]
        return chosen


class Reader:
    """Makes flows of records.

    `who(cgroup, command, port, role, pid)` names the local service, `route(id)` a route; `policy(n)`
    and `caller(n)` what has a number in the kernel's tables of policies.
    """

    def __init__(
        self,
        abi: Abi,
        who: Callable[[Any], Who],
        route: Callable[[int], str],
        policy: Callable[[int], str] = str,
        caller: Callable[[int], str] = str,
    ) -> None:
        self._who = who
        self._route = route
        self._policy = policy
        self._caller = caller
        self._verdicts = verdict_names(abi)
        self._denials = denial_names(abi)
        self._methods = method_names(abi)
        self._server = abi.enum("ax_role")["AX_ROLE_SERVER"]
        self._errors = error_names(abi)
        flags = abi.enum("ax_flow_flag")
        self._reasons: list[tuple[int, Reason]] = [
            (flags["AX_FLOW_FIRST"], "first"),
            (flags["AX_FLOW_SLOW"], "slow"),
            (flags["AX_FLOW_ERROR"], "error"),
            (flags["AX_FLOW_DENIED"], "denied"),
            (flags["AX_FLOW_SAMPLED"], "sampled"),
        ]
        self._path_cut = flags["AX_FLOW_PATH_CUT"]
        self._no_text = flags["AX_FLOW_NO_TEXT"]
        self._versions = version_names(abi)

    def read(self, records: Flows) -> list[Flow]:
        """Return records (n,) of ax_flow as flows."""
        ahead = time.time() - time.monotonic()
        return [self._one(record, ahead) for record in records]

    def serves(self, records: Flows, service: str) -> Mask:
        """Return which records (n,) are of a service. Each distinct end is named once."""
        fields = [(name, records.dtype[name]) for name in _END]
        ends = np.zeros(len(records), [*fields, ("port", "u2")])
        for name in _END:
            ends[name] = records[name]
        server = records["role"] == self._server
        ends["port"] = np.where(server, records["lport"], records["rport"])
        known: dict[bytes, bool] = {}
        out = np.zeros(len(records), np.bool_)
        for i, end in enumerate(ends.view(f"V{ends.dtype.itemsize}").tolist()):
            if end not in known:
                known[end] = self._who(records[i]).service == service
            out[i] = known[end]
        return out

    def _one(self, record: Any, ahead: float) -> Flow:
        flags = int(record["flags"])
        local = End(address=address(record["laddr"].tobytes()), port=int(record["lport"]))
        remote = End(address=address(record["raddr"].tobytes()), port=int(record["rport"]))
        serves = record["role"] == self._server
        who = self._who(record)
        texts = not flags & self._no_text
        host = text(record["host"].tobytes()[: int(record["host_len"])]) if texts else ""
        status = int(record["status"])
        verdict = self._verdicts.get(int(record["verdict"]))
        return Flow(
            time=int(record["start"]) / 1e9 + ahead,
            service=who.service,
            namespace=who.namespace,
            role="server" if serves else "client",
            method=self._methods.get(int(record["method"]), "_OTHER"),
            route=self._route(int(record["route"])),
            path=text(record["path"].tobytes()[: int(record["path_len"])]) if texts else None,
            path_cut=bool(flags & self._path_cut),
            host=host or None,
            version=self._versions[int(record["version"])],
            status=status or None,
            error=self._errors.get(int(record["error"])),
            duration=int(record["duration"]) / 1e9,
            ttfb=int(record["ttfb"]) / 1e9 or None,
            request_body=int(record["req_body"]),
            response_body=int(record["resp_body"]),
            request_wire=int(record["req_wire"]),
            response_wire=int(record["resp_wire"]),
            source=remote if serves else local,
            destination=local if serves else remote,
            pid=int(record["pid"]) or None,
            tid=int(record["tid"]) or None,
            command=command(record["comm"].tobytes()),
            cgroup=int(record["cgroup"]),
            connection=f"{int(record['cookie']):x}",
            number=int(record["number"]),
            reasons=[name for bit, name in self._reasons if flags & bit],
            verdict=verdict,
            policy=self._policy(int(record["policy"])) if verdict and record["policy"] else None,
            rule=_rule(int(record["rule"])) if verdict else None,
            denial=self._denials.get(int(record["deny"])),
            caller=self._caller(int(record["ident"])) if verdict else None,
        )


def verdict_names(abi: Abi) -> dict[int, Verdict]:
    """Return the names of enum ax_verdict that stand for a verdict, by their number."""
    known: Sequence[Verdict] = ("forwarded", "audit", "dropped")
    numbers = abi.enum("ax_verdict")
    return {numbers[f"AX_VERDICT_{name.upper()}"]: name for name in known}


def denial_names(abi: Abi) -> dict[int, str]:
    """Return the reasons of denials by their number in enum ax_deny."""
    return {
        number: name.removeprefix("AX_DENY_").lower()
        for name, number in abi.enum("ax_deny").items()
        if name not in {"AX_DENY_NONE", "AX_DENY_MAX"}
    }


def _rule(number: int) -> str | None:
    """Return the place of a rule of struct ax_pol_rule in its policy; None for none."""
    if number == _NO_RULE:
        return None
    return f"ingress[{number >> 8}].httpRules[{number & 0xFF}]"


def error_names(abi: Abi) -> dict[int, ErrorType]:
    """Return the names of enum ax_error that stand for an error, by their number."""
    known: Sequence[ErrorType] = ("no_response", "reset", "incomplete", "timeout")
    numbers = abi.enum("ax_error")
    return {numbers[f"AX_ERROR_{name.upper()}"]: name for name in known}


def version_names(abi: Abi) -> dict[int, str]:
    """Return HTTP's versions by their number in axon.h, such as 1.1."""
    return {
        number: name.removeprefix("AX_VERSION_").replace("_", ".")
        for name, number in abi.enum("ax_version").items()
    }


def command(raw: bytes) -> str:
    """Return a command's name, which ends at a NUL."""
    return text(raw.split(b"\0", 1)[0])


def text(raw: bytes) -> str:
    """Return bytes of the wire as text; what is no UTF-8 is shown as escapes."""
    return raw.decode(errors="backslashreplace")


@lru_cache(4096)
def address(raw: bytes) -> str:
    """Return 16 bytes as an address, an IPv4 one if it is mapped (RFC 4291, 2.5.5.2)."""
    ip = ipaddress.IPv6Address(raw)
    return str(ip.ipv4_mapped or ip)
