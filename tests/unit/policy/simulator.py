"""The kernel's walk over the compiled arrays, written from the comments of bpf/axon_policy.h."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from axon.policy.compiler import layout
from axon.policy.compiler.arena import Arena
from axon.policy.compiler.compile import Compiled
from axon.policy.compiler.layout import Kind, SetFlag
from axon.policy.judging.judge import Request, Verdict
from axon.policy.language.model import Address
from axon.policy.language.paths import TEXT, Refusal, canonical

_U64 = (1 << 64) - 1
UNKNOWN, WORLD = 0, 1


class Socket(NamedTuple):
    """What the kernel knows a socket by."""

    cgroup: int = 0
    command: str = "cat"
    port: int = 0


class Outcome(NamedTuple):
    """A verdict, and the policy and the rule's number that it is put to; 0 and -1: none."""

    verdict: Verdict
    policy: int = 0
    rule: int = -1


class Kernel:
    """A generation in its maps."""

    def __init__(self, compiled: Compiled, secret: int, arena: Arena | None = None) -> None:
        arena = arena or Arena(1 << 22)
        self.placement = arena.place(compiled.images)
        self.secret = secret
        self.arena = np.full(self.placement.end + 64, 0xDEAD_BEEF_DEAD_BEEF, np.uint64)
        self.arena[:8] = 0
        for base, cells in self.placement.writes:
            self.arena[base : base + len(cells)] = cells
        self.dir = self.placement.entries
        self.targets = dict(
            zip(_rows(compiled.targets), (int(s) for s in compiled.sets), strict=True)
        )
        self.callers = dict(
            zip(_rows(compiled.callers), (int(i) for i in compiled.idents), strict=True)
        )
        self.addresses = list(zip(compiled.addresses, compiled.peers, strict=True))

    # --- who and where

    def set_of(self, socket: Socket) -> int:
        """ax_pol_target."""
        for cgroup in (socket.cgroup, 0):
            for command in (socket.command, ""):
                for port in (socket.port, 0):
                    found = self.targets.get(_target(cgroup, command, port))
                    if found is not None:
                        return found
        return 0

    def ident_of(self, socket: Socket | None, address: Address | None) -> int:
        """ax_pol_caller for a caller on this host, ax_pol_peer for any other."""
        if socket is None:
            return self.peer_of(address)[0] or WORLD
        for command in (socket.command, ""):
            found = self.callers.get(_caller(socket.cgroup, command))
            if found is not None:
                return found
        return UNKNOWN

    def peer_of(self, address: Address | None) -> tuple[int, int]:
        """ax_pol_addr: the longest prefix counts."""
        if address is None:
            return 0, 0
        value = int(address)
        if isinstance(address, ipaddress.IPv4Address):
            value |= 0xFFFF << 32
        best = (-1, 0, 0)
        for key, peer in self.addresses:
            assert key["half"] == 0
            bits = int(key["bits"]) - 32
            prefix = int.from_bytes(key["addr"].tobytes(), "big")
            if bits > best[0] and value >> (128 - bits) == prefix >> (128 - bits):
                best = (bits, int(peer["ident"]), int(peer["block"]))
        return best[1], best[2]

    # --- the walk

    def judge(
        self, server: Socket, caller: Socket | None, address: Address | None, request: Request
    ) -> Outcome:
        """Judge a request."""
        number = self.set_of(server)
        if number == 0:
            return Outcome(Verdict.NONE)
        entry = self.dir[number]
        flags = SetFlag(int(entry["flags"]))
        if not request.http and flags & SetFlag.NON_HTTP:
            return Outcome(Verdict.FORWARDED)
        bits = self._matching(entry, caller, address, request)
        enforce, count = int(entry["enforce"]), int(entry["count"])
        allowed = -1
        for flag, first, end, field, verdict in (
            (SetFlag.ENFORCE, 0, enforce, "deny", Verdict.DROPPED),
            (SetFlag.AUDIT, enforce, count, "audit", Verdict.AUDIT),
        ):
            if not flags & flag:
                continue
            rule = self._lowest(entry, bits, first, end, request)
            if rule < 0:
                return Outcome(verdict, int(entry[field]))
            allowed = rule if allowed < 0 else allowed
        record = self._rule(entry, allowed)
        return Outcome(Verdict.FORWARDED, int(record["policy"]), int(record["number"]))

    def _matching(
        self, entry: Any, caller: Socket | None, address: Address | None, request: Request
    ) -> int:
        """The intersection of all bitmaps."""
        any_from = self._bitmap(int(entry["any_from"]))
        ident, block = self.ident_of(caller, address), self.peer_of(address)[1]
        bits = self._number(entry, Kind.IDENT, ident, any_from)
        bits |= self._number(entry, Kind.BLOCK, block, any_from)
        bits &= self._number(entry, Kind.PORT, request.port, self._bitmap(int(entry["any_port"])))
        path = canonical(request.target)
        if not request.http or isinstance(path, Refusal):
            return bits & self._bitmap(int(entry["opaque"]))
        found = self._find(entry, Kind.METHOD, 0, request.method.encode())
        bits &= self._bitmap(int(entry["any_method"])) if found is None else found
        bits &= self._host(entry, request.host)
        n = len(path)
        bits &= self._pointed(entry["length"], min(n, layout.DEPTH + 1))
        for depth, segment in enumerate(path[: layout.DEPTH]):
            here = self._find(entry, Kind.SEGMENT, depth, segment) or 0
            if segment:
                here |= self._pointed(entry["wild"], depth)
            bits &= here
        return bits

    def _host(self, entry: Any, field: str | None) -> int:
        any_host = self._bitmap(int(entry["any_host"]))
        if field is None:
            return any_host
        host = field.lower().encode()
        if host.rpartition(b":")[2].isdigit() or host.endswith(b":"):
            host = host.rpartition(b":")[0]
        found = self._find(entry, Kind.HOST, 0, host)
        if found is None and int(entry["flags"]) & SetFlag.HOST_TAILS:
            for at in range(1, len(host)):
                if host[at : at + 1] == b".":
                    found = self._find(entry, Kind.TAIL, 0, host[at:][::-1])
                    if found is not None:
                        break
        return any_host if found is None else found

    def _lowest(self, entry: Any, bits: int, first: int, end: int, request: Request) -> int:
        """The lowest bit of a rule whose wildcards inside segments match too."""
        bits &= (1 << end) - (1 << first)
        while bits:
            rule = (bits & -bits).bit_length() - 1
            if all(self._globs(int(self._rule(entry, rule)["glob"]), request)):
                return rule
            bits &= bits - 1
        return -1

    def _globs(self, at: int, request: Request) -> Iterator[bool]:
        path = canonical(request.target)
        while at and self.arena[at]:
            glob = self.arena[at : at + 1].view(layout.GLOB)[0]
            prefix, suffix = int(glob["prefix"]), int(glob["suffix"])
            before = self._text(at + 1, prefix)
            after = self._text(at + 1 + -(-prefix // 8), suffix)
            assert glob["one"] == 1
            assert isinstance(path, list)
            segment = path[glob["depth"]]
            yield (
                len(segment) >= prefix + suffix
                and segment.startswith(before)
                and segment.endswith(after)
            )
            at += 1 + -(-prefix // 8) + -(-suffix // 8)

    # --- cells

    def _rule(self, entry: Any, rule: int) -> Any:
        at = int(entry["rules"]) + 2 * rule
        return self.arena[at : at + 2].view(layout.RULE)[0]

    def _text(self, at: int, length: int) -> bytes:
        return self.arena[at : at + -(-length // 8)].tobytes()[:length]

    def _pointed(self, table: Any, index: int) -> int:
        return self._bitmap(int(self.arena[int(table) + index]))

    def _bitmap(self, at: int) -> int:
        bits = 0
        cell = at + layout.GROUPS
        for group in range(layout.GROUPS):
            summary = int(self.arena[at + group])
            while summary:
                low = (summary & -summary).bit_length() - 1
                assert self.arena[cell] != 0
                bits |= int(self.arena[cell]) << ((group * 64 + low) * 64)
                summary &= summary - 1
                cell += 1
        return bits

    def _number(self, entry: Any, kind: Kind, number: int, otherwise: int) -> int:
        found = self._find(entry, kind, 0, number.to_bytes(4, "little"))
        return otherwise if found is None else found

    def _find(self, entry: Any, kind: Kind, sub: int, text: bytes) -> int | None:
        """Look a key up in a set's table."""
        if len(text) > TEXT:
            return None
        h = self.secret
        for byte in text:
            h = (h ^ byte) * 0x100000001B3 & _U64
        h ^= (kind << 8 | sub) * 0x9FB21C651E98DF25 & _U64
        h ^= h >> 32
        for probe in range(layout.PROBES):
            bucket = int(entry["table"]) + 2 * ((h + probe) & int(entry["mask"]))
            at = int(self.arena[bucket + 1])
            if at == 0:
                return None
            record = self.arena[at : at + 1].view(layout.RECORD)[0]
            if (
                int(self.arena[bucket]) == h
                and (record["kind"], record["sub"]) == (kind, sub)
                and self._text(at + 1, int(record["len"])) == text
            ):
                return self._bitmap(int(record["bits"]))
        return None


def _target(cgroup: int, command: str, port: int) -> bytes:
    key = np.zeros((), layout.TARGET)
    key["cgroup"], key["port"] = cgroup, port
    key["comm"] = np.frombuffer(command.encode().ljust(16, b"\0"), np.uint8)
    return key.tobytes()


def _caller(cgroup: int, command: str) -> bytes:
    key = np.zeros((), layout.CALLER)
    key["cgroup"] = cgroup
    key["comm"] = np.frombuffer(command.encode().ljust(16, b"\0"), np.uint8)
    return key.tobytes()


def _rows(keys: NDArray[Any]) -> list[bytes]:
    rows = [key.tobytes() for key in keys]
    assert len(set(rows)) == len(rows)
    return rows
