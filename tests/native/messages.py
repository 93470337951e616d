"""HTTP/1 messages as they come, well formed: every framing, every liberty that RFC 9112 allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.native import reference

Pieces = tuple[tuple[bytes, bool], ...]

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")


@dataclass(frozen=True, repr=False)
class Message:
    """A message: what stands before it (`lead`), its head, and its content as (bytes, is body) pieces."""

    head: bytes
    pieces: Pieces = ()
    lead: bytes = b""

    def __repr__(self) -> str:
        pieces = [data if len(data) < 100 else f"{len(data)} bytes" for data, _ in self.pieces]
        return f"<{self.lead[:500]!r} {self.head[:2000]!r} {pieces}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the same where hypothesis reports."""
        printer.text(repr(self))

    @property
    def raw(self) -> bytes:
        """All of its bytes."""
        return self.lead + self.head + b"".join(data for data, _ in self.pieces)

    @property
    def body(self) -> int:
        """Bytes of its content."""
        return sum(len(data) for data, is_body in self.pieces if is_body)

    @property
    def wire(self) -> int:
        """Bytes from its start line to its end."""
        return len(self.raw) - len(self.lead)

    def body_in(self, sent: int) -> int:
        """Bytes of content among the first `sent` bytes of `raw`."""
        at, found = len(self.lead) + len(self.head), 0
        for data, is_body in self.pieces:
            found += min(max(sent - at, 0), len(data)) if is_body else 0
            at += len(data)
        return found


@dataclass(frozen=True, repr=False)
class Request(Message):
    """A request and what should be said of it. `route` is b"" where there is no path."""

    method: str = "GET"
    version: int = 1
    path: bytes = b""
    cut: bool = False
    route: bytes = b""
    host: bytes = b""


@dataclass(frozen=True, repr=False)
class Response(Message):
    """A response; `until_close`: its content ends with the connection; `leaves`: no longer HTTP after it."""

    status: int = 200
    until_close: bool = False
    leaves: bool = False


_TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_VALUE = st.binary(max_size=40).map(lambda b: bytes(32 + c % 95 for c in b))
_EOL = st.sampled_from([b"\r\n"] * 7 + [b"\n"])
_BLANKS = st.sampled_from([b" ", b"", b"  ", b"\t", b" \t "])


def _cased(text: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from(
        [text.encode(), text.lower().encode(), text.upper().encode(), text.swapcase().encode()]
    )


_NAMES = st.one_of(
    st.sampled_from(
        [
            b"Accept", b"Cookie", b"Content-Type", b"Content-Lengths", b"Content-Lengt", b"content-",
            b"TE", b"Trailer", b"Transfer-Encode", b"Transfer-Encodings", b"Hos", b"Hosts", b"Host-X",
            b"c", b"t", b"h", b"X-Content-Length", b"Connection", b"Upgrade", b"transfer-",
        ]
    ),
    st.text(_TOKEN, min_size=1, max_size=20)
    .filter(lambda n: n.lower() not in {"content-length", "transfer-encoding", "host"})
    .map(str.encode),
)  # fmt: skip
_LONG = st.integers(480, 3000).map(lambda n: bytes(33 + i % 90 for i in range(n)))


@st.composite
def _plain_field(draw: st.DrawFn) -> bytes:
    value = draw(st.one_of(_VALUE, _VALUE, _VALUE, _LONG))
    line = draw(_NAMES) + b":" + draw(_BLANKS) + value + draw(_EOL)
    if draw(st.integers(0, 15)) == 0:
        line += draw(st.sampled_from([b" ", b"\t"])) + draw(_VALUE) + draw(_EOL)
    return line


def _fields(most: int = 4) -> st.SearchStrategy[list[bytes]]:
    return st.lists(_plain_field(), max_size=most)


@st.composite
def _head(draw: st.DrawFn, start: bytes, framing: list[bytes], most: int = 4) -> bytes:
    """Put framing fields among others, behind a start line."""
    lines = draw(_fields(most)) + framing
    order = draw(st.permutations(range(len(lines)))) if framing else range(len(lines))
    # what is framing keeps its order: two transfer codings mean something else the other way round
    rank = iter(sorted(i for i in order if i >= len(lines) - len(framing)))
    lines = [lines[next(rank) if i >= len(lines) - len(framing) else i] for i in order]
    return start + draw(_EOL) + b"".join(lines) + draw(_EOL)


@st.composite
def _length(draw: st.DrawFn, n: int) -> list[bytes]:
    name = draw(_cased("Content-Length"))
    digits = b"0" * draw(st.sampled_from([0, 0, 0, 1, 4])) + str(n).encode()
    line = (
        name
        + b":"
        + draw(_BLANKS)
        + digits
        + draw(st.sampled_from([b"", b"", b" ", b"\t "]))
        + draw(_EOL)
    )
    return [line] * draw(st.sampled_from([1, 1, 1, 1, 2]))


@st.composite
def _coding(draw: st.DrawFn) -> list[bytes]:
    name = draw(_cased("Transfer-Encoding"))
    before = draw(st.sampled_from(["", "", "", "gzip, ", "gzip ,", "gzip,\t"]))
    last = (
        before.encode() + draw(_cased("chunked")) + draw(st.sampled_from([b"", b"", b" ", b"\t"]))
    )
    lines = [name + b":" + draw(_BLANKS) + last + draw(_EOL)]
    if draw(st.integers(0, 9)) == 0:
        lines.insert(0, b"Transfer-Encoding: gzip\r\n")
    if draw(st.integers(0, 9)) == 0:
        lines.insert(draw(st.integers(0, len(lines))), b"Content-Length: 7\r\n")
    return lines


def _content(n: int, salt: int) -> bytes:
    """Return content that looks like messages, so that a machine which reads it is found out."""
    text = b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nGET /decoy HTTP/1.1\r\n\r\n0\r\n\r\n"
    salt %= len(text)
    return (text[salt:] + text * (n // len(text) + 1))[:n]


_SIZES = st.one_of(st.integers(0, 40), st.integers(0, 40), st.integers(0, 3000), st.just(100_000))


@st.composite
def _chunks(draw: st.DrawFn) -> Pieces:
    pieces: list[tuple[bytes, bool]] = []
    extension = st.sampled_from(
        [b""] * 6 + [b";a=b", b' ; q="x;y"', b"\t;x", b";" + b"e" * 700, b" "]
    )
    for n in draw(st.lists(st.integers(1, 300), max_size=5)):
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"0000%X"])) % n
        pieces += [
            (size + draw(extension) + draw(_EOL), False),
            (_content(n, draw(st.integers(0, 60))), True),
            (draw(_EOL), False),
        ]
    end = draw(st.sampled_from([b"0", b"0", b"0000"])) + draw(extension) + draw(_EOL)
    end += b"".join(draw(_fields(2))) if draw(st.integers(0, 4)) == 0 else b""
    pieces.append((end + draw(_EOL), False))
    return tuple(pieces)


