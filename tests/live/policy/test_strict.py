"""What two readers could understand differently is denied before its server reads a byte of it."""

from __future__ import annotations

import time

import pytest

from tests.live.kit.gate import End, Guarded, expect_403, forbidden, rest
from tests.live.kit.wire import OK, Listener, Wire, get, head, post, receive

HOST = "Host: wire.test"
EVERYTHING = '{method: "*", path: /**}'
PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'


def line(text: str) -> bytes:
    """Return a request with this request line."""
    return head(text, HOST)


def fields(*more: str) -> bytes:
    """Return a POST with these fields."""
    return head("POST /pub/a HTTP/1.1", HOST, *more)


PATHS = {
    "not public": ("RULE", "/secret"),
    "prefix without boundary": ("RULE", "/public"),
    "prefix without slash": ("RULE", "/pub"),
    "double slash": ("PATH", "/pub//a"),
    "double slash first": ("PATH", "//pub/a"),
    "dot": ("PATH", "/pub/./a"),
    "dot at the end": ("PATH", "/pub/."),
    "dots": ("PATH", "/pub/../secret"),
    "dots at the end": ("PATH", "/pub/.."),
    "encoded dots": ("PATH", "/pub/%2e%2e/secret"),
    "encoded dots, upper": ("PATH", "/pub/%2E%2E/secret"),
    "half encoded dots": ("PATH", "/pub/.%2e/secret"),
    "other half encoded": ("PATH", "/pub/%2e./secret"),
    "encoded dot": ("PATH", "/pub/%2e/a"),
    "encoded slash": ("PATH", "/pub/..%2Fsecret"),
    "encoded slash, lower": ("PATH", "/pub/..%2fsecret"),
    "encoded backslash": ("PATH", "/pub/..%5Csecret"),
    "backslash": ("PATH", "/pub\\\\..\\\\secret"),
    "encoded twice": ("PATH", "/pub/%252e%252e/secret"),
    "encoded twice, slash": ("PATH", "/pub/%252Fsecret"),
    "encoded digits": ("PATH", "/pub/%25%32%65%25%32%65/secret"),
    "encoded three times": ("PATH", "/pub/%25252e%25252e/secret"),
    "parameters": ("PATH", "/pub/a;b=c"),
    "parameters of dots": ("PATH", "/pub/..;/secret"),
    "encoded NUL": ("PATH", "/pub/a%00"),
    "encoded newline": ("PATH", "/pub/a%0d%0ab"),
    "overlong": ("PATH", "/pub/%c0%ae%c0%ae/secret%2e"),
    "half an escape": ("PATH", "/pub/%2"),
    "no escape": ("PATH", "/pub/%zz"),
    "escape by u": ("PATH", "/pub/%u002e"),
    "fragment": ("PATH", "/pub/a#b"),
    "fragment in the query": ("REQUEST_LINE", "/pub/a?b#c"),
    "not ASCII": ("PATH", "/pub/\xe9"),
    "control": ("PATH", "/pub/\x01a"),
    "tab": ("PATH", "/pub/\ta"),
    "DEL": ("PATH", "/pub/\x7f"),
    "NUL": ("PATH", "/pub/\x00a"),
    "absolute": ("TARGET", "http://wire.test/pub/a"),
    "absolute of another": ("TARGET", "http://other.test/pub/a"),
    "absolute without a path": ("TARGET", "http://wire.test"),
    "authority": ("TARGET", "wire.test:80"),
    "relative": ("TARGET", "pub/a"),
    "star": ("TARGET", "*"),
    "query alone": ("TARGET", "?a"),
    "empty": ("TARGET", ""),
    "too long": ("LONG_PATH", "/pub/" + "a" * 2100),
}


@pytest.mark.parametrize(("reason", "path"), PATHS.values(), ids=PATHS)
def test_paths(gate: Guarded, loop: Listener, reason: str, path: str) -> None:
    """A path that is not canonical, or that no rule allows, is denied."""
    gate.allow_everywhere(PUBLIC)
    expect_denied(gate, loop.connect(), line(f"GET {path} HTTP/1.1"), reason)


@pytest.mark.parametrize(("reason", "path"), [case for case in PATHS.values() if case[0] != "RULE"])
def test_paths_where_everything_is_allowed(
    gate: Guarded, loop: Listener, reason: str, path: str
) -> None:
    """A path that is not canonical is denied also where every path is allowed."""
    gate.allow_everywhere(EVERYTHING)
    expect_denied(gate, loop.connect(), line(f"GET {path} HTTP/1.1"), reason)


SHAPES = '{method: GET, host: "*.a.test", path: "/pub/a*z/{id}"}'
LONG = "/pub/az/" + "x" * 2040


