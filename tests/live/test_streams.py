"""Messages are found wherever a stream is cut, and however many are under way."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tests.live.kit.books import Books
from tests.live.kit.wire import OK, Listener, Wire, answer, get, head, post

CHUNKED = "Transfer-Encoding: chunked"

DIALOGUE = [
    (get("/a"), OK, "GET /a 200"),
    (post("/b", b"b" * 40), answer(201, b"c" * 90, "X-Long: " + "l" * 700), "POST /b 201"),
    (
        head("PUT /c HTTP/1.1", "Host: h", CHUNKED) + b"3;e=f\r\nabc\r\n0\r\nT: u\r\n\r\n",
        head("HTTP/1.1 200 OK", CHUNKED) + b"2\r\nhi\r\n0\r\n\r\n",
        "PUT /c 200",
    ),
    (
        head("HEAD /d HTTP/1.1", "Host: h"),
        head("HTTP/1.1 200 OK", "Content-Length: 99"),
        "HEAD /d 200",
    ),
    (get("/e"), head("HTTP/1.1 103 Early Hints", "Link: x") + answer(500, b"!"), "GET /e 500"),
    (get("/f"), head("HTTP/1.1 304 Not Modified"), "GET /f 304"),
]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64])
def test_few_bytes_at_a_time(wire: Wire, books: Books, step: int) -> None:
    """Messages that come in single bytes are the same messages."""
    for question, reply, _ in DIALOGUE:
        wire.ask(question, step=step)
        wire.answer(reply, step=step)
    books.expect(wire.port, [line for _, _, line in DIALOGUE])
    row = books.row(wire.port, "server", "POST /b 201")
    assert (row.req_body, row.resp_body) == (40, 90)
    assert (row.req_wire, row.resp_wire) == (len(DIALOGUE[1][0]), len(DIALOGUE[1][1]))


def test_random_cuts(listener: Listener, books: Books) -> None:
    """Streams of pipelined messages cut anywhere give the same messages."""
    rng = random.Random(8)
    questions = b"".join(q for q, _, _ in DIALOGUE) * 3
    replies = b"".join(r for _, r, _ in DIALOGUE) * 3
    for _ in range(40):
        wire = listener.connect()
        for data, push in ((questions, wire.ask), (replies, wire.answer)):
            cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(60))})
            for a, b in pairwise(cuts):
                push(data[a:b])
        wire.finish()
    expected = {line: 120 for _, _, line in DIALOGUE}
    books.expect(listener.port, expected)


@pytest.mark.parametrize("depth", [2, 31, 32])
def test_pipelining(wire: Wire, books: Books, depth: int) -> None:
    """Up to 32 outstanding requests are paired with their responses, methods and all."""
    kinds = [
        (get("/get"), answer(200, b"body"), "GET /get 200"),
        (
            head("HEAD /head HTTP/1.1", "Host: h"),
            head("HTTP/1.1 200 OK", "Content-Length: 5"),
            "HEAD /head 200",
        ),
        (post("/post", b"data"), answer(404, b"none"), "POST /post 404"),
    ]
    turn = [kinds[i % 3] for i in range(depth)]
    for _ in range(3):
        wire.exchange(b"".join(q for q, _, _ in turn), b"".join(r for _, r, _ in turn))
    books.expect(wire.port, [line for _, _, line in turn] * 3)


def test_pipelining_answered_one_by_one(wire: Wire, books: Books) -> None:
    """The window of outstanding requests slides: each answer makes room for a request."""
    wire.ask(b"".join(get(f"/{chr(97 + i % 26)}") for i in range(32)))
    for i in range(100):
        wire.answer(answer(200 + i % 32 % 26))
        if i < 68:
            wire.ask(get(f"/{chr(97 + i % 32 % 26)}"))
    expected = [f"GET /{chr(97 + i % 32 % 26)} {200 + i % 32 % 26}" for i in range(100)]
    books.expect(wire.port, [line.replace("204", "204") for line in expected])


def test_too_deep_pipelining(wire: Wire, books: Books) -> None:
    """Requests beyond 32 outstanding are counted as not paired, and the connection goes on."""
    wire.ask(get("/p") * 40)
    wire.answer(OK * 40)
    books.expect(wire.port, {"GET /p 200": 32})
    books.expect_stat("LOST_PIPELINE", 16)  # eight on each side
    wire.exchange(get("/after"))
    books.expect(wire.port, {"GET /p 200": 32, "GET /after 200": 1})


def test_interleaved_connections(listener: Listener, books: Books) -> None:
    """Connections whose responses are under way at the same time do not mix."""
    long, short = listener.connect(), listener.connect()
    body = b"b" * 20_000
    for _ in range(4):
        long.ask(get("/long"))
        long.answer(head("HTTP/1.1 200 OK", f"Content-Length: {len(body)}"))
        short.exchange(get("/short"), answer(200, b"x"))
        short.exchange(get("/none"), answer(404, b""))
        long.answer(body, step=5000)
    books.expect(listener.port, {"GET /long 200": 4, "GET /short 200": 4, "GET /none 404": 4})
    assert books.row(listener.port, "client", "GET /long 200").resp_body == 4 * len(body)


def test_large_header(wire: Wire, books: Books) -> None:
    """A head of 64 KB is read to its end, in one field or in many."""
    many = [f"X-Field-{i}: {'v' * 50}" for i in range(1000)]
    wire.exchange(get("/one", "Cookie: " + "c" * 65_000))
    wire.exchange(get("/many", *many))
    wire.exchange(get("/a"), answer(200, b"ok", "Set-Cookie: " + "c" * 65_000))
    wire.exchange(get("/a"), answer(200, b"ok", *many))
    books.expect(wire.port, {"GET /one 200": 1, "GET /many 200": 1, "GET /a 200": 2})
    row = books.row(wire.port, "client", "GET /one 200")
    assert row.req_wire == len(get("/one", "Cookie: " + "c" * 65_000))


MEGABYTES = 6 << 20


@pytest.mark.parametrize("fields", ["one", "many"])
def test_head_of_megabytes(wire: Wire, books: Books, fields: str) -> None:
    """A head of several megabytes is a head: both ways it is read to its end, and counted byte by byte."""
    lines = ["X-One: " + "v" * MEGABYTES]
    if fields == "many":
        lines = [f"X-Field-{i:07}: {'v' * 60}" for i in range(MEGABYTES // 80)]
    request, response = get("/huge", *lines), answer(200, b"ok", *lines)
    assert len(request) > 5 << 20
    wire.exchange(request, response)
    wire.exchange(get("/a"))
    books.expect(wire.port, ["GET /huge 200", "GET /a 200"])
    for row in books.rows(wire.port, "GET /huge 200"):
        assert (row.req_wire, row.resp_wire) == (len(request), len(response))


@pytest.mark.parametrize("fields", ["one", "many"])
def test_head_without_end(listener: Listener, books: Books, fields: str) -> None:
    """A head that never ends is no request; a server that has enough of it is an orphan's. Nothing else suffers."""
    wire = listener.connect()
    wire.exchange(get("/before"))
    part = b"v" * 65_000 if fields == "one" else (b"X-Field: " + b"v" * 60 + b"\r\n") * 900
    wire.ask(b"GET /endless HTTP/1.1\r\nHost: h\r\nX-One: ")
    for _ in range(MEGABYTES // len(part)):
        wire.ask(part)
    wire.answer(answer(431, b"enough", "Connection: close"))
    books.expect_stat("LOST_ORPHAN", 2)  # one on each side
    wire.ask(part * 10)  # it goes on all the same
    wire.finish()
    silent = listener.connect()
    silent.ask(b"GET /endless HTTP/1.1\r\n" + part * 100)
    silent.finish()
    after = listener.connect()
    after.exchange(get("/after"))
    books.expect(listener.port, ["GET /before 200", "GET /after 200"])
    books.expect_stat("LOST_ORPHAN", 2)


def test_framing_behind_a_large_field(wire: Wire, books: Books) -> None:
    """The length is found behind a field longer than any buffer."""
    start = head("POST /up HTTP/1.1", "Cookie: " + "c" * 3000, "Content-Length: 6", "Host: h")
    wire.exchange(start + b"GET / ", answer(200, b"x"))
    wire.exchange(get("/a"))
    books.expect(wire.port, ["POST /up 200", "GET /a 200"])


@pytest.mark.parametrize("length", [254, 255, 256, 257, 480, 511, 512, 513, 600, 8000])
def test_long_target(wire: Wire, books: Books, length: int) -> None:
    """A path of any length is one request; from 257 bytes on it is cut, and that is counted."""
    path = "/" + "p" * (length - 1)
    for _ in range(2):
        wire.exchange(get(path))
    books.expect(wire.port, {f"GET {path[:256]} 200": 2})
    books.expect_stat("INFO_TRUNCATED_PATH", 4 if length > 256 else 0)


def test_long_query(wire: Wire, books: Books) -> None:
    """A query of any length is cut off, and a path of up to 256 bytes before it is whole."""
    whole = "/" + "p" * 255
    wire.exchange(get(whole + "?" + "q" * 300))
    for length in (300, 490, 505, 5000):
        wire.exchange(get("/search?q=" + "q" * length))
    books.expect(wire.port, {"GET /search 200": 4, f"GET {whole} 200": 1})
    books.expect_stat("INFO_TRUNCATED_PATH", 0)


def test_large_body_in_small_pieces(wire: Wire, books: Books) -> None:
    """Megabytes of body are passed over by length."""
    wire.ask(post("/big", b"u" * 3_000_000))
    wire.answer(answer(200, b"d" * 5_000_000))
    wire.exchange(get("/a"))
    books.expect(wire.port, ["POST /big 200", "GET /a 200"])
    for row in books.rows(wire.port, "POST /big 200"):
        assert (row.req_body, row.resp_body) == (3_000_000, 5_000_000)


def test_many_chunks_in_a_packet(wire: Wire, books: Books) -> None:
    """A large packet of one-byte chunks is read to its end."""
    body = b"1\r\nx\r\n" * 400 + b"0\r\n\r\n"
    wire.exchange(get("/chunks"), head("HTTP/1.1 200 OK", CHUNKED) + body)
    wire.exchange(head("POST /chunks HTTP/1.1", "Host: h", CHUNKED) + body)
    books.expect(wire.port, ["GET /chunks 200", "POST /chunks 200"])
    assert books.row(wire.port, "client", "GET /chunks 200").resp_body == 400


def test_too_many_lines_in_a_packet(loop: Listener, books: Books) -> None:
    """A packet of more lines than a run may look at is given up, and that is counted."""
    wire = loop.connect()
    body = b"1\nx\n" * 15_000 + b"0\r\n\r\n"
    wire.ask(get("/lines"))
    wire.answer(head("HTTP/1.1 200 OK", CHUNKED) + body)
    books.expect_stat("LOST_LONG_PACKET", 2)
    books.expect(loop.port, [])
