"""Both ends of connections in one thread, so that a test says which bytes go when."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
from dataclasses import dataclass, field

from tests.live.kit.waiting import until
from tests.live.kit.world import Place, World

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def head(line: str, *fields: str) -> bytes:
    """Return a head of a start line and header fields."""
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


def get(path: str, *fields: str) -> bytes:
    """Return a GET request."""
    return head(f"GET {path} HTTP/1.1", "Host: wire.test", *fields)


def post(path: str, body: bytes, *fields: str) -> bytes:
    """Return a POST request with Content-Length."""
    start = head(
        f"POST {path} HTTP/1.1", "Host: wire.test", f"Content-Length: {len(body)}", *fields
    )
    return start + body


def answer(status: int, body: bytes = b"", *fields: str) -> bytes:
    """Return a response with Content-Length."""
    return head(f"HTTP/1.1 {status} Text", f"Content-Length: {len(body)}", *fields) + body


def receive(sock: socket.socket, size: int) -> bytes:
    """Receive exactly so many bytes."""
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError(f"the stream ended after {len(data)} of {size} bytes")
        data += piece
    return bytes(data)


def send(source: socket.socket, sink: socket.socket, data: bytes, *, step: int = 1 << 16) -> None:
    """Send in pieces of `step` bytes, each received before the next is sent."""
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        source.sendall(piece)
        assert receive(sink, len(piece)) == piece


def acknowledged(sock: socket.socket) -> None:
    """Wait until the peer has acknowledged everything that was sent."""

    def outstanding() -> int:
        raw = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(raw, sys.byteorder)

    until(lambda: not outstanding(), "everything is acknowledged")


def reset(sock: socket.socket) -> None:
    """Close with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@dataclass
class Wire:
    """A connection, both of whose ends are at hand."""

    client: socket.socket
    server: socket.socket
    port: int

    def ask(self, data: bytes, *, step: int = 1 << 16) -> None:
        """Send from the client; return when the server has it."""
        send(self.client, self.server, data, step=step)

    def answer(self, data: bytes = OK, *, step: int = 1 << 16) -> None:
        """Send from the server; return when the client has it."""
        send(self.server, self.client, data, step=step)

    def exchange(self, request: bytes, response: bytes = OK) -> None:
        """Ask and answer."""
        self.ask(request)
        self.answer(response)

    def finish(self) -> None:
        """Close both ends in good order, the client first."""
        self.client.close()
        while self.server.recv(65536):
            pass
        self.server.close()


@dataclass
class Listener:
    """A listening socket and the connections to it."""

    world: World
    server: Place
    client: Place
    address: str
    family: socket.AddressFamily = socket.AF_INET
    listen_family: socket.AddressFamily | None = None
    port: int = 0
    _open: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port = self.port or self.world.port()
        self.listen()

    def listen(self) -> None:
        """Listen at the port."""
        family = self.listen_family or self.family
        self.socket = self.keep(self.server.socket(family))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", self.port))
        self.socket.listen(64)

    def keep(self, sock: socket.socket) -> socket.socket:
        """Have a socket closed at the test's end."""
        self._open.append(sock)
        return sock

    def dial(self) -> socket.socket:
        """Connect; return the client's end."""
        sock = self.keep(self.client.socket(self.family))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((self.address, self.port))
        return sock

    def accept(self) -> socket.socket:
        """Return the server's end of the next connection."""
        sock = self.keep(self.socket.accept()[0])
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(self.socket.gettimeout())
        return sock

    def connect(self) -> Wire:
        """Make a connection."""
        client = self.dial()
        return Wire(client, self.accept(), self.port)

    def close(self) -> None:
        """Close everything."""
        for sock in self._open:
            sock.close()
