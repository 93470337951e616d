"""Messages are told from one another exactly (RFC 9112 section 6)."""

from __future__ import annotations

import pytest

from tests.live.kit.books import Books
from tests.live.kit.wire import OK, Listener, Wire, answer, get, head, post

CHUNKED = "Transfer-Encoding: chunked"


def test_keep_alive(wire: Wire, books: Books) -> None:
    """Each request of a connection is counted once, as soon as its response has ended."""
    for i in range(5):
        wire.exchange(get("/a"))
        books.expect(wire.port, {"GET /a 200": i + 1})


def test_sizes(wire: Wire, books: Books) -> None:
    """Body bytes are the bodies', wire bytes the whole messages'."""
    question, reply = post("/form", b"x" * 300), answer(201, b"y" * 70_000)
    wire.exchange(question, reply)
    wire.exchange(question, reply)
    for row in books.rows(wire.port, "POST /form 201"):
        assert (row.req_body, row.resp_body) == (600, 140_000)
        assert (row.req_wire, row.resp_wire) == (2 * len(question), 2 * len(reply))
        assert (row.req_size.sum(), row.req_size[2]) == (2, 2)  # up to 1024 bytes
        assert (row.resp_size.sum(), row.resp_size[6]) == (2, 2)  # up to 262144 bytes


def test_empty_bodies(wire: Wire, books: Books) -> None:
    """A body of no bytes is in no size bucket and ends its message at once."""
    wire.exchange(post("/e", b""), answer(200))
    wire.exchange(get("/e"), answer(404))
    books.expect(wire.port, ["POST /e 200", "GET /e 404"])
    row = books.row(wire.port, "server", "POST /e 200")
    assert (row.req_body, row.resp_body, row.req_size.sum(), row.resp_size.sum()) == (0, 0, 0, 0)


def test_head(wire: Wire, books: Books) -> None:
    """A response to HEAD has no body, whatever length or coding it announces."""
    wire.exchange(
        head("HEAD /a HTTP/1.1", "Host: h"), head("HTTP/1.1 200 OK", "Content-Length: 77")
    )
    wire.exchange(head("HEAD /b HTTP/1.1", "Host: h"), head("HTTP/1.1 200 OK", CHUNKED))
    wire.exchange(
        head("HEAD /a HTTP/1.1", "Host: h"), head("HTTP/1.1 200 OK", "Content-Length: 77")
    )
    wire.exchange(get("/a"))
    books.expect(wire.port, {"HEAD /a 200": 2, "HEAD /b 200": 1, "GET /a 200": 1})


def test_head_after_get_of_the_same_length(wire: Wire, books: Books) -> None:
    """A response head that came with a body before has none when HEAD asked for it."""
    reply = answer(200, b"hello")
    bare = reply.removesuffix(b"hello")
    for _ in range(3):
        wire.exchange(get("/a"), reply)
        wire.exchange(head("HEAD /a HTTP/1.1", "Host: h"), bare)
    books.expect(wire.port, {"GET /a 200": 3, "HEAD /a 200": 3})
    assert [r.resp_body for r in books.rows(wire.port, "HEAD /a 200")] == [0, 0]


@pytest.mark.parametrize("status", [204, 304])
def test_no_content(wire: Wire, books: Books, status: int) -> None:
    """Responses of 204 and 304 end with their head, even if they announce a length."""
    bare = head(f"HTTP/1.1 {status} Nothing", "Content-Length: 1234", "ETag: x")
    for _ in range(3):
        wire.exchange(get("/a"), bare)
    wire.exchange(get("/a"), OK)
    books.expect(wire.port, {f"GET /a {status}": 3, "GET /a 200": 1})


def test_continue(wire: Wire, books: Books) -> None:
    """An interim response is no answer: 100 is followed by the body and the real status."""
    question = post("/up", b"z" * 1000, "Expect: 100-continue")
    start, body = question[:-1000], question[-1000:]
    for _ in range(2):
        wire.exchange(start, head("HTTP/1.1 100 Continue"))
        wire.exchange(body, answer(201, b"made"))
    books.expect(wire.port, {"POST /up 201": 2})
    assert [r.req_body for r in books.rows(wire.port, "POST /up 201")] == [2000, 2000]


