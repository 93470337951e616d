"""Connections that carry something else are told by kind, counted once and left alone."""

from __future__ import annotations

import random
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.live.kit.books import Books
from tests.live.kit.wire import OK, Listener, Wire, answer, get, head, post
from tests.live.kit.world import World, need

KINDS = ["HTTP1", "TLS", "HTTP2", "UPGRADED", "OTHER"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


def expect_kinds(books: Books, **counts: int) -> None:
    """Fail unless connections of exactly these kinds were met; both ends of each count."""
    for kind in KINDS:
        books.expect_stat("CONN_" + kind, 2 * counts.get(kind, 0))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file with a key and a certificate that it has signed itself."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=wire.test"]
    subprocess.run([*command, "-keyout", file, "-out", file], check=True, capture_output=True)
    return file


def test_tls(listener: Listener, books: Books, certificate: Path, world: World) -> None:
    """A TLS connection is one, from its first byte, and HTTP in it is not seen."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    request = "GET /secret HTTP/1.1\r\nHost: h\r\n\r\n"
    address = f"https://{world.server.ip4}:{listener.port}/secret"
    client = world.client.start("curl", "-sk", "--http1.1", address)
    with server.wrap_socket(listener.accept(), server_side=True) as secured:
        while b"\r\n\r\n" not in secured.recv(4096):
            pass
        secured.sendall(OK)
    assert client.wait(10) == 0
    assert client.stdout is not None
    assert client.stdout.read() == "ok"
    books.expect(listener.port, [])
    expect_kinds(books, TLS=1)
    assert request


def test_http2_with_prior_knowledge(wire: Wire, books: Books) -> None:
    """The preface of HTTP/2 is known, and what follows is left alone."""
    wire.ask(PREFACE)
    wire.answer(b"\0\0\0\4\0\0\0\0\0")
    wire.exchange(get("/not-seen"))
    books.expect(wire.port, [])
    expect_kinds(books, HTTP2=1)


def test_http2_preface_in_pieces(wire: Wire, books: Books) -> None:
    """The same if it comes in two segments."""
    wire.ask(PREFACE[:10])
    wire.ask(PREFACE[10:])
    wire.exchange(get("/not-seen"))
    books.expect(wire.port, [])
    expect_kinds(books, HTTP2=1)


def test_upgrade(wire: Wire, books: Books) -> None:
    """After 101 a connection is HTTP no more, whatever its bytes look like."""
    wire.exchange(get("/a"))
    wire.exchange(
        get("/socket", "Upgrade: websocket", "Connection: Upgrade"),
        head("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket") + b"\x81\x02hi",
    )
    for _ in range(5):
        wire.exchange(get("/not-seen"))
    books.expect(wire.port, ["GET /a 200", "GET /socket 101"])
    expect_kinds(books, HTTP1=1, UPGRADED=1)


def test_refused_upgrade(wire: Wire, books: Books) -> None:
    """A request to upgrade that is answered otherwise changes nothing."""
    wire.exchange(get("/socket", "Upgrade: websocket", "Connection: Upgrade"), answer(426, b"no"))
    wire.exchange(get("/a"))
    books.expect(wire.port, ["GET /socket 426", "GET /a 200"])
    expect_kinds(books, HTTP1=1)


def test_connect(wire: Wire, books: Books) -> None:
    """After a CONNECT that succeeds the connection is a tunnel; a length there means nothing."""
    wire.exchange(
        head("CONNECT h.test:443 HTTP/1.1", "Host: h.test:443"),
        head("HTTP/1.1 200 OK", "Content-Length: 50"),
    )
    for _ in range(5):
        wire.exchange(get("/not-seen"))
    books.expect(wire.port, ["CONNECT none 200"])
    expect_kinds(books, HTTP1=1, UPGRADED=1)


def test_refused_connect(wire: Wire, books: Books) -> None:
    """A CONNECT that fails is a request like any other."""
    wire.exchange(head("CONNECT h.test:443 HTTP/1.1", "Host: h.test:443"), answer(403, b"no"))
    wire.exchange(get("/a"))
    books.expect(wire.port, ["CONNECT none 403", "GET /a 200"])
    expect_kinds(books, HTTP1=1)


def test_line_protocol(wire: Wire, books: Books) -> None:
    """A protocol of text lines is none of HTTP's."""
    wire.exchange(b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n")
    wire.exchange(b"PING\r\n", b"+PONG\r\n")
    wire.exchange(get("/not-seen"))
    books.expect(wire.port, [])
    expect_kinds(books, OTHER=1)


def test_server_speaks_first(wire: Wire, books: Books) -> None:
    """A protocol in which the server speaks first is not HTTP."""
    wire.answer(b"220 mail.test ESMTP\r\n")
    wire.exchange(b"EHLO client.test\r\n", b"250 mail.test\r\n")
    books.expect(wire.port, [])
    expect_kinds(books, OTHER=1)


def test_almost_http(listener: Listener, books: Books) -> None:
    """What only resembles a request is none."""
    lines = [
        b"GET /a\r\n",
        b"GET /a HTTP/1.1 \r\n",
        b"GET  HTTP/1.1\r\n",
        b"GET /a HTTP/3.0\r\n",
        b"G\x01T /a HTTP/1.1\r\n",
        b"GET /a XTTP/1.1\r\n",
        b" GET /a HTTP/1.1\r\n",
        b"\0" * 40,
        b"HTTP/1.1 200 OK\r\n\r\n",
    ]
    for line in lines:
        wire = listener.connect()
        wire.exchange(line + b"Host: h\r\n\r\n")
        wire.finish()
    books.expect(listener.port, [])
    expect_kinds(books, OTHER=len(lines))


def test_noise(listener: Listener, books: Books) -> None:
    """Random bytes in both directions count nothing and break nothing."""
    rng = random.Random(21)
    for _ in range(50):
        wire = listener.connect()
        for _ in range(6):
            wire.ask(rng.randbytes(rng.randrange(1, 3000)))
            wire.answer(rng.randbytes(rng.randrange(1, 3000)))
        wire.finish()
    books.expect(listener.port, [])
    kinds = sum(books.since("CONN_" + kind) for kind in KINDS)
    assert kinds == 100


def test_bad_lengths(listener: Listener, books: Books) -> None:
    """A message whose length cannot be known gives its connection up, and that is counted."""
    chunked = "Transfer-Encoding: chunked"
    bad = [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: -1"],
        ["Content-Length: 5x"],
        ["Content-Length: 0x10"],
        ["Content-Length: 99999999999999999999"],
        ["Content-Length:"],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked, gzip"],
    ]
    for fields in bad:
        wire = listener.connect()
        wire.ask(head("POST /bad HTTP/1.1", "Host: h", *fields) + b"12345")
        wire.finish()
    books.expect_stat("LOST_BAD_LENGTH", 2 * len(bad))
    for line in (b"x\r\n", b"\r\n", b"-1\r\n", b"5 5\r\nhello\r\nzz\r\n", b"5\r\nhelloX\r\n"):
        wire = listener.connect()
        wire.ask(head("POST /bad HTTP/1.1", "Host: h", chunked) + line)
        wire.finish()
    books.expect_stat("LOST_BAD_CHUNK", 10)
    books.expect(listener.port, [])


def test_equal_lengths(wire: Wire, books: Books) -> None:
    """A length that is said twice in the same way is good (RFC 9110 section 8.6)."""
    wire.exchange(
        head("POST /a HTTP/1.1", "Host: h", "Content-Length: 3", "Content-Length: 3") + b"abc"
    )
    wire.exchange(get("/b"))
    books.expect(wire.port, ["POST /a 200", "GET /b 200"])


def test_bad_request_after_good_ones(wire: Wire, books: Books) -> None:
    """When requests can no longer be told, the responses owed are still counted, and the rest lost."""
    wire.exchange(get("/a"))
    wire.ask(get("/b") + b"\x01\x02 nonsense\r\n\r\n")
    wire.answer(answer(201))
    books.expect(wire.port, ["GET /a 200", "GET /b 201"])
    books.expect_stat("LOST_BAD_REQUEST", 2)


def test_bad_response(wire: Wire, books: Books) -> None:
    """A response that is none of HTTP/1 gives the connection up."""
    wire.exchange(get("/a"))
    wire.exchange(get("/b"), b"ICY 200 OK\r\n\r\n")
    wire.exchange(get("/c"))
    books.expect(wire.port, ["GET /a 200"])
    books.expect_stat("LOST_BAD_RESPONSE", 2)


def test_response_to_nothing(wire: Wire, books: Books) -> None:
    """A response that nobody asked for is counted as such, and the next request is read."""
    wire.exchange(post("/a", b"x"), OK + answer(408, b"too slow"))
    wire.exchange(get("/b"))
    books.expect(wire.port, ["POST /a 200", "GET /b 200"])
    books.expect_stat("LOST_ORPHAN", 2)
