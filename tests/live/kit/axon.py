"""An attached Axon and what it has counted, in the words of HTTP."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon import kernel
from axon.settings import Settings

ROLES = ("server", "client")


@dataclass(frozen=True)
class Row:
    """A series: what it stands for and what was counted. Sums are over all of its requests."""

    role: str
    method: str
    route: str
    status: int
    error: str
    version: str
    port: int
    peer: str
    comm: str
    cgroup: int
    pid: int
    count: int
    dur_sum: int
    ttfb_sum: int
    req_body: int
    resp_body: int
    req_wire: int
    resp_wire: int
    req_size: NDArray[np.uint64] = field(repr=False)
    resp_size: NDArray[np.uint64] = field(repr=False)
    hist: NDArray[np.uint64] = field(repr=False)

    @property
    def text(self) -> str:
        """The series as tests expect it: `GET /users/{id} 200`, or `GET /a - no_response`."""
        return f"{self.method} {self.route} {self.status or '-'} {self.error}".rstrip()


class Axon:
    """A data plane that is attached for the tests."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kernel = kernel.attach(settings)
        self._open = True
        self._roles = self._names("ax_role")
        self._methods = self._names("ax_method")
        self._errors = self._names("ax_error")
        self._versions = self._names("ax_version")
        self._stats = self.kernel.abi.enum("ax_stat")

    def rows(self, port: int | None = None) -> list[Row]:
        """Return every series that has counted something, or those of a server's port."""
        used = self.kernel.used_slots()
        slots, cells = self.kernel.slots(used), self.kernel.cells(used)
        chosen = slots["created"] != 0
        if port is not None:
            chosen &= slots["key"]["port"] == port
        found = []
        for i in np.flatnonzero(chosen).tolist():
            total = {name: _added(cells, name, i) for name in cells[0].dtype.names or ()}
            if total["hist"].any():
                found.append(self._row(slots[i], total))
        return found

    def tally(self, port: int, role: str) -> Counter[str]:
        """Return how many requests of each series were counted at a server's port."""
        counts: Counter[str] = Counter()
        for row in self.rows(port):
            if row.role == role:
                counts[row.text] += row.count
        return counts

    def total(self, role: str, port: int | None = None) -> int:
        """Return how many requests were counted."""
        return sum(row.count for row in self.rows(port) if row.role == role)

    def stats(self) -> dict[str, int]:
        """Return the counters beside requests by their names in the contract, without AX_."""
        values = self.kernel.stats()
        return {
            name.removeprefix("AX_"): int(values[i])
            for name, i in self._stats.items()
            if name != "AX_STAT_MAX"
        }

    def flows(self) -> list[dict[str, Any]]:
        """Take the flow records that wait, with text and addresses decoded."""
        return [self._flow(record) for record in self.kernel.ring().read()]

    def close(self) -> None:
        """Detach, unless that was done."""
        if self._open:
            self._open = False
            self.kernel.close(detach=True)

    def _names(self, enum: str) -> dict[int, str]:
        prefix = enum.upper() + "_"
        return {v: k.removeprefix(prefix) for k, v in self.kernel.abi.enum(enum).items()}

    def _error(self, value: int) -> str:
        return "" if not value else self._errors[value].lower()

    def _route(self, route: int) -> str:
        fixed = {0: "other", 1: "none"}
        return fixed.get(route) or self.kernel.lookup_routes([route]).get(route, f"?{route}")

    def _row(self, slot: Any, total: dict[str, NDArray[np.uint64]]) -> Row:
        key = slot["key"]
        return Row(
            role=self._roles[int(key["role"])].lower(),
            method=self._methods[int(key["method"])],
            route=self._route(int(key["route"])),
            status=int(key["status"]),
            error=self._error(int(key["error"])),
            version=self._versions[int(key["version"])].replace("_", "."),
            port=int(key["port"]),
            peer=address(key["peer"]),
            comm=text(key["comm"]),
            cgroup=int(key["cgroup"]),
            pid=int(slot["pid"]),
            count=int(total["hist"].sum()),
            **{name: int(total[name]) for name in _SUMS},
            req_size=total["req_size"],
            resp_size=total["resp_size"],
            hist=total["hist"],
        )

    def _flow(self, record: Any) -> dict[str, Any]:
        plain = {name: record[name] for name in record.dtype.names}
        return plain | {
            "role": self._roles[int(record["role"])].lower(),
            "method": self._methods[int(record["method"])],
            "error": self._error(int(record["error"])),
            "path": text(record["path"][: int(record["path_len"])]),
            "host": text(record["host"][: int(record["host_len"])]),
            "comm": text(record["comm"]),
            "laddr": address(record["laddr"]),
            "raddr": address(record["raddr"]),
            "raw": record.tobytes(),
        }


class Attacher:
    """Attaches data planes to a cgroup, each with directories of its own, and removes them."""

    def __init__(self, name: str, cgroup: Path, run_dir: Path) -> None:
        self._settings = Settings(
            pin_dir=Path("/sys/fs/bpf") / name, run_dir=run_dir, cgroup=cgroup, learn_routes=False
        )
        self._made = 0
        self._undo = ExitStack()

    def settings(self, **changed: object) -> Settings:
        """Return settings with directories that no other data plane has."""
        self._made += 1
        suffix = f"-{self._made}"
        mine = self._settings
        self._undo.callback(_detach_if_there, mine.pin_dir.with_name(mine.pin_dir.name + suffix))
        return replace(
            mine,
            pin_dir=mine.pin_dir.with_name(mine.pin_dir.name + suffix),
            run_dir=mine.run_dir.with_name(mine.run_dir.name + suffix),
            **changed,  # type: ignore[arg-type]
        )

    def __call__(self, **changed: object) -> Axon:
        """Attach one more, with some settings changed."""
        made = Axon(self.settings(**changed))
        self._undo.callback(made.close)
        return made

    def close(self) -> None:
        """Detach all."""
        self._undo.close()


_SUMS = ("dur_sum", "ttfb_sum", "req_body", "resp_body", "req_wire", "resp_wire")

Attach = Callable[..., Axon]


def text(raw: NDArray[np.uint8]) -> str:
    """Decode bytes up to a NUL."""
    return raw.tobytes().split(b"\0")[0].decode(errors="backslashreplace")


def address(raw: NDArray[np.uint8]) -> str:
    """Decode an address; the empty string for none."""
    data = raw.tobytes()
    if not any(data):
        return ""
    six = ipaddress.IPv6Address(data)
    return str(six.ipv4_mapped or six)


def _added(shards: list[NDArray[Any]], name: str, i: int) -> NDArray[np.uint64]:
    total: NDArray[np.uint64] = np.sum([shard[name][i] for shard in shards], axis=0)
    return total


def _detach_if_there(pin_dir: Path) -> None:
    if pin_dir.exists():
        kernel.detach_all(pin_dir)
