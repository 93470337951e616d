"""Plays a conversation through a socket, packet by packet, and says what should be counted of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from typing import Any

import numpy as np

from tests.native.machine import FIN, Machine
from tests.native.messages import Message, Request, Response
from tests.native.tcp import Tcp

SERVER, CLIENT = 0, 1
_WINDOW = 512


@dataclass
class Expected:
    """What one request should be counted and told as. Times in ns; None: not said here."""

    request: Request
    status: int = 0
    error: str = "NONE"
    req_body: int = 0
    req_wire: int | None = 0
    resp_body: int = 0
    resp_wire: int | None = 0
    start: int | None = None
    ttfb: int | None = 0
    duration: int | None = None
    text: bool = False


class Side:
    """One direction: its messages one behind the other, and how far they have been sent."""

    def __init__(self, messages: list[Message]) -> None:
        self.stream = b"".join(m.raw for m in messages)
        self.ends = list(accumulate(len(m.raw) for m in messages))
        starts = [0, *self.ends[:-1]]
        self.heads = [s + len(m.lead) for s, m in zip(starts, messages, strict=True)]
        self.bodies = [h + len(m.head) for h, m in zip(self.heads, messages, strict=True)]
        self.lines = [
            h + min(m.head.index(b"\n") + 1, _WINDOW)
            for h, m in zip(self.heads, messages, strict=True)
        ]
        self.at = 0
        self.done = 0

    def limit(self, messages: int) -> int:
        """Where the first so many messages end."""
        return self.ends[min(messages, len(self.ends)) - 1] if messages > 0 else 0


class Talk:
    """A conversation under way. `clock` moves on with every packet."""

    def __init__(
        self,
        tcp: Tcp,
        role: int,
        exchanges: list[tuple[Request, Response]],
        rnd: Random,
        *,
        cut: str = "random",
        window: int = 1,
        early: bool = False,
    ) -> None:
        self.tcp, self.role, self.rnd = tcp, role, rnd
        self.cut, self.window, self.early = cut, window, early
        self.exchanges = exchanges
        self.requests = Side([r for r, _ in exchanges])
        self.responses = Side([r for _, r in exchanges])
        self.expected = [Expected(r) for r, _ in exchanges]
        self.finished = 0

    def run(self, until: int | None = None, packets: int | None = None) -> None:
        """Send everything, or the first so many exchanges, or so many packets."""
        last = len(self.exchanges) if until is None else until
        sent = 0
        while self.requests.at < self.requests.limit(
            last
        ) or self.responses.at < self.responses.limit(last):
            if sent == packets:
                return
            sent += 1
            ahead = min(last, self.finished + self.window)
            ready = self.requests.limit(ahead) - self.requests.at
            answer = self.responses.limit(min(last, self._asked())) - self.responses.at
            if ready and (not answer or self.rnd.random() < 0.6):
                self._send(self.requests, ready)
            else:
                self._send(self.responses, answer)

    def begin_at_listener(
        self, early: Callable[[int, bytes], None], share: float, pieces: int, *, again: bool
    ) -> None:
        """Have a share of the first requests meet the listener, before this connection exists."""
        side = self.requests
        most = min(side.limit(self.window), 60_000)
        end = max(int(most * share), 1)
        cuts = sorted({0, end, *(self.rnd.randint(0, end) for _ in range(pieces - 1))})
        for a, b in pairwise(cuts):
            self._tick()
            self._note_request(a, b, self.tcp.sock.machine.now)
            early(a, side.stream[a:b])
            if again:
                now = self.tcp.sock.machine.now
                early(a, side.stream[a:b])
                self.tcp.sock.machine.now = now
        side.at = self.tcp.received = end

    def close(self) -> None:
        """End the responses' stream, and with it a response that has no other end."""
        self.fin()
        if self.exchanges[-1][1].until_close and self.finished < len(self.expected):
            self._finish()

    def fin(self) -> None:
        """Send the end of the responses' stream."""
        self._deliver(self.responses, self.responses.at, self.responses.at, fin=True)

    def ask(self) -> None:
        """Send the next request, and nothing else."""
        while self.requests.at < self.requests.limit(self.finished + 1):
            self._send(self.requests, self.requests.limit(self.finished + 1) - self.requests.at)

    def break_off(self, error: str) -> None:
        """Say that the connection has ended here, and how: what was asked has no (whole) answer."""
        asked = sum(mark <= self.requests.at for mark in self.requests.bodies)
        begun = self.finished < asked and self.responses.bodies[self.finished] <= self.responses.at
        now = self.tcp.sock.machine.now
        del self.expected[asked:]
        for i in range(self.finished, asked):
            expected, response = self.expected[i], self.exchanges[i][1]
            assert expected.start is not None
            expected.duration = now - expected.start
            self._say_request(i)
            if i == self.finished and begun:
                whole = response.until_close and error == "NO_RESPONSE"
                expected.status, expected.error = response.status, "NONE" if whole else "INCOMPLETE"
                sent = self.responses.at - self.responses.heads[i] + len(response.lead)
                expected.resp_body = response.body_in(sent)
                expected.resp_wire = sent - len(response.lead) if whole else None
            else:
                expected.error, expected.ttfb = error, 0

    def _asked(self) -> int:
        """How many requests may be answered by now."""
        marks = self.requests.bodies if self.early else self.requests.ends
        return sum(mark <= self.requests.at for mark in marks)

    def _tick(self) -> None:
        machine = self.tcp.sock.machine
        machine.now += self.rnd.choice([1, 700, 40_000, 3_000_000])

    def _send(self, side: Side, most: int) -> None:
        """One packet, or what the wire makes of it."""
        end = side.at + self._size(side, most)
        self._tick()
        now = self.tcp.sock.machine.now
        if side is self.requests:
            self._note_request(side.at, end, now)
        else:
            self._note_response(side.at, end, now)
        start, side.at = side.at, end
        self._deliver(side, start, end)
        while side is self.responses and self.finished < len(self.expected):
            response = self.exchanges[self.finished][1]
            if side.ends[self.finished] > end or response.until_close:
                break
            self._finish()

    def _size(self, side: Side, most: int) -> int:
        cut = (
            self.cut
            if self.cut != "mixed"
            else self.rnd.choice(["byte", "message", "all", "mtu", "random"])
        )
        if cut == "byte":
            return 1
        if cut == "message":
            end = next(e for e in side.ends if e > side.at)
            return min(end - side.at, most)
        if cut == "mtu":
            return min(1448, most)
        if cut == "all":
            return min(most, 65_000)
        return min(self.rnd.randint(1, self.rnd.choice([8, 80, 800, 8000])), most)

    def _deliver(self, side: Side, start: int, end: int, *, fin: bool = False) -> None:
        data = side.stream[start:end]
        flags = FIN if fin else 0
        if (side is self.responses) != (self.role == CLIENT):
            self.tcp.leave(start, data, flags=flags)
        else:
            self.tcp.arrive(start, data, flags=flags)

    def _note_request(self, start: int, end: int, now: int) -> None:
        for i, expected in enumerate(self.expected):
            if start <= self.requests.heads[i] < end:
                expected.start = now
            if start < self.requests.lines[i] <= end:
                expected.text = self.finished == i

    def _note_response(self, start: int, end: int, now: int) -> None:
        for i, expected in enumerate(self.expected):
            if start <= self.responses.heads[i] < end and expected.start is not None:
                expected.ttfb = now - expected.start

    def _finish(self) -> None:
        """The oldest response is complete."""
        i = self.finished
        self.finished += 1
        response = self.exchanges[i][1]
        expected = self.expected[i]
        assert expected.start is not None
        expected.duration = self.tcp.sock.machine.now - expected.start
        expected.status = response.status
        expected.resp_body, expected.resp_wire = response.body, response.wire
        self._say_request(i)

    def _say_request(self, i: int) -> None:
        """Note how much of a request has been sent by now."""
        request, expected = self.exchanges[i][0], self.expected[i]
        sent = self.requests.at - self.requests.heads[i] + len(request.lead)
        expected.req_body = request.body_in(sent)
        expected.req_wire = request.wire if sent >= len(request.raw) else None


