"""A filter of flows as the kernel takes it (struct ax_filter), and the same test over an array.

Both read `use` and `negate` in the same way: a request passes if every test in `use` holds, those in
`negate` turned round.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.api.filters import FlowFilter, Network
from axon.arrays import among
from axon.identity import is_placed
from axon.kernel import Abi

Flows = NDArray[Any]
Mask = NDArray[np.bool_]

_BITS = {
    "method": "AX_FILTER_METHOD",
    "status": "AX_FILTER_STATUS",
    "path": "AX_FILTER_PATH",
    "address": "AX_FILTER_ADDR",
    "port": "AX_FILTER_PORT",
    "server_port": "AX_FILTER_LPORT",
    "min_duration": "AX_FILTER_DURATION",
    "role": "AX_FILTER_ROLE",
    "command": "AX_FILTER_COMM",
    "error": "AX_FILTER_ERROR",
    "verdict": "AX_FILTER_VERDICT",
}
_MAPPED = bytes(10) + b"\xff\xff"


def method_names(abi: Abi) -> dict[int, str]:
    """Return the methods' names as the API has them, by their number in axon.h."""
    names = {
        number: name.removeprefix("AX_METHOD_")
        for name, number in abi.enum("ax_method").items()
        if name != "AX_METHOD_MAX"
    }
    return {number: "_OTHER" if name == "OTHER" else name for number, name in names.items()}


@dataclass(frozen=True, slots=True)
class Cgroups:
    """What the kernel, which knows no services, tests for instead: cgroups, or none of them."""

    which: Callable[[Mapping[int, str]], set[int]]
    """Returns them, of the units' and containers' names by cgroup."""
    exact: bool
    """Whether that test is the service's own; else others pass it too."""
    negate: bool


def cgroups_for(wanted: FlowFilter) -> Cgroups | None:
    """Return what to test for in the stead of a filter's service; None: nothing.

    A unit or container is its cgroups. A process is known by more than its cgroup, but it is in none that
    is somebody else's.
    """
    service, negate = wanted.service, "service" in wanted.negate
    if is_placed(service):
        return Cgroups(
            lambda named: {c for c in named if named[c] == service}, exact=True, negate=negate
        )
    if service and not negate:
        return Cgroups(
            lambda named: {c for c in named if named[c] != service}, exact=False, negate=True
        )
    return None


def compile_filter(abi: Abi, wanted: FlowFilter, cgroups: Cgroups | None = None) -> Any:
    """Return the ax_filter for what the kernel can test, with `cgroups` for the service."""
    record = np.zeros((), abi.filter)
    bits = abi.enum("ax_filter_field")
    used = [name for name in wanted.used if name in _BITS]
    record["use"] = sum(bits[_BITS[name]] for name in used)
    record["negate"] = sum(bits[_BITS[name]] for name in used if name in wanted.negate)
    if cgroups:
        record["use"] |= bits["AX_FILTER_CGROUP"]
        record["negate"] |= bits["AX_FILTER_CGROUP"] if cgroups.negate else 0
    for name in used:
        _FILL[name](record, wanted, abi)
    return record


def passes(abi: Abi, wanted: FlowFilter, flows: Flows) -> Mask:
    """Return which of some flows (n,) of ax_flow pass every test but that of the service."""
    out = np.ones(len(flows), np.bool_)
    for name in wanted.used:
        if name in _TEST:
            hit = _TEST[name](flows, wanted, abi)
            out &= hit != (name in wanted.negate)
    return out


def _padded(text: str, size: int) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode()[:size].ljust(size, b"\0"), np.uint8)


def _prefix(network: Network) -> tuple[bytes, int]:
    """Return a network as an IPv6 prefix; an IPv4 one is mapped (RFC 4291, 2.5.5.2)."""
    if isinstance(network, ipaddress.IPv4Network):
        return _MAPPED + network.network_address.packed, network.prefixlen + 96
    return network.network_address.packed, network.prefixlen


def _methods(wanted: FlowFilter, abi: Abi) -> list[int]:
    return [number for number, name in method_names(abi).items() if name in wanted.method]


def _verdicts(wanted: FlowFilter, abi: Abi) -> list[int]:
    numbers = abi.enum("ax_verdict")
    return [numbers[f"AX_VERDICT_{name.upper()}"] for name in wanted.verdict]


def _role(wanted: FlowFilter, abi: Abi) -> int:
    return abi.enum("ax_role")["AX_ROLE_" + wanted.role.upper()]


def _nanoseconds(wanted: FlowFilter) -> int:
    return round((wanted.min_duration or 0) * 1e9)


# --- into a record -----------------------------------------------------------------------------------


def _fill_method(record: Any, wanted: FlowFilter, abi: Abi) -> None:
    record["methods"] = sum(1 << number for number in _methods(wanted, abi))


def _fill_status(record: Any, wanted: FlowFilter, _: Abi) -> None:
    record["status_min"], record["status_max"] = wanted.statuses