def test_shapes(gate: Guarded, loop: Listener) -> None:
    """A host by its end, a wildcard inside a segment and one for a whole segment, in a path up to 2,048 bytes, mean what they say."""
    gate.allow_everywhere(SHAPES)
    for path, host, denied in (
        ("/pub/az/1", "b.a.test", ""),
        ("/pub/a-z/1?x", "c.B.A.test:80", ""),
        (LONG, "b.a.test", ""),
        (LONG + "x", "b.a.test", "LONG_PATH"),
        ("/pub/az/1/2", "b.a.test", "RULE"),
        ("/pub/az/", "b.a.test", "RULE"),
        ("/pub/az", "b.a.test", "RULE"),
        ("/pub/ay/1", "b.a.test", "RULE"),
        ("/pub/bz/1", "b.a.test", "RULE"),
        ("/pub/az/1", "a.test", "RULE"),
        ("/pub/az/1", "ba.test", "RULE"),
        ("/pub/az/1", "b.a.test.c", "RULE"),
    ):
        request = head(f"GET {path} HTTP/1.1", f"Host: {host}")
        if denied:
            expect_denied(gate, loop.connect(), request, denied)
            continue
        for step in (len(request), 700):
            wire = loop.connect()
            wire.ask(request, step=step)
            wire.answer()


LINES = {
    "two blanks before the target": ("TARGET", "GET  /pub/a HTTP/1.1"),
    "two blanks behind it": ("REQUEST_LINE", "GET /pub/a  HTTP/1.1"),
    "tab": ("NON_HTTP", "GET\t/pub/a\tHTTP/1.1"),
    "blank first": ("NON_HTTP", " GET /pub/a HTTP/1.1"),
    "blank last": ("REQUEST_LINE", "GET /pub/a HTTP/1.1 "),
    "no version": ("REQUEST_LINE", "GET /pub/a"),
    "empty version": ("REQUEST_LINE", "GET /pub/a "),
    "version in lower case": ("REQUEST_LINE", "GET /pub/a http/1.1"),
    "version 1.2": ("REQUEST_LINE", "GET /pub/a HTTP/1.2"),
    "version 2.0": ("REQUEST_LINE", "GET /pub/a HTTP/2.0"),
    "version 0.9": ("REQUEST_LINE", "GET /pub/a HTTP/0.9"),
    "version 1.10": ("REQUEST_LINE", "GET /pub/a HTTP/1.10"),
    "version 1.01": ("REQUEST_LINE", "GET /pub/a HTTP/01.1"),
    "other protocol": ("REQUEST_LINE", "GET /pub/a HTCPCP/1.1"),
    "method in lower case": ("RULE", "get /pub/a HTTP/1.1"),
    "method with a colon": ("NON_HTTP", "GE:T /pub/a HTTP/1.1"),
    "method of another": ("RULE", "DELETE /pub/a HTTP/1.1"),
    "long method": ("NON_HTTP", "G" * 40 + " /pub/a HTTP/1.1"),
    "CONNECT": ("TARGET", "CONNECT wire.test:80 HTTP/1.1"),
    "CONNECT with a path": ("TARGET", "CONNECT /pub/a HTTP/1.1"),
    "OPTIONS *": ("TARGET", "OPTIONS * HTTP/1.1"),
    "TRACE": ("RULE", "TRACE /pub/a HTTP/1.1"),
    "NUL in the version": ("REQUEST_LINE", "GET /pub/a HTTP/1.1\x00"),
    "CR in the line": ("REQUEST_LINE", "GET /pub/a\rHTTP/1.1"),
    "vertical tab": ("PATH", "GET /pub/a\x0bHTTP/1.1"),
    "blank in the target": ("REQUEST_LINE", "GET /pub/a b HTTP/1.1"),
}


@pytest.mark.parametrize(("reason", "text"), LINES.values(), ids=LINES)
def test_request_lines(gate: Guarded, loop: Listener, reason: str, text: str) -> None:
    """A request line that is not exactly one of HTTP/1 (RFC 9112 section 3) is denied."""
    gate.allow_everywhere(PUBLIC)
    expect_denied(gate, loop.connect(), line(text), reason)


