"""The first message of some bytes as llhttp (through httptools) and h11 read it.

Each is asked anew at the beginning of every message, so that what it thinks of a connection's life (a close, a
pipeline) does not keep it from saying where the next message ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
import httptools

_PIECE = 2048
_EMPTY_LINES = re.compile(rb"(?:\r?\n)*")


@dataclass(frozen=True)
class Read:
    """A message that was taken: it lies at `start`..`end`, and has `body` bytes of content.

    A request has status 0, a response no method and no target.
    """

    start: int
    end: int
    body: int
    version: str
    method: str = ""
    target: bytes = b""
    status: int = 0


@dataclass(frozen=True)
class Unfinished:
    """More bytes are waited for; `or_last`: unless the message lasts until the connection's end."""

    or_last: bool = False


@dataclass(frozen=True)
class Refused:
    """It is no message of HTTP/1.1, or nothing that this parser judges."""

    why: str


Opinion = Read | Unfinished | Refused


def empty_content(method: str, status: int) -> bool:
    """Whether a response has no content whatever its fields say (RFC 9112 section 6.3, rules 1 and 2)."""
    return (
        status < 200
        or status in {204, 304}
        or method == "HEAD"
        or (method == "CONNECT" and status < 300)
    )


class _Notes:
    """What llhttp says of a message, in the order in which it says it."""

    def __init__(self) -> None:
        self.target = b""
        self.body = 0
        self.head = self.done = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_headers_complete(self) -> None:
        self.head = True

    def on_body(self, data: bytes) -> None:
        self.body += len(data)

    def on_message_complete(self) -> None:
        self.done = True


class _Llhttp:
    """One parser over one message. `found`: how far it had to be fed until `event`, or None."""

    def __init__(self, make: Callable[[Any], Any], data: bytes, event: str) -> None:
        self.data = data
        self._make, self._event = make, event
        self._begin()
        self.found: int | None = None
        coarse = self._feed(0, _PIECE)
        if coarse is not None:
            self._begin()
            first = coarse - _PIECE
            self._feed(0, _PIECE, first)
            self.found = self._feed(max(first, 0), 1)

    def _begin(self) -> None:
        self.notes = _Notes()
        self.parser = self._make(self.notes)

    def _feed(self, at: int, piece: int, until: int | None = None) -> int | None:
        end = len(self.data) if until is None else until
        for i in range(at, end, piece):
            try:
                self.parser.feed_data(self.data[i : i + piece])
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                if not getattr(self.notes, self._event):  # else it is about what stands behind
                    raise
            if getattr(self.notes, self._event):
                return i + piece
        return None


def llhttp_request(data: bytes) -> Opinion:
    """Ask llhttp for the request that `data` begins with."""
    try:
        run = _Llhttp(httptools.HttpRequestParser, data, "done")
    except httptools.HttpParserError as e:
        return Refused(repr(e))
    if run.found is None:
        return Unfinished()
    method = run.parser.get_method().decode()
    if run.parser.should_upgrade() and method != "CONNECT":
        return Refused("httptools leaves HTTP when an upgrade is only asked for")
    start = len(data) - len(data.lstrip(b"\r\n"))
    version = run.parser.get_http_version()
    return Read(start, run.found, run.notes.body, version, method, run.notes.target)


def llhttp_response(data: bytes, method: str) -> Opinion:
    """Ask llhttp for the final response that `data` begins with; it answers `method`."""
    at = 0
    while True:
        opinion = _llhttp_one_response(data, at, method)
        if not isinstance(opinion, Read) or opinion.status >= 200 or opinion.status == 101:
            return opinion
        at = opinion.end


def _llhttp_one_response(data: bytes, at: int, method: str) -> Opinion:
    rest = data[at:]
    try:
        head = _Llhttp(httptools.HttpResponseParser, rest, "head")
        if head.found is None:
            return Unfinished()
        status = head.parser.get_status_code()
        version = head.parser.get_http_version()
        if empty_content(method, status):
            # its caller has to know that, and has no way to tell it
            return Read(at, at + head.found, 0, version, status=status)
        run = _Llhttp(httptools.HttpResponseParser, rest, "done")
    except httptools.HttpParserError as e:
        return Refused(repr(e))
    if run.found is None:
        return Unfinished(or_last=not run.parser.should_keep_alive())
    return Read(at, at + run.found, run.notes.body, version, status=status)


class _H11:
    """A connection of h11 over some bytes that are all there."""

    def __init__(self, connection: h11.Connection, data: bytes, *, ended: bool) -> None:
        self.connection = connection
        self.size = len(data)
        self.connection.receive_data(data)
        if ended:
            self.connection.receive_data(b"")
        self.head: h11.Request | h11.Response | h11.InformationalResponse | None = None
        self.start = self.body = 0

    @property
    def at(self) -> int:
        """How many bytes it has taken."""
        return self.size - len(self.connection.trailing_data[0])

    def run(self) -> bool:
        """Go on to the end of the message; False where more bytes are waited for."""
        while True:
            event = self.connection.next_event()
            if event is h11.NEED_DATA:
                return False
            if event is h11.PAUSED or isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return self.head is not None
            if isinstance(event, h11.Data):
                self.body += len(event.data)
            elif isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                self.start = self.at
            elif isinstance(event, h11.Request | h11.Response | h11.InformationalResponse):
                self.head = event


def h11_request(data: bytes) -> Opinion:
    """Ask h11 for the request that `data` begins with. It leaves empty lines before it to its caller."""
    found = _EMPTY_LINES.match(data)
    start = found.end() if found else 0
    run = _H11(h11.Connection(h11.SERVER, 2**20), data[start:], ended=False)
    try:
        if not run.run():
            return Unfinished()
    except h11.RemoteProtocolError as e:
        return Refused(str(e))
    head = run.head
    assert isinstance(head, h11.Request)
    return Read(
        start,
        start + run.at,
        run.body,
        head.http_version.decode(),
        head.method.decode(),
        head.target,
    )


def h11_response(data: bytes, method: str) -> Opinion:
    """Ask h11 for the final response that `data` begins with; it answers `method`, and its end ends the connection."""
    client = h11.Connection(h11.CLIENT, 2**20)
    fields = [("Host", "h"), ("Connection", "upgrade"), ("Upgrade", "any")]
    client.send(h11.Request(method=method, target="h:1", headers=fields))
    client.send(h11.EndOfMessage())
    run = _H11(client, data, ended=True)
    try:
        if not run.run():
            return Unfinished()
    except h11.RemoteProtocolError as e:
        cut = "closed connection" in str(e) or "can't handle event type" in str(e)
        return Unfinished() if cut else Refused(str(e))
    head = run.head
    assert isinstance(head, h11.Response | h11.InformationalResponse)
    return Read(run.start, run.at, run.body, head.http_version.decode(), status=head.status_code)