def test_early_hints(wire: Wire, books: Books) -> None:
    """Several interim responses may precede the answer, in one segment with it or not."""
    hints = head("HTTP/1.1 103 Early Hints", "Link: </style.css>; rel=preload")
    wire.exchange(get("/a"), hints + hints + OK)
    wire.ask(get("/a"))
    wire.answer(hints)
    wire.answer(head("HTTP/1.1 102 Processing"))
    wire.answer(OK)
    books.expect(wire.port, {"GET /a 200": 2})


def test_time_to_first_byte_ends_with_the_final_head(wire: Wire, books: Books) -> None:
    """Time to first byte is that of the answer, and no more than the duration."""
    wire.exchange(get("/a"), head("HTTP/1.1 103 Early Hints") + OK)
    for row in books.rows(wire.port, "GET /a 200"):
        assert 0 < row.ttfb_sum <= row.dur_sum


def test_chunked_both_ways(wire: Wire, books: Books) -> None:
    """Chunks with extensions and trailers end where the last trailer line does."""
    body = b'5;name=value\r\nhello\r\n0A ; q="x"\r\n0123456789\r\n000\r\nX-Sum: 1\r\nX: 2\r\n\r\n'
    for _ in range(3):
        wire.exchange(
            head("PUT /c HTTP/1.1", "Host: h", CHUNKED, "Trailer: X-Sum") + body,
            head("HTTP/1.1 200 OK", CHUNKED) + body,
        )
    wire.exchange(get("/next"))
    books.expect(wire.port, {"PUT /c 200": 3, "GET /next 200": 1})
    for row in books.rows(wire.port, "PUT /c 200"):
        assert (row.req_body, row.resp_body) == (45, 45)


def test_chunks_that_look_like_messages(wire: Wire, books: Books) -> None:
    """What stands in a chunk is never read as a message."""
    fake = OK + get("/fake") + b"0\r\n\r\n"
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(fake), fake)
    wire.exchange(head("POST /c HTTP/1.1", "Host: h", CHUNKED) + body)
    wire.exchange(get("/c"), head("HTTP/1.1 200 OK", CHUNKED) + body)
    books.expect(wire.port, ["POST /c 200", "GET /c 200"])


def test_bodies_that_look_like_messages(wire: Wire, books: Books) -> None:
    """What stands in a body with a length is never read as a message."""
    fake = get("/fake") * 3
    wire.exchange(post("/a", fake), answer(200, OK * 3))
    wire.ask(head("POST /a HTTP/1.1", "Host: h", f"Content-Length: {len(fake)}"))
    wire.ask(fake)
    wire.answer(head("HTTP/1.1 200 OK", f"Content-Length: {len(OK)}"))
    wire.answer(OK)
    books.expect(wire.port, {"POST /a 200": 2})


def test_length_ignored_with_coding(wire: Wire, books: Books) -> None:
    """Transfer-Encoding overrides Content-Length (RFC 9112 section 6.3)."""
    wire.exchange(
        get("/a"), head("HTTP/1.1 200 OK", "Content-Length: 5", CHUNKED) + b"1\r\nx\r\n0\r\n\r\n"
    )
    wire.exchange(
        get("/a"), head("HTTP/1.1 200 OK", CHUNKED, "Content-Length: 5") + b"1\r\nx\r\n0\r\n\r\n"
    )
    books.expect(wire.port, {"GET /a 200": 2})