def _fill_path(record: Any, wanted: FlowFilter, _: Abi) -> None:
    record["path"] = _padded(wanted.path, record["path"].size)
    record["path_len"] = len(wanted.path.encode())


def _fill_address(record: Any, wanted: FlowFilter, _: Abi) -> None:
    prefix, bits = _prefix(wanted.network)
    record["addr"] = np.frombuffer(prefix, np.uint8)
    record["addr_bits"] = bits


def _fill_port(record: Any, wanted: FlowFilter, _: Abi) -> None:
    record["port"] = wanted.port


def _fill_server_port(record: Any, wanted: FlowFilter, _: Abi) -> None:
    record["lport"] = wanted.server_port


def _fill_duration(record: Any, wanted: FlowFilter, _: Abi) -> None:
    record["min_ns"] = _nanoseconds(wanted)


def _fill_role(record: Any, wanted: FlowFilter, abi: Abi) -> None:
    record["role"] = _role(wanted, abi)


def _fill_command(record: Any, wanted: FlowFilter, _: Abi) -> None:
    record["comm"] = _padded(wanted.command, record["comm"].size)


def _fill_verdict(record: Any, wanted: FlowFilter, abi: Abi) -> None:
    record["verdicts"] = sum(1 << number for number in _verdicts(wanted, abi))


def _fill_error(*_: object) -> None:
    """The bit in `use` says it all."""


_FILL: Mapping[str, Callable[[Any, FlowFilter, Abi], None]] = {
    "method": _fill_method,
    "status": _fill_status,
    "path": _fill_path,
    "address": _fill_address,
    "port": _fill_port,
    "server_port": _fill_server_port,
    "min_duration": _fill_duration,
    "role": _fill_role,
    "command": _fill_command,
    "error": _fill_error,
    "verdict": _fill_verdict,
}


# --- over an array -----------------------------------------------------------------------------------


def _is_method(flows: Flows, wanted: FlowFilter, abi: Abi) -> Mask:
    return among(flows["method"], _methods(wanted, abi))


def _is_status(flows: Flows, wanted: FlowFilter, _: Abi) -> Mask:
    low, high = wanted.statuses
    return np.asarray((flows["status"] >= low) & (flows["status"] <= high))


def _is_path(flows: Flows, wanted: FlowFilter, _: Abi) -> Mask:
    prefix = np.frombuffer(wanted.path.encode(), np.uint8)
    begins = (flows["path"][:, : len(prefix)] == prefix).all(axis=1)
    return np.asarray(begins & (flows["path_len"] >= len(prefix)))


def _is_address(flows: Flows, wanted: FlowFilter, _: Abi) -> Mask:
    prefix, bits = _prefix(wanted.network)
    mask = np.frombuffer(((1 << 128) - (1 << (128 - bits))).to_bytes(16), np.uint8)
    address = np.frombuffer(prefix, np.uint8)
    ends = [((flows[end] & mask) == address).all(axis=1) for end in ("laddr", "raddr")]
    return np.asarray(ends[0] | ends[1])


def _is_port(flows: Flows, wanted: FlowFilter, _: Abi) -> Mask:
    return np.asarray((flows["lport"] == wanted.port) | (flows["rport"] == wanted.port))


def _is_server_port(flows: Flows, wanted: FlowFilter, abi: Abi) -> Mask:
    server = flows["role"] == abi.enum("ax_role")["AX_ROLE_SERVER"]
    return np.asarray(np.where(server, flows["lport"], flows["rport"]) == wanted.server_port)


def _is_long(flows: Flows, wanted: FlowFilter, _: Abi) -> Mask:
    return np.asarray(flows["duration"] >= _nanoseconds(wanted))


def _is_role(flows: Flows, wanted: FlowFilter, abi: Abi) -> Mask:
    return np.asarray(flows["role"] == _role(wanted, abi))


def _is_command(flows: Flows, wanted: FlowFilter, _: Abi) -> Mask:
    command = _padded(wanted.command, flows["comm"].shape[1])
    return np.asarray((flows["comm"] == command).all(axis=1))


def _is_error(flows: Flows, _: FlowFilter, abi: Abi) -> Mask:
    return np.asarray(flows["flags"] & abi.enum("ax_flow_flag")["AX_FLOW_ERROR"] != 0)


def _is_verdict(flows: Flows, wanted: FlowFilter, abi: Abi) -> Mask:
    return among(flows["verdict"], _verdicts(wanted, abi))


_TEST: Mapping[str, Callable[[Flows, FlowFilter, Abi], Mask]] = {
    "method": _is_method,
    "status": _is_status,
    "path": _is_path,
    "address": _is_address,
    "port": _is_port,
    "server_port": _is_server_port,
    "min_duration": _is_long,
    "role": _is_role,
    "command": _is_command,
    "error": _is_error,
    "verdict": _is_verdict,
}
