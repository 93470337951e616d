"""Connections that end early, by either side, in order or not: an error type, never an invented status."""

from __future__ import annotations

import socket
import threading
import time

from tests.live.kit.books import Books, wait_for
from tests.live.kit.wire import OK, Listener, Wire, answer, get, head, post, reset
from tests.live.kit.world import World

HALF = head("HTTP/1.1 200 OK", "Content-Length: 100") + b"x" * 40


def closed(sock: socket.socket) -> bool:
    """Return whether the stream ends here, in order or by a reset."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def send_until_refused(sock: socket.socket, data: bytes) -> bool:
    """Send again and again; return whether the other end refuses it in the end."""
    for _ in range(200):
        try:
            sock.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            return True
        time.sleep(0.005)
    return False


def test_server_closes_without_a_response(listener: Listener, books: Books) -> None:
    """A connection that the server closes in place of a response leaves a request without one."""
    wire = listener.connect()
    wire.exchange(get("/a"))
    wire.ask(get("/a"))
    wire.server.close()
    assert closed(wire.client)
    wire.client.close()
    books.expect(listener.port, ["GET /a 200", "GET /a - no_response"])


def test_server_resets_without_a_response(listener: Listener, books: Books) -> None:
    """A reset in place of a response is told from an orderly end."""
    wire = listener.connect()
    wire.ask(get("/a"))
    reset(wire.server)
    assert closed(wire.client)
    books.expect(listener.port, ["GET /a - reset"])


def test_server_closes_with_a_request_unread(listener: Listener, books: Books) -> None:
    """Closing a socket whose request was not read sends a RST: it is one."""
    client = listener.dial()
    server = listener.accept()
    client.sendall(get("/a"))
    while not server.recv(1, socket.MSG_PEEK):
        pass
    server.close()
    assert closed(client)
    books.expect(listener.port, ["GET /a - reset"])


def test_server_closes_in_a_response(listener: Listener, books: Books) -> None:
    """A response that breaks off keeps its status and is incomplete."""
    wire = listener.connect()
    wire.ask(get("/a"))
    wire.answer(HALF)
    wire.server.close()
    assert closed(wire.client)
    books.expect(listener.port, ["GET /a 200 incomplete"])
    for row in books.rows(listener.port, "GET /a 200 incomplete"):
        assert (row.resp_body, row.resp_wire) == (40, len(HALF))


def test_server_resets_in_a_response(listener: Listener, books: Books) -> None:
    """The same with a reset."""
    wire = listener.connect()
    wire.ask(get("/a"))
    wire.answer(HALF)
    reset(wire.server)
    assert closed(wire.client)
    books.expect(listener.port, ["GET /a 200 incomplete"])


def test_server_closes_in_a_chunk(listener: Listener, books: Books) -> None:
    """A chunked response without its last chunk is incomplete, also between two chunks."""
    for cut in (b"5\r\nhe", b"5\r\nhello", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n", b""):
        wire = listener.connect()
        wire.ask(get("/a"))
        wire.answer(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + cut)
        wire.server.close()
        assert closed(wire.client)
        wire.client.close()
    books.expect(listener.port, {"GET /a 200 incomplete": 5})


def test_server_closes_in_a_head(listener: Listener, books: Books) -> None:
    """A response whose head is not complete is none: its status is not told."""
    wire = listener.connect()
    wire.ask(get("/a"))
    wire.answer(b"HTTP/1.1 200 OK\r\nContent-")
    wire.server.close()
    assert closed(wire.client)
    books.expect(listener.port, ["GET /a - no_response"])


def test_server_closes_after_an_interim_response(listener: Listener, books: Books) -> None:
    """An interim response is no response when the connection ends behind it."""
    wire = listener.connect()
    wire.ask(get("/a"))
    wire.answer(head("HTTP/1.1 103 Early Hints"))
    wire.server.close()
    assert closed(wire.client)
    books.expect(listener.port, ["GET /a - no_response"])


def test_client_closes_without_a_response(listener: Listener, books: Books) -> None:
    """A client that goes before the response leaves a request without one."""
    wire = listener.connect()
    wire.ask(get("/a"))
    wire.client.close()
    assert wire.server.recv(1) == b""
    wire.server.close()
    books.expect(listener.port, ["GET /a - no_response"])


def test_client_resets(listener: Listener, books: Books) -> None:
    """A client's reset is one to both sides."""
    wire = listener.connect()
    wire.exchange(get("/a"))
    wire.ask(get("/a"))
    reset(wire.client)
    assert closed(wire.server)
    books.expect(listener.port, ["GET /a 200", "GET /a - reset"])