def test_http10(listener: Listener, books: Books) -> None:
    """A response of HTTP/1.0 without a length ends with the connection, and is told apart."""
    wire = listener.connect()
    wire.ask(b"GET /old HTTP/1.0\r\n\r\n")
    wire.answer(b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n" + b"x" * 5000)
    books.expect(listener.port, [])
    wire.server.close()
    assert wire.client.recv(1) == b""
    books.expect(listener.port, ["GET /old 200"])
    for row in books.rows(listener.port, "GET /old 200"):
        assert (row.version, row.resp_body) == ("1.0", 5000)


def test_http10_keep_alive(wire: Wire, books: Books) -> None:
    """A connection of HTTP/1.0 that is kept alive is read like any other."""
    for _ in range(3):
        wire.exchange(
            head("GET /old HTTP/1.0", "Connection: keep-alive"),
            head("HTTP/1.0 200 OK", "Connection: keep-alive", "Content-Length: 2") + b"ok",
        )
    books.expect(wire.port, {"GET /old 200": 3})


def test_close_delimited(listener: Listener, books: Books) -> None:
    """A body without length or coding lasts until the server closes, and all of it is counted."""
    wire = listener.connect()
    wire.ask(get("/stream"))
    wire.answer(head("HTTP/1.1 200 OK", "Connection: close"))
    for _ in range(10):
        wire.answer(get("/fake") + b"x" * 10_000)
    wire.server.close()
    assert wire.client.recv(1) == b""
    books.expect(listener.port, ["GET /stream 200"])
    for row in books.rows(listener.port, "GET /stream 200"):
        assert row.resp_body == 10 * len(get("/fake") + b"x" * 10_000)


def test_close_delimited_with_the_fin_alone(listener: Listener, books: Books) -> None:
    """An empty body until the connection's end is complete when the end comes."""
    wire = listener.connect()
    wire.ask(get("/none"))
    wire.answer(head("HTTP/1.1 200 OK", "Connection: close"))
    wire.server.close()
    assert wire.client.recv(1) == b""
    books.expect(listener.port, ["GET /none 200"])


def test_coded_until_close(listener: Listener, books: Books) -> None:
    """A response whose last coding is not chunked lasts until the connection's end."""
    wire = listener.connect()
    wire.ask(get("/z"))
    wire.answer(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n" + OK)
    wire.server.close()
    assert wire.client.recv(1) == b""
    books.expect(listener.port, ["GET /z 200"])


def test_early_response(wire: Wire, books: Books) -> None:
    """A response that ends before its request has is counted then, and the rest is passed over."""
    body = get("/fake") + b"u" * 50_000
    start = head("POST /up HTTP/1.1", "Host: h", f"Content-Length: {len(body)}")
    for _ in range(2):
        wire.ask(start + body[:10_000])
        wire.answer(answer(413, b"too large"))
        wire.ask(body[10_000:])
    books.expect(wire.port, {"POST /up 413": 2})
    wire.exchange(get("/next"))
    books.expect(wire.port, {"POST /up 413": 2, "GET /next 200": 1})


def test_early_response_to_chunks(wire: Wire, books: Books) -> None:
    """The same for a request in chunks, whose end is not known when it is answered."""
    for _ in range(2):
        wire.ask(head("POST /up HTTP/1.1", "Host: h", CHUNKED) + b"4\r\nabcd\r\n")
        wire.answer(answer(400, b"no"))
        wire.ask(b"4\r\nabcd\r\n0\r\n\r\n")
    wire.exchange(get("/next"))
    books.expect(wire.port, {"POST /up 400": 2, "GET /next 200": 1})


def test_bare_line_feeds(wire: Wire, books: Books) -> None:
    """Lines may end in LF alone (RFC 9112 section 2.2), and empty lines may precede a request."""
    wire.exchange(b"GET /lf HTTP/1.1\nHost: h\n\n", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")
    wire.exchange(b"\r\n\r\nGET /lf HTTP/1.1\nHost: h\r\n\n")
    books.expect(wire.port, {"GET /lf 200": 2})


def test_status_without_reason(wire: Wire, books: Books) -> None:
    """A status line needs no reason phrase, and a status need not be a known one."""
    wire.exchange(get("/a"), b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n")
    wire.exchange(get("/a"), b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n")
    wire.exchange(get("/a"), b"HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n")
    books.expect(wire.port, ["GET /a 200", "GET /a 299", "GET /a 799"])
