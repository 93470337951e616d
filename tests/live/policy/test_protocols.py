"""What is not HTTP/1, or stops being it, passes only where a policy says so."""

from __future__ import annotations

import time

import pytest

from tests.live.kit.gate import Guarded, expect_403, expect_nothing, rest
from tests.live.kit.wire import OK, Listener, get, head, receive

PUBLIC = "{method: GET, path: /pub/*}"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
HELLO = bytes.fromhex("16030100c8010000c403") + bytes(range(190))
NOT_HTTP = {"HTTP/2": PREFACE, "TLS": HELLO, "SSH": b"SSH-2.0-x\r\n", "NUL": b"\0" * 100}
BEHIND = head("PRX http://a/ HTTP/1.1", "Host: a") + get("/secret")
NEARLY_HTTP = {
    "LF in front": b"\n" + get("/secret"),
    "blank in front": b" " + get("/secret"),
    "blank line in front": b"\t\r\n" + get("/secret"),
    "tab": get("/secret").replace(b" ", b"\t", 1),
    "vertical tab": get("/secret").replace(b" ", b"\v", 1),
    "CR": get("/secret").replace(b" ", b"\r", 1),
    "no-break space": get("/secret").replace(b" ", b"\xa0", 1),
    "file separator": get("/secret").replace(b" ", b"\x1c", 1),
    "quoted": b'"' + get("/secret"),
    "long method": b"M" * 40 + b" / HTTP/1.1\r\nHost: a\r\n\r\n" + get("/secret"),
    "method like PRI": BEHIND,
    "preface of HTTP/1": BEHIND.replace(b"PRX http://a/", b"PRI *"),
    "preface of HTTP/2.1": BEHIND.replace(b"PRX http://a/ HTTP/1.1", b"PRI * HTTP/2.1"),
    "preface with a field": BEHIND.replace(b"PRX http://a/ HTTP/1.1", b"PRI * HTTP/2.0"),
}
SWITCH = head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket")
FRAMES = b"\x82\x05\0\1\2\3\4GET /secret HTTP/1.1\r\n\r\n"


H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def upgrade(path: str) -> bytes:
    """Return the head that asks for WebSocket."""
    return get(
        path,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )


@pytest.mark.parametrize("raw", NOT_HTTP.values(), ids=NOT_HTTP)
def test_not_http(gate: Guarded, anywhere: Listener, raw: bytes) -> None:
    """Another protocol on a protected port is denied."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    with gate.denying(NON_HTTP=1):
        wire.client.sendall(raw)
        expect_nothing(wire.server)
        assert rest(wire.client).how in {"eof", "reset"}


@pytest.mark.parametrize("raw", NOT_HTTP.values(), ids=NOT_HTTP)
def test_allowed_by_non_http(gate: Guarded, anywhere: Listener, raw: bytes) -> None:
    """It passes, for good, where the policy says `nonHTTP: allow`; HTTP is judged there too."""
    gate.allow(anywhere.port, PUBLIC, spec="nonHTTP: allow")
    wire = anywhere.connect()
    wire.exchange(raw, b"whatever")
    wire.exchange(get("/secret"))
    wire.finish()
    wire = anywhere.connect()
    wire.exchange(get("/pub/a"))
    with gate.denying(RULE=1):
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)


@pytest.mark.parametrize("name", NEARLY_HTTP)
def test_what_a_lenient_server_reads(gate: Guarded, anywhere: Listener, name: str) -> None:
    """`nonHTTP: allow` is for what no server reads as HTTP, and reads on behind: the rest is denied."""
    gate.allow(anywhere.port, PUBLIC, spec="nonHTTP: allow")
    wire = anywhere.connect()
    with gate.denying(**{"TARGET" if b"PR" in NEARLY_HTTP[name][:2] else "REQUEST_LINE": 1}):
        wire.client.sendall(NEARLY_HTTP[name])
        expect_nothing(wire.server)


@pytest.mark.parametrize("name", NOT_HTTP)
def test_not_http_behind_http(gate: Guarded, anywhere: Listener, name: str) -> None:
    """`nonHTTP: allow` is for whole connections: what follows a request is judged."""
    gate.allow(anywhere.port, PUBLIC, spec="nonHTTP: allow")
    wire = anywhere.connect()
    wire.exchange(get("/pub/a"))
    with gate.denying(**{"TARGET" if name == "HTTP/2" else "REQUEST_LINE": 1}):
        wire.client.sendall(NOT_HTTP[name])
        expect_nothing(wire.server)


@pytest.mark.parametrize("raw", [*NOT_HTTP.values(), get("/secret")], ids=[*NOT_HTTP, "HTTP"])
def test_allowed_by_a_rule_without_http(gate: Guarded, anywhere: Listener, raw: bytes) -> None:
    """A rule without httpRules lets everything of its callers pass unread."""
    gate.allow(anywhere.port)
    wire = anywhere.connect()
    for _ in range(3):
        wire.exchange(raw, b"whatever")
    wire.exchange(b"more")
    wire.finish()


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("raw", NOT_HTTP.values(), ids=NOT_HTTP)
def test_not_http_in_pieces(gate: Guarded, loop: Listener, raw: bytes, step: int) -> None:
    """It is not read whole however its first bytes come."""
    gate.allow(loop.port, PUBLIC)
    wire = loop.connect()
    with gate.denying(NON_HTTP=1):
        try:
            for at in range(0, len(raw), step):
                wire.client.sendall(raw[at : at + step])
                time.sleep(0.001)
        except (BrokenPipeError, ConnectionResetError):
            pass
        seen = rest(wire.server)
    assert seen.how == "reset"
    assert len(seen.data) < 12


@pytest.mark.parametrize("raw", [PREFACE, HELLO], ids=["HTTP/2", "TLS"])
@pytest.mark.parametrize("step", [1, 3])
def test_allowed_in_pieces(gate: Guarded, loop: Listener, raw: bytes, step: int) -> None:
    """`nonHTTP: allow` holds however the first bytes come."""
    gate.allow(loop.port, PUBLIC, spec="nonHTTP: allow")
    wire = loop.connect()
    wire.ask(raw, step=step)
    wire.answer(b"fine")
    wire.finish()


def test_websocket(gate: Guarded, anywhere: Listener) -> None:
    """A WebSocket is allowed where its GET is; what follows the server's 101 passes unread."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.exchange(get("/pub/before"))
    wire.exchange(upgrade("/pub/ws"), SWITCH)
    for _ in range(5):
        wire.exchange(FRAMES, b"\x82\x02hi")
    wire.exchange(b"\0" * 100_000, b"\1" * 100_000)
    wire.finish()


def test_connect_with_a_path(gate: Guarded, anywhere: Listener) -> None:
    """CONNECT is denied also where any method is allowed: nobody could read what follows its answer."""
    gate.allow(anywhere.port, '{method: "*", path: /pub/*}')
    with gate.denying(TARGET=2):
        for fields in ((), ("Connection: Upgrade", "Upgrade: websocket")):
            wire = anywhere.connect()
            wire.client.sendall(head("CONNECT /pub/a HTTP/1.1", "Host: a", *fields))
            expect_403(wire.client)
            expect_nothing(wire.server)


def test_websocket_denied(gate: Guarded, anywhere: Listener) -> None:
    """One that is not allowed gets its 403."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    with gate.denying(RULE=1):
        wire.client.sendall(upgrade("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)


def test_websocket_that_is_refused(gate: Guarded, anywhere: Listener) -> None:
    """Where the server answers otherwise, HTTP goes on and is judged."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    with gate.denying(RULE=1):
        wire.exchange(upgrade("/pub/ws"))
        wire.exchange(get("/pub/a"))
        wire.exchange(upgrade("/pub/ws"))
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)