def test_client_closes_its_half(listener: Listener, books: Books) -> None:
    """A client may end its direction and still be answered."""
    wire = listener.connect()
    wire.ask(get("/a"))
    wire.client.shutdown(socket.SHUT_WR)
    assert wire.server.recv(1) == b""
    wire.answer(OK)
    books.expect(listener.port, ["GET /a 200"])


def test_client_closes_while_the_response_comes(listener: Listener, books: Books) -> None:
    """A download that the client gives up is incomplete to the server, and to the client."""
    wire = listener.connect()
    wire.ask(get("/a"))
    wire.answer(HALF)
    wire.client.close()
    assert wire.server.recv(1) == b""
    assert send_until_refused(wire.server, b"y")
    wire.server.close()
    books.expect(listener.port, ["GET /a 200 incomplete"])


def test_client_goes_in_a_request(listener: Listener, books: Books) -> None:
    """An upload that breaks off is a request without a response, and its bytes are counted."""
    wire = listener.connect()
    wire.ask(post("/up", b"u" * 5000)[:-3000])
    wire.client.close()
    assert wire.server.recv(1) == b""
    wire.server.close()
    books.expect(listener.port, ["POST /up - no_response"])
    assert [r.req_body for r in books.rows(listener.port, "POST /up - no_response")] == [2000, 2000]


def test_client_goes_in_a_head(listener: Listener, books: Books) -> None:
    """What never became a request is none."""
    wire = listener.connect()
    wire.exchange(get("/a"))
    wire.ask(b"GET /b HTTP/1.1\r\nHos")
    wire.client.close()
    assert wire.server.recv(1) == b""
    wire.server.close()
    books.expect(listener.port, ["GET /a 200"])


def test_early_response_then_close(listener: Listener, books: Books) -> None:
    """A server that refuses an upload and closes has answered, though the upload breaks off."""
    client, server = listener.dial(), listener.accept()
    client.sendall(head("POST /up HTTP/1.1", "Host: h", "Content-Length: 10000000") + b"u" * 50_000)
    assert server.recv(100)
    server.sendall(answer(413, b"too large"))
    server.close()
    assert send_until_refused(client, b"u" * 10_000)
    books.expect(listener.port, ["POST /up 413"])


def test_pipelined_requests_that_end(listener: Listener, books: Books) -> None:
    """Every outstanding request of a connection is counted at its end."""
    wire = listener.connect()
    wire.ask(b"".join(get(f"/{name}") for name in "abcde"))
    wire.answer(OK + HALF)
    wire.server.close()
    assert closed(wire.client)
    books.expect(
        listener.port,
        ["GET /a 200", "GET /b 200 incomplete"] + [f"GET /{n} - no_response" for n in "cde"],
    )


def test_process_dies(listener: Listener, books: Books, world: World) -> None:
    """A client process that is killed leaves what its kernel then sends: a closed connection."""
    script = (
        "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2]))); "
        "s.sendall(b'GET /killed HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n'); s.recv(1)"
    )
    process = world.client.start("python3", "-c", script, world.server.ip4, str(listener.port))
    server = listener.accept()
    assert server.recv(100)
    process.kill()
    process.wait(5)
    assert server.recv(1) == b""
    server.close()
    books.expect(listener.port, ["GET /killed - no_response"])


def test_many_ends_at_once(listener: Listener, books: Books) -> None:
    """Ends in both directions at the same moment are counted once each."""
    wires: list[Wire] = []
    for i in range(40):
        wire = listener.connect()
        wire.ask(get("/a"))
        if i % 2:
            wire.answer(HALF)
        wires.append(wire)

    threads = [
        threading.Thread(target=end_all, args=([getattr(wire, side) for wire in wires],))
        for side in ("client", "server")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for role in ("server", "client"):
        wait_for(lambda r=role: books.axon.total(r, listener.port), (40).__eq__)  # type: ignore[misc]
        tally = books.axon.tally(listener.port, role)
        assert tally["GET /a 200 incomplete"] == 20
        assert tally["GET /a - reset"] + tally["GET /a - no_response"] == 20
        assert sum(tally.values()) == 40


def end_all(sides: list[socket.socket]) -> None:
    """End connections, every third by a reset."""
    for i, sock in enumerate(sides):
        if i % 3:
            sock.close()
        else:
            reset(sock)