FIELDS = {
    "both lengths": ("LENGTH", "Content-Length: 4", "Transfer-Encoding: chunked"),
    "both lengths, other order": ("LENGTH", "Transfer-Encoding: chunked", "Content-Length: 4"),
    "two lengths": ("LENGTH", "Content-Length: 4", "Content-Length: 5"),
    "the same length twice": ("LENGTH", "Content-Length: 4", "Content-Length: 4"),
    "list of lengths": ("LENGTH", "Content-Length: 4, 4"),
    "signed length": ("LENGTH", "Content-Length: +4"),
    "negative length": ("LENGTH", "Content-Length: -4"),
    "hexadecimal length": ("LENGTH", "Content-Length: 0x4"),
    "length with a fraction": ("LENGTH", "Content-Length: 4.0"),
    "length with a blank": ("LENGTH", "Content-Length: 4 0"),
    "empty length": ("LENGTH", "Content-Length:"),
    "blank length": ("LENGTH", "Content-Length:  "),
    "huge length": ("LENGTH", "Content-Length: 99999999999999999999"),
    "length that overflows": ("LENGTH", "Content-Length: 18446744073709551620"),
    "length with underscore": ("LENGTH", "Content-Length: 1_0"),
    "quoted length": ("LENGTH", 'Content-Length: "4"'),
    "coding twice": ("CODING", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "coding list": ("CODING", "Transfer-Encoding: chunked, chunked"),
    "coding gzip, chunked": ("CODING", "Transfer-Encoding: gzip, chunked"),
    "coding chunked, identity": ("CODING", "Transfer-Encoding: chunked, identity"),
    "coding identity": ("CODING", "Transfer-Encoding: identity"),
    "coding xchunked": ("CODING", "Transfer-Encoding: xchunked"),
    "coding chunkedx": ("CODING", "Transfer-Encoding: chunkedx"),
    "coding quoted": ("CODING", 'Transfer-Encoding: "chunked"'),
    "coding with a parameter": ("CODING", "Transfer-Encoding: chunked;q=1"),
    "coding with vertical tab": ("FIELD", "Transfer-Encoding: \x0bchunked"),
    "coding empty": ("CODING", "Transfer-Encoding:"),
    "coding with a comma": ("CODING", "Transfer-Encoding: chunked,"),
    "blank before the colon": ("FIELD", "Content-Length : 4"),
    "blank before a plain colon": ("FIELD", "X-A : 4"),
    "tab before the colon": ("FIELD", "Content-Length\t: 4"),
    "fold": ("FIELD", "X-A: b", " c"),
    "fold by tab": ("FIELD", "X-A: b", "\tc"),
    "fold of a coding": ("CODING", "Transfer-Encoding:", " chunked"),
    "fold of a length": ("LENGTH", "Content-Length:", " 4"),
    "no colon": ("FIELD", "X-A"),
    "empty name": ("FIELD", ": b"),
    "NUL in a value": ("FIELD", "X-A: b\x00c"),
    "NUL in a name": ("FIELD", "X\x00A: b"),
    "CR in a value": ("FIELD", "X-A: b\rc"),
    "LF in a value": ("FIELD", "X-A: b\nc"),
    "LF and a smuggled field": ("FIELD", "X-A: b\nTransfer-Encoding: chunked"),
    "control in a value": ("FIELD", "X-A: b\x08"),
    "DEL in a value": ("FIELD", "X-A: b\x7f"),
    "not ASCII in a name": ("FIELD", "X-\xe9: b"),
    "brackets in a name": ("FIELD", "X(A): b"),
    "at in a name": ("FIELD", "X@A: b"),
    "another host": ("HOST", "Host: other.test"),
    "the same host": ("HOST", "Host: wire.test"),
    "upgrade to h2 by name": (
        "UPGRADE",
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2",
        "HTTP2-Settings: AA",
    ),
    "upgrade to h2c with a body": (
        "UPGRADE",
        "Connection: Upgrade",
        "Upgrade: h2c",
        "Content-Length: 4",
    ),
    "upgrade to h2c and chunked": (
        "UPGRADE",
        "Connection: Upgrade",
        "Upgrade: h2c",
        "Transfer-Encoding: chunked",
    ),
    "upgrade to h2c and WebSocket": (
        "UPGRADE",
        "Connection: Upgrade",
        "Upgrade: h2c",
        "Upgrade: websocket",
    ),
    "upgrade to h2c in a list": ("UPGRADE", "Connection: Upgrade", "Upgrade: websocket, h2c"),
    "upgrade to TLS": ("UPGRADE", "Connection: Upgrade", "Upgrade: TLS/1.0"),
    "two upgrades": ("UPGRADE", "Connection: Upgrade", "Upgrade: websocket", "Upgrade: websocket"),
    "upgrade with a body": (
        "UPGRADE",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Content-Length: 4",
    ),
    "upgrade and chunked": (
        "UPGRADE",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Transfer-Encoding: chunked",
    ),
    "override of the method": ("OVERRIDE", "X-HTTP-Method-Override: DELETE"),
    "override, shorter": ("OVERRIDE", "X-HTTP-Method: DELETE"),
    "override, other name": ("OVERRIDE", "X-Method-Override: DELETE"),
    "override in another case": ("OVERRIDE", "x-http-METHOD-override: DELETE"),
    "override by underscores": ("OVERRIDE", "X_HTTP_Method_Override: DELETE"),
    "another path": ("OVERRIDE", "X-Original-URL: /secret"),
    "another path, other name": ("OVERRIDE", "X-Rewrite-URL:\t /secret"),
    "another path by underscores": ("OVERRIDE", "x_rewrite-url:/secret"),
    "another path without a slash": ("OVERRIDE", "X-Original-URL: secret"),
    "another path, nearly a URL": ("OVERRIDE", "X-Original-URL: http:/secret"),
    "another path, the scheme alone": ("OVERRIDE", "X-Rewrite-URL: https"),
    "override by other signs": ("OVERRIDE", "X-HTTP-Method.Override: DELETE"),
    "coding by other signs": ("FIELD", "Transfer~Encoding: chunked"),
    "coding by underscores": ("FIELD", "Transfer_Encoding: chunked"),
    "length by underscores": ("FIELD", "Content_Length: 4"),
}


@pytest.mark.parametrize("case", FIELDS.values(), ids=FIELDS)
def test_fields(gate: Guarded, loop: Listener, case: tuple[str, ...]) -> None:
    """Header fields that leave open where a message ends, or what it is, are denied."""
    gate.allow_everywhere(EVERYTHING)
    reason, *more = case
    expect_denied(gate, loop.connect(), fields(*more) + b"0\r\n\r\n", reason)


HEADS = {
    "bare LF": ("REQUEST_LINE", b"GET /pub/a HTTP/1.1\nHost: wire.test\n\n"),
    "bare LF behind the request line": (
        "REQUEST_LINE",
        b"GET /pub/a HTTP/1.1\nHost: wire.test\r\n\r\n",
    ),
    "bare LF behind a field": ("FIELD", b"GET /pub/a HTTP/1.1\r\nHost: wire.test\n\r\n"),
    "bare LF at the end": ("FIELD", b"GET /pub/a HTTP/1.1\r\nHost: wire.test\r\n\n"),
    "bare CR": ("REQUEST_LINE", b"GET /pub/a HTTP/1.1\rHost: wire.test\r\r"),
    "bare CR behind a field": ("FIELD", b"GET /pub/a HTTP/1.1\r\nHost: wire.test\rX: y\r\n\r\n"),
    "CR CR LF": ("REQUEST_LINE", b"GET /pub/a HTTP/1.1\r\r\nHost: wire.test\r\n\r\n"),
    "LF before the request line": ("NON_HTTP", b"\nGET /pub/a HTTP/1.1\r\nHost: wire.test\r\n\r\n"),
    "NUL before the request line": (
        "NON_HTTP",
        b"\0GET /pub/a HTTP/1.1\r\nHost: wire.test\r\n\r\n",
    ),
    "no host": ("HOST", b"GET /pub/a HTTP/1.1\r\n\r\n"),
    "host with a path": ("HOST", b"GET /pub/a HTTP/1.1\r\nHost: wire.test/pub\r\n\r\n"),
    "host with a user": ("HOST", b"GET /pub/a HTTP/1.1\r\nHost: a@wire.test\r\n\r\n"),
    "host with a blank": ("HOST", b"GET /pub/a HTTP/1.1\r\nHost: wire test\r\n\r\n"),
    "host list": ("HOST", b"GET /pub/a HTTP/1.1\r\nHost: wire.test, other.test\r\n\r\n"),
    "host with two ports": ("HOST", b"GET /pub/a HTTP/1.1\r\nHost: wire.test:80:81\r\n\r\n"),
    "host with letters for a port": ("HOST", b"GET /pub/a HTTP/1.1\r\nHost: wire.test:a\r\n\r\n"),
    "host with an open bracket": ("HOST", b"GET /pub/a HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    "folded first field": ("FIELD", b"GET /pub/a HTTP/1.1\r\n Host: wire.test\r\n\r\n"),
    "chunked in HTTP/1.0": (
        "CODING",
        b"POST /pub/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "HTTP/0.9": ("REQUEST_LINE", b"GET /pub/a\r\n"),
    "HTTP/2": ("NON_HTTP", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
    "TLS": ("NON_HTTP", bytes.fromhex("160301020001000001fc0303") + b"\x07" * 500),
    "SSH": ("NON_HTTP", b"SSH-2.0-OpenSSH_9.2\r\n"),
    "Redis": ("NON_HTTP", b"*1\r\n$4\r\nPING\r\n"),
    "PROXY protocol": (
        "TARGET",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /pub/a HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    "PROXY protocol 2": ("NON_HTTP", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\1" * 12),
    "a head without an end": (
        "LONG_HEAD",
        b"GET /pub/a HTTP/1.1\r\nHost: wire.test\r\n" + b"X: y\r\n" * 50_000,
    ),
    "a field without an end": (
        "LONG_HEAD",
        b"GET /pub/a HTTP/1.1\r\nHost: wire.test\r\nX: " + b"y" * 300_000,
    ),
}


@pytest.mark.parametrize(("reason", "raw"), HEADS.values(), ids=HEADS)
def test_heads(gate: Guarded, loop: Listener, reason: str, raw: bytes) -> None:
    """Bytes that are no exact HTTP/1 request, or no HTTP at all, are denied."""
    gate.allow_everywhere(EVERYTHING)
    before = gate.denials()
    wire = loop.connect()
    wire.client.settimeout(3)
    try:
        wire.client.sendall(raw)
    except (ConnectionResetError, BrokenPipeError, TimeoutError):
        assert len(raw) > 1000
    seen = rest(wire.server, 2)
    if len(raw) < 1000:
        assert seen == End(b"", "reset")
    else:  # what was read before the fault is no whole request
        assert b"\r\n\r\n" not in seen.data
        assert seen.how == "reset"
    assert rest(wire.client, 2).how in {"eof", "reset"}
    # of a long one more segments may have been under way
    gate.expect_denials(before, **{reason: 1})


CHUNKS = {
    "no size": ("CHUNK", b"\r\nabcd\r\n0\r\n\r\n"),
    "extension without a size": ("CHUNK", b";a=b\r\n0\r\n\r\n"),
    "size with 0x": ("CHUNK", b"0x4\r\nabcd\r\n0\r\n\r\n"),
    "signed size": ("CHUNK", b"+4\r\nabcd\r\n0\r\n\r\n"),
    "negative size": ("CHUNK", b"-4\r\nabcd\r\n0\r\n\r\n"),
    "size that overflows": ("CHUNK", b"10000000000000004\r\nabcd\r\n0\r\n\r\n"),
    "size of sixteen digits": ("CHUNK", b"0000000000000004\r\nabcd\r\n0\r\n\r\n"),
    "blank before the size": ("CHUNK", b" 4\r\nabcd\r\n0\r\n\r\n"),
    "blank behind the size": ("CHUNK", b"4 \r\nabcd\r\n0\r\n\r\n"),
    "tab behind the size": ("CHUNK", b"4\t\r\nabcd\r\n0\r\n\r\n"),
    "LF behind the size": ("CHUNK", b"4\nabcd\r\n0\r\n\r\n"),
    "CR behind the size": ("CHUNK", b"4\rabcd\r\n0\r\n\r\n"),
    "LF behind the data": ("CHUNK", b"4\r\nabcd\n0\r\n\r\n"),
    "nothing behind the data": ("CHUNK", b"4\r\nabcd0\r\n\r\n"),
    "more data than said": ("CHUNK", b"4\r\nabcde\r\n0\r\n\r\n"),
    "LF in an extension": ("CHUNK", b"4;a\nb\r\nabcd\r\n0\r\n\r\n"),
    "CR in an extension": ("CHUNK", b"4;a\rb\r\nabcd\r\n0\r\n\r\n"),
    "NUL in an extension": ("CHUNK", b"4;a\0\r\nabcd\r\n0\r\n\r\n"),
    "letters": ("CHUNK", b"zz\r\n"),
    "comma": ("CHUNK", b"4,5\r\nabcd\r\n0\r\n\r\n"),
    "LF at the very end": ("FIELD", b"0\r\n\n"),
    "LF behind the last size": ("CHUNK", b"0\n\r\n"),
    "trailer of a length": ("FIELD", b"0\r\nContent-Length: 4\r\n\r\n"),
    "trailer of a coding": ("FIELD", b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "trailer of a host": ("FIELD", b"0\r\nHost: other.test\r\n\r\n"),
    "trailer with a fold": ("FIELD", b"0\r\nX: a\r\n b\r\n\r\n"),
    "trailer with a bare LF": ("FIELD", b"0\r\nX: a\nb\r\n\r\n"),
    "trailer without a colon": ("FIELD", b"0\r\nX\r\n\r\n"),
}


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(("reason", "raw"), CHUNKS.values(), ids=CHUNKS)
def test_chunks(gate: Guarded, loop: Listener, reason: str, raw: bytes, alone: bool) -> None:
    """Chunked framing that is not exact (RFC 9112 section 7.1) is denied before it is read."""
    gate.allow_everywhere(EVERYTHING)
    wire = loop.connect()
    start = fields("Transfer-Encoding: chunked")
    if alone:
        wire.ask(start)
        start = b""
    with gate.denying(**{reason: 1}):
        wire.client.sendall(start + raw)
        assert rest(wire.server) == End(b"", "reset")
        assert rest(wire.client).how in {"reset", "eof"}


SMUGGLED = {
    "behind a length": post("/pub/a", b"abcd"),
    "behind chunks": fields("Transfer-Encoding: chunked") + b"4\r\nabcd\r\n0\r\n\r\n",
    "behind chunks and trailers": fields("Transfer-Encoding: chunked") + b"0\r\nX: y\r\n\r\n",
    "behind a GET": get("/pub/a"),
    "behind a GET with a body": head("GET /pub/a HTTP/1.1", HOST, "Content-Length: 4") + b"abcd",
    "behind an empty line": get("/pub/a") + b"\r\n",
    "behind HTTP/1.0": head("GET /pub/a HTTP/1.0", "Connection: keep-alive"),
}


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("first", SMUGGLED.values(), ids=SMUGGLED)
def test_smuggled(gate: Guarded, loop: Listener, first: bytes, answered: bool) -> None:
    """A denied request exactly behind an allowed one is found, however the first one ended."""
    gate.allow_everywhere(PUBLIC)
    wire = loop.connect()
    with gate.denying(RULE=1):
        if answered:
            wire.ask(first)
            wire.answer()
            wire.client.sendall(get("/secret"))
            expect_403(wire.client)
        else:
            wire.client.sendall(first + get("/secret"))
            assert rest(wire.client) == End(b"", "reset")
        assert rest(wire.server) == End(b"", "reset")


@pytest.mark.parametrize("first", SMUGGLED.values(), ids=SMUGGLED)
def test_allowed_behind(gate: Guarded, loop: Listener, first: bytes) -> None:
    """An allowed one there passes."""
    gate.allow_everywhere(PUBLIC)
    wire = loop.connect()
    wire.exchange(first + get("/pub/b"), OK + OK)
    wire.exchange(get("/pub/c"))
    wire.finish()


BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Accept-Language: de,en-US;q=0.7,en;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Connection: keep-alive",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Priority: u=0, i",
)
GOOD = {
    "curl": head("GET /pub/a HTTP/1.1", "Host: a:80", "User-Agent: curl/8.5", "Accept: */*"),
    "browser": get("/pub/a", *BROWSER),
    "large cookie": get(
        "/pub/a", *BROWSER, "Cookie: " + "; ".join(f"k{i}=" + "v" * 60 for i in range(125))
    ),
    "long query": get("/pub/a?" + "&".join(f"a{i}=%2e%2E%2f..//;{i}" for i in range(400))),
    "empty query": get("/pub/a?"),
    "question in the query": get("/pub/a?b?c/../d"),
    "query not ASCII": get("/pub/a?b=\xfc"),
    "long path": get("/pub/" + "a" * 2000),
    "deep path": get("/pub" + "/a" * 100),
    "dots in a name": get("/pub/a..b/...c/.well-known"),
    "trailing slash": get("/pub/"),
    "trailing slash below": get("/pub/a/"),
    "escapes": get("/pub/%20a%C3%BC%3F%23%3b%2c"),
    "signs": get("/pub/-._~!$&'()*+,=:@"),
    "percent": get("/pub/100%25"),
    "many fields": get("/pub/a", *(f"X-{i}: {i}" for i in range(100))),
    "empty value": get("/pub/a", "X-A:", "X-B: "),
    "blanks about a value": get("/pub/a", "X-A: \t b \t ", "X-B:b"),
    "obs-text": get("/pub/a", "X-A: \xe9\xff\x80"),
    "tab in a value": get("/pub/a", "X-A: a\tb"),
    "quoted": get("/pub/a", 'X-A: "a\\"b;,:="'),
    "long name": get("/pub/a", "X-" + "a" * 300 + ": b"),
    "names like others": get(
        "/pub/a", "Hosts: a", "Content-Lengths: x", "Transfer-Encodings: y", "X-Host: b"
    ),
    "prefixes of others": get(
        "/pub/a", "Hos: a", "Content-Lengt: x", "Upgrad: h2c", "X-HTTP-Metho: DELETE"
    ),
    "underscores": get("/pub/a", "x_request_id: a", "_: b", "Content_Lengths: x"),
    "what a proxy was asked for": get(
        "/pub/a", "X-Original-URL: https://a/secret", "X-Rewrite-URL:", "X-Original-URI: /secret"
    ),
    "what a proxy was asked for, plain": get("/pub/a", "X-Original-URL:http://a/secret"),
    "what a proxy was asked for, long": get("/pub/a", "X-Original-URL: https://a/" + "b" * 900),
    "empty line before": b"\r\n" + get("/pub/a"),
    "two empty lines before": b"\r\n\r\n" + get("/pub/a"),
    "field names in any case": head("GET /pub/a HTTP/1.1", "hOSt: a", "CONTENT-LENGTH: 0"),
    "IPv6 host": head("GET /pub/a HTTP/1.1", "Host: [fd77::1]:8080"),
    "empty host": head("GET /pub/a HTTP/1.1", "Host:"),
    "host with a port": head("GET /pub/a HTTP/1.1", "Host: wire.test:8080"),
    "HTTP/1.0": head("GET /pub/a HTTP/1.0"),
    "ab": head(
        "GET /pub/a HTTP/1.0", "Connection: Keep-Alive", "Host: a", "User-Agent: ApacheBench/2.3"
    ),
    "length 0": post("/pub/a", b""),
    "length with zeros": head("POST /pub/a HTTP/1.1", HOST, "Content-Length: 0004") + b"abcd",
    "body": post("/pub/a", b"a=b&c=d"),
    "large body": post("/pub/a", b"GET /secret HTTP/1.1\r\n\r\n" * 10_000),
    "chunks": fields("Transfer-Encoding: chunked")
    + b"4\r\nabcd\r\n1A\r\n"
    + b"x" * 26
    + b"\r\n0\r\n\r\n",
    "chunked in upper case": fields("Transfer-Encoding: Chunked") + b"0\r\n\r\n",
    "chunked with a blank": fields("Transfer-Encoding: chunked ") + b"0\r\n\r\n",
    "chunk extensions": fields("Transfer-Encoding: chunked")
    + b'4;a=b;c="d e"\r\nabcd\r\n0;e\r\n\r\n',
    "chunk trailers": fields("Transfer-Encoding: chunked", "Trailer: X")
    + b"0\r\nX: y\r\nY: z\r\n\r\n",
    "chunk size with zeros": fields("Transfer-Encoding: chunked") + b"0004\r\nabcd\r\n000\r\n\r\n",
    "many small chunks": fields("Transfer-Encoding: chunked") + b"1\r\na\r\n" * 3000 + b"0\r\n\r\n",
    "large chunks": fields("Transfer-Encoding: chunked")
    + (b"10000\r\n" + b"b" * 65536 + b"\r\n") * 4
    + b"0\r\n\r\n",
    "multipart": post(
        "/pub/a",
        b"--x\r\nContent-Disposition: form-data\r\n\r\nHost: b\r\n--x--\r\n",
        "Content-Type: multipart/form-data; boundary=x",
    ),
    "GET with a body": head("GET /pub/a HTTP/1.1", HOST, "Content-Length: 4") + b"abcd",
    "TE": get("/pub/a", "TE: trailers", "Connection: TE"),
    "authorization": get("/pub/a", "Authorization: Bearer " + "e" * 3000),
    "thirty pipelined": get("/pub/a") * 30,
}


@pytest.mark.parametrize("raw", GOOD.values(), ids=GOOD)
def test_good(gate: Guarded, anywhere: Listener, raw: bytes) -> None:
    """What real clients send passes as it is, whether it comes first or on a kept connection."""
    gate.allow_everywhere(PUBLIC)
    wire = anywhere.connect()
    replies = OK * max(1, raw.count(get("/pub/a")) if raw.startswith(get("/pub/a")) else 1)
    with gate.denying():
        for _ in range(3):
            wire.exchange(raw, replies)
        wire.exchange(get("/pub/z"))
    expect_denied(gate, wire, get("/secret"), "RULE")


def test_expect_continue(gate: Guarded, anywhere: Listener) -> None:
    """A client that waits for 100 (Continue) gets it from its server."""
    gate.allow_everywhere(PUBLIC)
    wire = anywhere.connect()
    for _ in range(3):
        wire.ask(fields("Content-Length: 2000", "Expect: 100-continue"))
        wire.answer(head("HTTP/1.1 100 Continue"))
        wire.ask(b"b" * 2000)
        wire.answer()
    wire.finish()


def test_expect_continue_denied(gate: Guarded, anywhere: Listener) -> None:
    """A denied one reads a 403 in its place."""
    gate.allow_everywhere(PUBLIC)
    put = head("PUT /pub/a HTTP/1.1", HOST, "Content-Length: 9", "Expect: 100-continue")
    expect_denied(gate, anywhere.connect(), put, "RULE", answered=True)


@pytest.mark.parametrize("name", ["large body", "chunks", "many small chunks", "chunk extensions"])
@pytest.mark.parametrize("step", [7, 1000])
def test_bodies_in_packets(gate: Guarded, anywhere: Listener, name: str, step: int) -> None:
    """Bodies pass in any number of packets."""
    gate.allow_everywhere(PUBLIC)
    wire = anywhere.connect()
    raw = GOOD[name][: 3000 if name == "large body" else None]
    if name == "large body":
        raw = post("/pub/a", raw)
    wire.ask(raw, step=step)
    wire.answer()
    wire.exchange(get("/pub/b"))
    wire.finish()


ALLOWED_HEAD = (
    b"\r\n" + head("POST /pub/a%20b HTTP/1.1", HOST, "X-A: b", "Content-Length: 3") + b"abc"
)
DENIED_HEAD = head("GET /pub/%C3%BC/../x HTTP/1.1", HOST, "Upgrade: no")
NOT_ALLOWED_HEAD = head("POST /pubs/a HTTP/1.1", HOST, "X-A: b", "Content-Length: 0")


@pytest.mark.parametrize("chunked", [False, True])
def test_allowed_in_single_bytes(gate: Guarded, anywhere: Listener, chunked: bool) -> None:
    """An allowed request, one byte a packet, passes as it is."""
    gate.allow_everywhere(PUBLIC)
    wire = anywhere.connect()
    raw = GOOD["chunk extensions"] if chunked else ALLOWED_HEAD
    for _ in range(2):
        wire.ask(raw, step=1)
        wire.answer()
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)


def test_allowed_in_two_packets(gate: Guarded, loop: Listener) -> None:
    """An allowed request passes in two packets, wherever it is cut."""
    gate.allow_everywhere(PUBLIC)
    wire = loop.connect()
    for raw in (ALLOWED_HEAD, GOOD["chunk extensions"]):
        for at in range(1, len(raw)):
            wire.ask(raw[:at])
            wire.ask(raw[at:])
            wire.answer()
    wire.finish()


@pytest.mark.parametrize(
    ("reason", "raw"), [("PATH", DENIED_HEAD), ("RULE", NOT_ALLOWED_HEAD)], ids=["path", "rule"]
)
def test_denied_in_two_packets(gate: Guarded, loop: Listener, reason: str, raw: bytes) -> None:
    """A denied request in two packets, wherever it is cut, gets its 403, and its server does not
    read the packet that decides.
    """
    gate.allow_everywhere(PUBLIC)
    with gate.denying(**{reason: len(raw) - 1}):
        for at in range(1, len(raw)):
            wire = loop.connect()
            wire.client.sendall(raw[:at])
            time.sleep(0.002)
            wire.client.sendall(raw[at:])
            assert rest(wire.client) == End(forbidden(), "eof"), at
            seen = rest(wire.server)
            assert seen.how == "reset"
            assert len(seen.data) <= at
            wire.client.close()
            wire.server.close()


@pytest.mark.parametrize(
    ("reason", "raw"), [("PATH", DENIED_HEAD), ("RULE", NOT_ALLOWED_HEAD)], ids=["path", "rule"]
)
def test_denied_in_single_bytes(gate: Guarded, anywhere: Listener, reason: str, raw: bytes) -> None:
    """A denied request, one byte a packet, gets its 403, and its server never has it whole."""
    gate.allow_everywhere(PUBLIC)
    wire = anywhere.connect()
    got = b""
    with gate.denying(**{reason: 1}):
        for i in range(len(raw)):
            wire.client.sendall(raw[i : i + 1])
            try:
                got += receive(wire.server, 1)
            except ConnectionResetError:
                break
        assert rest(wire.client) == End(forbidden(), "eof")
    assert len(got) < len(raw)
    assert raw.startswith(got)


def expect_denied(
    gate: Guarded, wire: Wire, request: bytes, reason: str, *, answered: bool = False
) -> None:
    """Fail unless a request is denied for this reason alone, its client reads a 403 or a reset (`answered`:
    the 403), and its server is reset without a byte.
    """
    with gate.denying(**{reason: 1}):
        wire.client.sendall(request)
        seen, heard = rest(wire.client), rest(wire.server)
        if heard != End(b"", "reset"):
            pytest.fail(f"the server's end: {heard}")
        if seen != End(forbidden(), "eof") and (answered or seen != End(b"", "reset")):
            pytest.fail(f"the client's end: {seen}")