def test_garbage_behind_a_refused_websocket(gate: Guarded, anywhere: Listener) -> None:
    """Frames behind an answer that is not 101 are denied."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    with gate.denying(REQUEST_LINE=1):
        wire.exchange(upgrade("/pub/ws"))
        wire.client.sendall(FRAMES)
        expect_nothing(wire.server)


def test_frames_before_the_answer(gate: Guarded, anywhere: Listener) -> None:
    """What a client sends before the server's 101 waits for it, and is judged if that is none."""
    gate.allow(anywhere.port, PUBLIC)
    with gate.denying(ORDER=2, RULE=1):
        for fine in (True, False):
            wire = anywhere.connect()
            wire.ask(upgrade("/pub/ws"))
            wire.client.sendall(get("/secret"))
            wire.server.settimeout(0.1)
            with pytest.raises(TimeoutError):
                wire.server.recv(100)
            wire.server.settimeout(5)
            wire.answer(SWITCH if fine else OK)
            if fine:
                assert receive(wire.server, len(get("/secret"))) == get("/secret")
            else:
                expect_nothing(wire.server)


def test_frames_with_the_upgrade(gate: Guarded, loop: Listener) -> None:
    """What comes in one packet with the upgrade's head is not let by unread."""
    gate.allow(loop.port, PUBLIC)
    wire = loop.connect()
    with gate.denying(UPGRADE=1):
        wire.client.sendall(upgrade("/pub/ws") + get("/secret"))
        seen = rest(wire.server, 0.5)
    assert b"/secret" not in seen.data


def test_h2c_that_is_not_taken_up(gate: Guarded, anywhere: Listener) -> None:
    """A request is allowed that asks for HTTP/2 beside itself, as Java's first ones do; the next is judged."""
    gate.allow(anywhere.port, PUBLIC)
    before = gate.denials()
    wire = anywhere.connect()
    wire.exchange(get("/pub/a", *H2C))
    wire.exchange(get("/pub/b"))
    wire.exchange(get("/pub/a", *H2C))
    wire.client.sendall(get("/secret", *H2C))
    expect_403(wire.client)
    expect_nothing(wire.server)
    gate.expect_denials(before, RULE=1)


@pytest.mark.parametrize("behind", [PREFACE, get("/pub/a"), FRAMES])
def test_h2c(gate: Guarded, anywhere: Listener, behind: bytes) -> None:
    """Where the server takes it up, nothing more gets there."""
    gate.allow(anywhere.port, PUBLIC)
    before = gate.denials()
    wire = anywhere.connect()
    wire.exchange(get("/pub/a", *H2C), SWITCH.replace(b"websocket", b"h2c"))
    wire.client.sendall(behind)
    expect_nothing(wire.server)
    assert rest(wire.client).how == "reset"
    gate.expect_denials(before, UPGRADE=1)


def test_h2c_before_the_answer(gate: Guarded, anywhere: Listener) -> None:
    """HTTP/2 that does not wait for the server to agree is denied as it is elsewhere."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.client.sendall(get("/pub/a", *H2C) + PREFACE)
    assert PREFACE[:3] not in rest(wire.server, 0.5).data


def test_an_interim_answer_before_101(gate: Guarded, anywhere: Listener) -> None:
    """An interim answer is not the one that opens the connection."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.exchange(upgrade("/pub/ws"), head("HTTP/1.1 103 Early Hints", "Link: </x>"))
    with gate.denying(ORDER=1):
        wire.client.sendall(get("/secret"))
        wire.server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            wire.server.recv(100)


def test_101_that_nobody_asked_for(gate: Guarded, anywhere: Listener) -> None:
    """A 101 to a plain request does not open the connection; nobody could say what follows it."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    with gate.denying(UPGRADE=1):
        wire.exchange(get("/pub/a"), SWITCH)
        wire.client.sendall(get("/secret"))
        expect_nothing(wire.server)