def check_flows(machine: Machine, role: int, expected: list[Expected]) -> None:
    """Compare the flow records, one a request, with what is expected."""
    flows = machine.flows()
    methods = machine.btf.enum("ax_method")
    errors = machine.btf.enum("ax_error")
    told = machine.btf.enum("ax_flow_flag")
    assert len(flows) == len(expected)
    for i, (flow, want) in enumerate(zip(flows, expected, strict=True)):
        got: dict[str, Any] = {name: int(flow[name]) for name in _PLAIN}
        wanted: dict[str, Any] = {
            **{name: getattr(want, name) for name in _PLAIN if hasattr(want, name)},
            "number": i,
            "role": role,
            "method": methods["AX_METHOD_" + want.request.method],
            "version": want.request.version,
            "error": errors["AX_ERROR_" + want.error],
        }
        got["route"], wanted["route"] = machine.route(flow["route"]), want.request.route
        got["told"], wanted["told"] = not flow["flags"] & told["AX_FLOW_NO_TEXT"], want.text
        if want.text and got["told"]:
            got["path"] = bytes(flow["path"][: flow["path_len"]])
            got["cut"] = bool(flow["flags"] & told["AX_FLOW_PATH_CUT"])
            got["host"] = bytes(flow["host"][: flow["host_len"]])
            wanted["path"], wanted["cut"] = want.request.path, want.request.cut
            wanted["host"] = want.request.host[:64]
        unsaid = [name for name, value in wanted.items() if value is None]
        for name in unsaid:
            del got[name], wanted[name]
        assert got == wanted