_SEGMENT = st.one_of(
    st.sampled_from(
        [
            b"api", b"users", b"v1", b"", b"1", b"42", b"-7", b"12-34", b"deadbeef1", b"DEADBEEF", b"cafe",
            b"0123456789abcdef", b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6", b"a.b_c-1234567890xyz",
            b"index.html", b"%20", b"x" * 60, b"9" * 40, b"..", b"{id}", b"~a", b"Zm9vYmFyMTIzNA",
        ]
    ),
    st.text("abc019-_.%~", max_size=40).map(str.encode),
)  # fmt: skip


@st.composite
def paths(draw: st.DrawFn) -> bytes:
    """Draw a path; long ones are longer than what is kept."""
    segments = draw(
        st.lists(_SEGMENT, min_size=1, max_size=draw(st.sampled_from([3, 3, 3, 20, 60])))
    )
    return b"/" + b"/".join(segments)


@st.composite
def targets(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a request target and the path in it."""
    path = draw(paths())
    query = draw(st.sampled_from([b""] * 4 + [b"?", b"?a=/b/1&c=d", b"#f", b"?q=" + b"s" * 600]))
    kind = draw(st.sampled_from(["origin"] * 6 + ["absolute", "bare"]))
    if kind == "origin":
        return path + query, path
    scheme = draw(st.sampled_from([b"http://", b"https://", b"HTTP://"]))
    authority = draw(st.sampled_from([b"h", b"example.org", b"u:p@example.org:8080", b"[::1]:80"]))
    if kind == "absolute":
        return scheme + authority + path + query, path
    return scheme + authority + query, b"/"


@st.composite
def requests(draw: st.DrawFn, *, connect: bool = False) -> Request:
    """Draw a request of any kind. CONNECT is drawn only when it is asked for."""
    known = [m for m in METHODS if m != "CONNECT"]
    odd = ["get", "PURGE", "M-SEARCH", "G", "GETS", "X" * 31, "propfind", "a!#$%&'*+-.^_`|~0"]
    name = draw(st.sampled_from(["GET", "GET", "POST", *known] * 2 + odd))
    name = "CONNECT" if connect else name
    method = name if name in METHODS else "OTHER"
    if name == "CONNECT":
        target, path, route = (
            draw(st.sampled_from([b"h.example:443", b"10.0.0.1:1", b"[::1]:443"])),
            b"",
            b"",
        )
    elif name == "OPTIONS" and draw(st.booleans()):
        target, path, route = b"*", b"*", b""
    else:
        target, path = draw(targets())
        route = reference.template(reference.kept_path(path)[0])
    version = draw(st.sampled_from([1, 1, 1, 1, 0]))
    framing = draw(st.sampled_from(["none", "none", "none", "length", "chunked"]))
    if name in {"CONNECT", "TRACE"} or (framing == "chunked" and not version):
        framing = "none"
    pieces: Pieces = ()
    fields: list[bytes] = []
    if framing == "length":
        n = draw(_SIZES)
        fields = draw(_length(n))
        pieces = ((_content(n, n), True),)
    elif framing == "chunked":
        fields = draw(_coding())
        pieces = draw(_chunks())
    host = draw(
        st.sampled_from(
            [b"", b"example.org", b"h:8080", b"[::1]:80", b"h" * 63, b"h" * 64, b"h" * 90]
        )
    )
    if host or version:
        # a field of its own behind the start line, or anywhere else
        line = (
            draw(_cased("Host"))
            + b":"
            + draw(_BLANKS)
            + host
            + draw(st.sampled_from([b"", b" "]))
            + b"\r\n"
        )
        fields.insert(0, line)
    start = name.encode() + b" " + target + b" HTTP/1.%d" % version
    kept, cut = reference.kept_path(path)
    return Request(
        head=draw(_head(start, fields)),
        pieces=pieces,
        lead=draw(st.sampled_from([b""] * 8 + [b"\r\n", b"\n", b"\r\n\r\n"])),
        method=method,
        version=version,
        path=kept,
        cut=cut,
        route=route,
        host=host,
    )


_STATUSES = [200, 200, 200, 201, 202, 206, 301, 302, 400, 403, 404, 418, 429, 500, 502, 503, 999]


@st.composite
def _interim(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from([b"100 Continue", b"103 Early Hints", b"102", b"100 ", b"199 x"]))
    return draw(_head(b"HTTP/1.1 " + status, [], 2))


@st.composite
def responses(draw: st.DrawFn, request: Request, *, last: bool = False) -> Response:
    """Draw a response to a request. Only the last one may end with the connection or leave HTTP."""
    lead = b"".join(draw(st.lists(_interim(), max_size=draw(st.sampled_from([0, 0, 0, 2])))))
    version = draw(st.sampled_from([1, 1, 1, 1, 0]))
    status = draw(st.sampled_from([*_STATUSES, 204, 304]))
    leaves = False
    if request.method == "CONNECT" and last and draw(st.booleans()):
        leaves, status = True, draw(st.sampled_from([200, 204]))
    elif last and request.method != "HEAD" and draw(st.integers(0, 7)) == 0:
        leaves, status = True, 101
    elif request.method == "CONNECT":
        status = draw(st.sampled_from([403, 502]))
    reason = draw(st.sampled_from([b" OK", b" ", b"", b" Some words: here", b" \xe9t\xe9"]))
    start = b"HTTP/1.%d %d" % (version, status) + reason
    message = Response(head=b"", lead=lead, status=status, leaves=leaves)
    empty = request.method == "HEAD" or status in {204, 304}
    kinds = ["length", "length", "none"] if empty else ["length", "length", "length", "chunked"]
    if request.method == "HEAD":
        kinds.append("chunked")
    kind = draw(st.sampled_from(kinds + (["close", "coded"] if last and not empty else [])))
    if leaves:
        return replace(message, head=draw(_head(start, [])))
    if kind == "none":
        return replace(message, head=draw(_head(start, [])))
    if kind == "length":
        n = draw(_SIZES)
        content: Pieces = () if empty else ((_content(n, n), True),)
        return replace(message, head=draw(_head(start, draw(_length(n)))), pieces=content)
    if kind == "chunked":
        start = start.replace(b"/1.0", b"/1.1", 1)
        content = () if empty else draw(_chunks())
        return replace(message, head=draw(_head(start, draw(_coding()))), pieces=content)
    n = draw(_SIZES)
    fields = [b"Transfer-Encoding: gzip\r\n"] if kind == "coded" else []
    return replace(
        message, head=draw(_head(start, fields)), pieces=((_content(n, n), True),), until_close=True
    )


@st.composite
def conversations(draw: st.DrawFn, most: int = 6) -> list[tuple[Request, Response]]:
    """Draw exchanges as they follow one another on a connection, some of them again and again."""
    pool: list[tuple[Request, Response]] = []
    out: list[tuple[Request, Response]] = []
    for _ in range(draw(st.integers(1, most)) - 1):
        if bool(pool) and draw(st.booleans()):
            out.append(draw(st.sampled_from(pool)))
            continue
        request = draw(requests())
        pool.append((request, draw(responses(request))))
        out.append(pool[-1])
    request = draw(requests(connect=draw(st.integers(0, 9)) == 0))
    out.append((request, draw(responses(request, last=True))))
    return out
