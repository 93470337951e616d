"""What the machine makes of one stream of bytes, be they messages or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import numpy as np

from tests.native.machine import FIN, Machine, Sock
from tests.native.talk import CLIENT, SERVER
from tests.native.tcp import Tcp

ANSWER = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
_ENDED = ("CONN_TLS", "CONN_HTTP2", "CONN_UPGRADED", "CONN_OTHER")


@dataclass(frozen=True)
class Heard:
    """A message that was counted: its length from its first byte to its last, its content, what it says.

    `told`: `path` is the one that was kept; else only `route` stands for it.
    """

    wire: int
    body: int
    method: str
    version: int
    status: int
    told: bool
    path: bytes
    route: bytes


@dataclass(frozen=True)
class Account:
    """Every message that was heard whole, and under which reasons the rest was given up, if it was."""

    messages: tuple[Heard, ...]
    reasons: tuple[str, ...]


class Listening:
    """One connection whose streams are sent in pieces that `rnd` chooses, none longer than `most` bytes."""

    def __init__(self, machine: Machine, sock: Sock, role: int, rnd: Random, most: int) -> None:
        self.machine, self.sock, self.role, self.rnd, self.most = machine, sock, role, rnd, most
        self.tcp = Tcp(sock)
        self.sent = [0, 0]

    def requests(self, stream: bytes, *, prompt: bool) -> Account:
        """Send requests; answer each as soon as it is complete (`prompt`) or all of them at the end."""
        answered = 0
        for piece in self._pieces(stream):
            self._send(SERVER, piece)
            answered += self._answer(self.sock.asked - answered) if prompt else 0
        self._send(SERVER, b"", FIN)
        self._answer(self.sock.asked - answered)
        return self._account("req")

    def responses(self, stream: bytes, methods: Iterable[str]) -> Account:
        """Send as many requests, of these methods, and then the responses, to the end of the stream."""
        for method in methods:
            self._send(SERVER, method.encode() + b" h:1 HTTP/1.1\r\nHost: h\r\n\r\n")
        for piece in self._pieces(stream):
            self._send(CLIENT, piece)
        self._send(CLIENT, b"", FIN)
        return self._account("resp")

    def _pieces(self, stream: bytes) -> list[bytes]:
        """Cut a stream: long enough not to take for ever, and down to a byte a piece."""
        cuts = [0]
        least = len(stream) // 600
        while cuts[-1] < len(stream):
            longest = self.rnd.choice([1, 8, 80, self.most])
            cuts.append(cuts[-1] + max(self.rnd.randint(1, min(longest, self.most)), least))
        return [stream[a:b] for a, b in pairwise(cuts)]

    def _send(self, what: int, data: bytes, flags: int = 0) -> None:
        """Send a piece of the requests (SERVER) or of the responses (CLIENT)."""
        self.machine.now += 1000
        at = self.sent[what]
        self.sent[what] += len(data)
        if what == self.role:
            self.tcp.arrive(at, data, flags=flags)
        else:
            self.tcp.leave(at, data, flags=flags)

    def _answer(self, requests: int) -> int:
        for _ in range(requests):
            self._send(CLIENT, ANSWER)
        return max(requests, 0)

    def _account(self, side: str) -> Account:
        stats = self.machine.stats
        reasons = tuple(name for name in stats if name.startswith("LOST_") or name in _ENDED)
        # a message that ended with its connection, or was answered too soon, was not heard whole
        whole = [f for f in self.machine.flows() if not f["error"]]
        return Account(tuple(self._heard(f, side) for f in whole), reasons)

    def _heard(self, flow: np.void, side: str) -> Heard:
        machine = self.machine
        methods = {n: name for name, n in machine.btf.enum("ax_method").items()}
        told = machine.btf.enum("ax_flow_flag")["AX_FLOW_NO_TEXT"]
        return Heard(
            int(flow[side + "_wire"]),
            int(flow[side + "_body"]),
            methods[int(flow["method"])].removeprefix("AX_METHOD_"),
            int(flow["version"]),
            int(flow["status"]),
            not flow["flags"] & told,
            bytes(flow["path"][: flow["path_len"]]),
            machine.route(flow["route"]),
        )
