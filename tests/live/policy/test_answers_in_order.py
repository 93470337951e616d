"""A denial never takes the place of another request's answer: then the connection is reset."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.live.kit.gate import End, Guarded, expect_403, expect_nothing, forbidden, rest
from tests.live.kit.wire import OK, Listener, answer, get, head, post, receive

PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'
LATER = 0.05  # seconds for what was sent to arrive, where nobody says that it has


def test_denied_before_an_answer(gate: Guarded, anywhere: Listener) -> None:
    """A denied request behind one that waits for its answer resets the connection."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.ask(get("/pub/a"))
    wire.client.sendall(get("/secret"))
    assert rest(wire.client) == End(b"", "reset")
    expect_nothing(wire.server)


@pytest.mark.parametrize("allowed", [1, 2, 5])
def test_denied_in_one_packet(gate: Guarded, anywhere: Listener, allowed: int) -> None:
    """Allowed requests and a denied one in one packet reset the connection, and none is read."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.client.sendall(get("/pub/a") * allowed + get("/secret"))
    assert rest(wire.client) == End(b"", "reset")
    expect_nothing(wire.server)


def test_denied_before_allowed_in_one_packet(gate: Guarded, anywhere: Listener) -> None:
    """What follows a denied request in its packet does not reach the server."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.client.sendall(get("/secret") + get("/pub/a"))
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_half_an_answer(gate: Guarded, anywhere: Listener) -> None:
    """A denial while an answer is half sent does not go into its body."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.ask(get("/pub/a"))
    reply = answer(200, b"r" * 1000)
    wire.answer(reply[:-500])
    wire.client.sendall(get("/secret"))
    assert rest(wire.client) == End(b"", "reset")
    expect_nothing(wire.server)


def test_half_a_chunked_answer(gate: Guarded, anywhere: Listener) -> None:
    """The same where the answer is chunked and its last chunk has not been sent."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.ask(get("/pub/a"))
    wire.answer(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
    wire.client.sendall(get("/secret"))
    assert rest(wire.client) == End(b"", "reset")


def test_an_answer_that_was_not_read(gate: Guarded, anywhere: Listener) -> None:
    """An answer that the client's kernel has, but the client has not read, is not lost to it."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.ask(get("/pub/a"))
    wire.server.sendall(OK)
    time.sleep(LATER)
    wire.client.sendall(get("/secret"))
    assert rest(wire.client) == End(OK + forbidden(), "eof")
    expect_nothing(wire.server)


def test_pipelined_and_all_answered(gate: Guarded, anywhere: Listener) -> None:
    """A denial behind pipelined requests that are all answered is a 403."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.ask(get("/pub/a") * 10)
    for _ in range(10):
        wire.answer()
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)


@pytest.mark.parametrize("answered", range(4))
def test_pipelined_and_some_answered(gate: Guarded, anywhere: Listener, answered: int) -> None:
    """A denial behind four pipelined requests of which some are answered resets."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.ask(get("/pub/a") * 4)
    for _ in range(answered):
        wire.answer()
    wire.client.sendall(get("/secret"))
    assert rest(wire.client) == End(b"", "reset")


def test_interim_answer(gate: Guarded, anywhere: Listener) -> None:
    """An interim answer is none: a denial behind it resets the connection."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.ask(get("/pub/a"))
    wire.answer(head("HTTP/1.1 103 Early Hints", "Link: </x>"))
    wire.client.sendall(get("/secret"))
    assert rest(wire.client) == End(b"", "reset")


def test_early_answer(gate: Guarded, anywhere: Listener) -> None:
    """A body goes on behind an early answer; what is denied behind it gets its 403."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    request = post("/pub/a", b"b" * 1000)
    wire.ask(request[:-900])
    wire.answer()
    wire.ask(request[-900:])
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_answer_until_the_end(gate: Guarded, anywhere: Listener) -> None:
    """A denial while an answer without a length goes on is no part of it."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.ask(get("/pub/a"))
    wire.answer(head("HTTP/1.1 200 OK", "Connection: close") + b"goes on")
    wire.client.sendall(get("/secret"))
    assert rest(wire.client) == End(b"", "reset")


def test_answers_in_flight(gate: Guarded, listener: Listener) -> None:
    """A denial while the server's last answer is not acknowledged leaves the answer whole or
    resets the connection: never part of it and then a 403.
    """
    gate.allow(listener.port, PUBLIC)
    reply = answer(200, b"r" * 300_000)
    for _ in range(20):
        wire = listener.connect()
        wire.ask(get("/pub/a"))
        wire.server.settimeout(0)
        sent = wire.server.send(reply)
        wire.client.sendall(get("/secret"))
        seen = rest(wire.client)
        if seen.how == "eof":
            assert sent == len(reply)
            assert seen.data == reply + forbidden()
        else:
            assert seen.how == "reset"
            assert reply.startswith(seen.data)
        wire.client.close()
        wire.server.close()


def test_two_denied(gate: Guarded, anywhere: Listener) -> None:
    """Of two denied requests that are pipelined the first gets the 403, and nothing more comes."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.client.sendall(get("/secret/1"))
    try:
        wire.client.sendall(get("/secret/2"))
    except (BrokenPipeError, ConnectionResetError):
        pytest.fail("the denied connection was reset")
    expect_403(wire.client)
    expect_nothing(wire.server)


@pytest.mark.parametrize("said", [b"220 hello\r\n", answer(408, b"too slow")[:-4]])
def test_unasked_answer(gate: Guarded, anywhere: Listener, said: bytes) -> None:
    """A server that has spoken before it was asked may not have said all: no 403 goes into it."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.server.sendall(said)
    assert receive(wire.client, len(said)) == said
    wire.client.sendall(get("/secret"))
    assert rest(wire.client) == End(b"", "reset")
    expect_nothing(wire.server)


def test_denied_behind_a_body_that_is_being_read(gate: Guarded, anywhere: Listener) -> None:
    """A server that is busy reading what came before a denied request is reset as well. Of the
    denied request it may have read a part, from the segments in front of the one that decides.
    """
    gate.allow(anywhere.port, PUBLIC)
    everything = post("/pub/a", b"b" * (4 << 20)) + get("/secret")
    for _ in range(5):
        wire = anywhere.connect()
        seen: list[End] = []
        reader = threading.Thread(target=note_rest, args=(wire.server, seen))
        reader.start()
        wire.client.sendall(everything)
        reader.join()
        assert seen[0].how == "reset"
        assert everything[:-1].startswith(seen[0].data)
        assert rest(wire.client) == End(b"", "reset")


def note_rest(sock: socket.socket, seen: list[End]) -> None:
    """Read what there is; note it."""
    seen.append(rest(sock))