_PLAIN = (
    "number", "role", "method", "version", "status", "error", "req_body", "req_wire", "resp_body", "resp_wire",
    "start", "ttfb", "duration",
)  # fmt: skip


def check_counts(machine: Machine, role: int, expected: list[Expected]) -> None:
    """Compare the series' cells with what is expected: every request once, under the right key."""
    methods = machine.btf.enum("ax_method")
    errors = machine.btf.enum("ax_error")
    got: dict[tuple[Any, ...], np.ndarray[Any, Any]] = {}
    for key, cell in machine.series():
        name = (
            machine.route(key["route"]),
            *(int(key[f]) for f in ("role", "method", "version", "status", "error")),
        )
        got[name] = np.array([cell["hist"].sum(), *(cell[f] for f in _SUMS)], np.int64)
    wanted: dict[tuple[Any, ...], np.ndarray[Any, Any]] = {}
    for want in expected:
        r = want.request
        name = (
            r.route,
            role,
            methods["AX_METHOD_" + r.method],
            r.version,
            want.status,
            errors["AX_ERROR_" + want.error],
        )
        row = [
            1,
            want.duration,
            want.ttfb,
            want.req_body,
            want.resp_body,
            want.req_wire,
            want.resp_wire,
        ]
        wanted[name] = wanted.get(name, 0) + np.array(
            [0 if v is None else v for v in row], np.int64
        )
    assert got.keys() == wanted.keys()
    said = [all(getattr(w, f) is not None for w in expected) for f in _FIELDS]
    for name, sums in wanted.items():
        assert dict(zip(_FIELDS, (sums * said).tolist(), strict=True)) == dict(
            zip(_FIELDS, (got[name] * said).tolist(), strict=True)
        )


_SUMS = ("dur_sum", "ttfb_sum", "req_body", "resp_body", "req_wire", "resp_wire")
_FIELDS = ("request", "duration", "ttfb", "req_body", "resp_body", "req_wire", "resp_wire")
