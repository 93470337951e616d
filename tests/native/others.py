"""Other parsers of HTTP/1, asked the same: llhttp (by httptools) and h11; and the machine, asked like them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import h11
import httptools

from tests.native.machine import FIN, Machine, Sock
from tests.native.tcp import Tcp

_DONE, _HTTP10 = 1, 2  # enum ax_q_flag


@dataclass
class Heard:
    """What a parser made of a stream: its messages as (name, version, body, wire), and why it stopped.

    `name` is a request's method or a response's status. Versions are 0 and 1. An interim response is
    no message.
    """

    messages: list[tuple[str, int, int, int]] = field(default_factory=list)
    refused: str = ""
    left: bool = False  # it is no longer HTTP


class Llhttp:
    """llhttp, fed byte by byte, so that it tells where messages begin and end."""

    def __init__(self, stream: bytes, *, response: bool) -> None:
        self.heard = Heard()
        self.response = response
        self.at = self.start = self.body = 0
        kind = httptools.HttpResponseParser if response else httptools.HttpRequestParser
        self.parser = kind(self)
        try:
            for at in range(len(stream)):
                self.at = at
                self.parser.feed_data(stream[at : at + 1])
        except httptools.HttpParserUpgrade:
            self.heard.left = True
        except httptools.HttpParserError as e:
            self.heard.refused = str(e)

    def on_message_begin(self) -> None:
        """Take note of where a message begins."""
        self.start, self.body = self.at, 0

    def on_body(self, data: bytes) -> None:
        """Count content."""
        self.body += len(data)

    def on_message_complete(self) -> None:
        """Take note of a message."""
        version = int(self.parser.get_http_version() != "1.0")
        name = (
            str(self.parser.get_status_code())
            if self.response
            else self.parser.get_method().decode()
        )
        if not (self.response and name.startswith("1") and name != "101"):
            wire = self.at + 1 - self.start
            self.heard.messages.append((name, version, self.body, wire))


def h11_requests(stream: bytes, cuts: list[int]) -> Heard:
    """Ask h11 as a server."""
    heard = Heard()
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    body, current = 0, None
    try:
        for piece in pieces(stream, cuts):
            connection.receive_data(piece)
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                if isinstance(event, h11.Request):
                    current, body = event, 0
                elif isinstance(event, h11.Data):
                    body += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    assert current is not None
                    version = int(current.http_version != b"1.0")
                    heard.messages.append((current.method.decode(), version, body, -1))
                    connection.send(h11.Response(status_code=204, headers=[]))
                    connection.send(h11.EndOfMessage())
                    if connection.states[h11.SERVER] is not h11.DONE:
                        heard.left = True
                        return heard
                    connection.start_next_cycle()
    except h11.RemoteProtocolError as e:
        heard.refused = str(e)
    return heard


def h11_responses(stream: bytes, cuts: list[int], methods: list[str]) -> Heard:
    """Ask h11 as a client that has sent these requests, and at the end close the stream."""
    heard = Heard()
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    body, current = 0, None
    asked = iter(methods)

    def ask() -> bool:
        method = next(asked, None)
        if method is not None:
            connection.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
            connection.send(h11.EndOfMessage())
        return method is not None

    ask()
    try:
        for piece in [*pieces(stream, cuts), b""]:
            connection.receive_data(piece)
            while True:
                event = connection.next_event()
                if (
                    event is h11.NEED_DATA
                    or event is h11.PAUSED
                    or isinstance(event, h11.ConnectionClosed)
                ):
                    break
                if isinstance(event, h11.Response):
                    current, body = event, 0
                elif isinstance(event, h11.Data):
                    body += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    assert current is not None
                    version = int(current.http_version != b"1.0")
                    heard.messages.append((str(current.status_code), version, body, -1))
                    if (
                        connection.states[h11.SERVER] is not h11.DONE
                        or connection.states[h11.CLIENT] is not h11.DONE
                    ):
                        heard.left = True
                        return heard
                    connection.start_next_cycle()
                    if not ask():
                        return heard
    except h11.RemoteProtocolError as e:
        heard.refused = str(e)
    return heard


def axon_requests(machine: Machine, stream: bytes, cuts: list[int]) -> Heard:
    """Ask the machine, at a server that does not answer: up to 32 requests."""
    machine.reset()
    machine.observe_all()
    heard = Heard()
    with machine.sock() as sock:
        tcp = Tcp(sock)
        for piece in pieces(stream, cuts):
            tcp.arrive(tcp.received, piece)
        heard.refused = _refusal(machine, sock)
        heard.left = sock.kind == "UPGRADED"
        heard.messages = list(_complete(machine, sock))
    return heard


def axon_responses(machine: Machine, stream: bytes, cuts: list[int], methods: list[str]) -> Heard:
    """Ask the machine, at a client that has sent these requests."""
    machine.reset()
    machine.observe_all()
    heard = Heard()
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.leave(0, b"".join(b"%s / HTTP/1.1\r\nHost: h\r\n\r\n" % m.encode() for m in methods))
        for piece in pieces(stream, cuts):
            tcp.arrive(tcp.received, piece)
        heard.refused = _refusal(machine, sock)
        tcp.arrive(tcp.received, b"", flags=FIN)
        heard.left = sock.kind == "UPGRADED"
        for flow in machine.flows():
            if not flow["error"]:
                version = 1
                heard.messages.append(
                    (str(flow["status"]), version, int(flow["resp_body"]), int(flow["resp_wire"]))
                )
    return heard


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Cut a stream."""
    at = sorted({0, len(stream), *(c for c in cuts if c < len(stream))})
    return [stream[a:b] for a, b in zip(at, at[1:], strict=False)]


def _complete(machine: Machine, sock: Sock) -> Iterator[tuple[str, int, int, int]]:
    """Yield what the machine keeps of the complete requests of a connection that was sent no answer."""
    conn = sock.storage("ax_conns", "ax_conn")
    pipe = sock.storage("ax_pipe", "ax_pipe")
    methods = {
        n: name.removeprefix("AX_METHOD_") for name, n in machine.btf.enum("ax_method").items()
    }
    for i in range(0 if conn is None else int(conn["req"]["n"])):
        q = pipe["q"][i % 32]["q"] if i and pipe is not None else conn["q0"]
        if q["flags"] & _DONE:
            body = int(q["body"])
            yield (
                methods[int(q["method"])],
                int(not q["flags"] & _HTTP10),
                body,
                int(q["over"]) + body,
            )


def _refusal(machine: Machine, sock: Sock) -> str:
    """Why a connection is not read any further, once TCP has taken what came; "" if it is."""
    conn = sock.storage("ax_conns", "ax_conn")
    if conn is not None and conn["doubt"]:
        return machine.names[int(conn["doubt"])]
    return next(iter(machine.losses), "")
