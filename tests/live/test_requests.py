"""What a request is named by: method, route, version, and who asked whom."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live.kit.axon import Axon
from tests.live.kit.books import Books, wait_for
from tests.live.kit.wire import OK, Listener, Wire, answer, get, head
from tests.live.kit.world import Place, World

METHODS = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"]


def test_methods(wire: Wire, books: Books) -> None:
    """Every method of RFC 9110 and RFC 5789 is told apart."""
    for method in METHODS:
        wire.exchange(head(f"{method} /m HTTP/1.1", "Host: h"))
    wire.exchange(head("HEAD /m HTTP/1.1", "Host: h"), head("HTTP/1.1 200 OK"))
    books.expect(wire.port, [f"{method} /m 200" for method in [*METHODS, "HEAD"]])


@pytest.mark.parametrize(
    "method", ["get", "Get", "PROPFIND", "M-SEARCH", "X", "GETS", "POSTS", "!#$%&'*+-.^_`|~9aZ"]
)
def test_other_methods(listener: Listener, books: Books, method: str) -> None:
    """Methods are case-sensitive tokens; the unknown ones are one series."""
    wire = listener.connect()
    for _ in range(2):
        wire.exchange(head(f"{method} /m HTTP/1.1", "Host: h"))
    books.expect(listener.port, {"OTHER /m 200": 2})


def test_absolute_form(wire: Wire, books: Books) -> None:
    """A target with scheme and authority, as a proxy gets it, has the path behind them."""
    for target in ("http://h/p/a", "http://h:8080/p/a?q=/no", "HTTP://h/p/a#f", "https://h/p/a"):
        wire.exchange(head(f"GET {target} HTTP/1.1", "Host: h"))
    for target in ("http://h", "http://h:80", "http://h?q=/no", "http://h/"):
        wire.exchange(head(f"GET {target} HTTP/1.1", "Host: h"))
    books.expect(wire.port, {"GET /p/a 200": 4, "GET / 200": 4})


def test_other_targets(wire: Wire, books: Books) -> None:
    """A target that is no path has no route; a path may look like anything."""
    wire.exchange(head("OPTIONS * HTTP/1.1", "Host: h"))
    wire.exchange(get("//"))
    wire.exchange(get("/h/x"))
    wire.exchange(get("/http://inner/path"))
    wire.exchange(get("/%20%2F/\xe4?x"))
    wire.exchange(get("/a?b#c"))
    wire.exchange(get("/?"))
    books.expect(
        wire.port,
        [
            "OPTIONS none 200",
            "GET // 200",
            "GET /h/x 200",
            "GET /http://inner/path 200",
            "GET /%20%2F/\\xe4 200",
            "GET /a 200",
            "GET / 200",
        ],
    )


def test_routes(wire: Wire, books: Books) -> None:
    """Segments that identify something are put together."""
    for path in (
        "/users/1",
        "/users/23",
        "/users/-7/orders",
        "/v2/users/me",
        "/o/0b5f7a1e-8d2c-4c55-9f3b-6a3a86c3f6f1",
        "/c/0123456789abcdef01234567",
        "/t/eyJhbGciOi.J9_x8y7z6-k5",
    ):
        wire.exchange(get(path))
    books.expect(
        wire.port,
        {
            "GET /users/{id} 200": 2,
            "GET /users/{id}/orders 200": 1,
            "GET /v2/users/me 200": 1,
            "GET /o/{uuid} 200": 1,
            "GET /c/{hex} 200": 1,
            "GET /t/{token} 200": 1,
        },
    )


def test_flow_records(listener: Listener, books: Books, every_flow: Axon) -> None:
    """A flow record tells everything of one request, and nothing but Host of its header values."""
    before = time.monotonic_ns()
    with ThreadPoolExecutor(1) as thread:  # the client's, which is not the process's first
        client = thread.submit(listener.dial).result()
        asker = thread.submit(threading.get_native_id).result()
    wire = Wire(client, listener.accept(), listener.port)
    threads = {"server": threading.get_native_id(), "client": asker}
    command = Path("/proc/self/comm").read_text().rstrip("\n")
    wire.exchange(
        head(
            "PUT /f/1?secret=1 HTTP/1.1", "Host: api.test:81", "Cookie: secret", "Content-Length: 3"
        )
        + b"abc",
        answer(503, b"secret"),
    )
    books.expect(wire.port, ["PUT /f/{id} 503"])
    flows = wait_for(
        lambda: {f["role"]: f for f in every_flow.flows() if wire.port in (f["lport"], f["rport"])},
        lambda found: len(found) == 2,
    )
    ends = {"server": wire.server, "client": wire.client}
    for role, flow in flows.items():
        mine, theirs = ends[role].getsockname(), ends[role].getpeername()
        assert (flow["laddr"], int(flow["lport"])) == mine
        assert (flow["raddr"], int(flow["rport"])) == theirs
        assert (flow["method"], flow["path"], flow["host"]) == ("PUT", "/f/1", "api.test:81")
        assert (int(flow["status"]), int(flow["req_body"]), int(flow["resp_body"])) == (503, 3, 6)
        assert before < int(flow["start"]) < time.monotonic_ns()
        assert 0 < int(flow["ttfb"]) <= int(flow["duration"]) < 10**9
        assert (int(flow["pid"]), int(flow["tid"])) == (os.getpid(), threads[role])
        assert flow["comm"] == command
        assert b"secret" not in flow["raw"]
    assert int(flows["server"]["start"]) >= int(flows["client"]["start"])


def test_long_host_and_path_in_flow_records(wire: Wire, every_flow: Axon) -> None:
    """At least 256 bytes of the path and 64 of the host are kept, and cuts are marked."""
    flags = every_flow.kernel.abi.enum("ax_flow_flag")
    path, host = "/" + "p" * 300, "h" * 70 + ".test"
    wire.exchange(head(f"GET {path} HTTP/1.1", f"Host: {host}"))
    flows = wait_for(
        lambda: [f for f in every_flow.flows() if int(f["lport"]) == wire.port],
        lambda f: len(f) > 0,
    )
    assert (flows[0]["path"], flows[0]["host"]) == (path[:256], host[:64])
    assert int(flows[0]["flags"]) & flags["AX_FLOW_PATH_CUT"]
    assert int(flows[0]["flags"]) & flags["AX_FLOW_HOST_CUT"]


SERVER = """
import socket, sys
s = socket.create_server(("", int(sys.argv[1])))
print("ready", flush=True)
c = s.accept()[0]
c.recv(4096)
c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
c.recv(1)
"""
CLIENT = """
import socket, sys, threading
def ask():
    c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    c.sendall(b"GET /who HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n")
    c.recv(4096)
if sys.argv[3] == "thread":
    t = threading.Thread(target=ask); t.start(); t.join()
else:
    ask()
"""


def start_server(place: Place, port: int) -> subprocess.Popen[str]:
    """Start a server that answers one request."""
    server = place.start("python3", "-c", SERVER, str(port))
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    return server


@pytest.mark.parametrize("how", ["main", "thread"])
def test_processes(world: World, books: Books, how: str) -> None:
    """A series knows the process that opened the client's socket or the server's listener."""
    port = world.port()
    server = start_server(world.server, port)
    client = world.client.start("python3", "-c", CLIENT, world.server.ip4, str(port), how)
    assert client.wait(10) == 0
    world.client.end(client)
    books.expect(port, ["GET /who 200"])
    for row, process in zip(books.rows(port, "GET /who 200"), (server, client), strict=True):
        assert (row.pid, row.comm) == (process.pid, "python3")
        assert row.cgroup == world.cgroup.stat().st_ino
    world.server.end(server)


def test_peers(world: World, books: Books) -> None:
    """A series names the other end's address."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    listener.connect().exchange(get("/a"))
    books.expect(listener.port, ["GET /a 200"])
    server, client = books.rows(listener.port, "GET /a 200")
    assert (server.peer, client.peer) == (world.client.ip4, world.server.ip4)
    listener.close()


def test_same_host(loop: Listener, books: Books) -> None:
    """Over loopback both ends are seen: once as server, once as client."""
    wire = loop.connect()
    for _ in range(10):
        wire.exchange(get("/a"))
    wire.finish()
    books.expect(loop.port, {"GET /a 200": 10})


def test_proxy_in_the_middle(world: World, books: Books) -> None:
    """A process that is server to one and client to another has a series for each."""
    front = Listener(world, world.server, world.client, world.server.ip4)
    back = Listener(world, world.server, world.server, "127.0.0.1")
    outside, inside = front.connect(), back.connect()
    for _ in range(3):
        outside.ask(get("/front"))
        inside.exchange(get("/back"))
        outside.answer(OK)
    books.expect(front.port, {"GET /front 200": 3})
    books.expect(back.port, {"GET /back 200": 3})
    front.close()
    back.close()


def test_waiting_in_the_socket_counts(wire: Wire, books: Books) -> None:
    """The time that a request waits before the server reads it is part of its duration."""
    wire.client.sendall(get("/slow"))
    time.sleep(0.2)
    assert wire.server.recv(4096)
    wire.answer(OK)
    books.expect(wire.port, ["GET /slow 200"])
    for row in books.rows(wire.port, "GET /slow 200"):
        assert 0.2e9 <= row.ttfb_sum <= row.dur_sum < 0.4e9


def test_duration_is_from_first_byte_to_last(wire: Wire, books: Books) -> None:
    """Time to first byte ends with the response's first byte, the duration with its last."""
    request, response = get("/slow"), answer(200, b"x" * 100)
    for piece in (request[:20], request[20:]):
        wire.ask(piece)
        time.sleep(0.1)
    wire.answer(response[:60])
    time.sleep(0.1)
    wire.answer(response[60:])
    books.expect(wire.port, ["GET /slow 200"])
    for row in books.rows(wire.port, "GET /slow 200"):
        assert 0.2e9 <= row.ttfb_sum < 0.29e9
        assert 0.3e9 <= row.dur_sum < 0.45e9


def test_durations_of_pipelined_requests(wire: Wire, books: Books) -> None:
    """A pipelined request lasts from its own first byte, so the wait behind others counts."""
    wire.ask(get("/first") + get("/second"))
    time.sleep(0.1)
    wire.answer(OK)
    time.sleep(0.1)
    wire.answer(OK)
    books.expect(wire.port, ["GET /first 200", "GET /second 200"])
    for line, low in (("GET /first 200", 0.1e9), ("GET /second 200", 0.2e9)):
        for row in books.rows(wire.port, line):
            assert low <= row.dur_sum < low + 0.09e9


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_families(world: World, books: Books, family: socket.AddressFamily) -> None:
    """IPv4 and IPv6 are read alike, over cables and loopback."""
    six = family == socket.AF_INET6
    for client, address in (
        (world.client, world.server.ip6 if six else world.server.ip4),
        (world.server, "::1" if six else "127.0.0.1"),
    ):
        listener = Listener(world, world.server, client, address, family)
        wire = listener.connect()
        for _ in range(3):
            wire.exchange(get("/a"), answer(200, b"x" * 100_000))
        wire.finish()
        books.expect(listener.port, {"GET /a 200": 3})
        server, peer = books.rows(listener.port, "GET /a 200")
        mine = address if client is world.server else (client.ip6 if six else client.ip4)
        assert (server.peer, peer.peer) == (mine, address)
        listener.close()


def test_mapped_addresses(world: World, books: Books) -> None:
    """An IPv6 listener that is reached by IPv4 has an IPv4 peer."""
    six = socket.AF_INET6
    listener = Listener(world, world.server, world.client, world.server.ip4, listen_family=six)
    listener.connect().exchange(get("/a"))
    back = Listener(world, world.server, world.client, "::ffff:" + world.server.ip4, six)
    back.connect().exchange(get("/b"))
    books.expect(listener.port, ["GET /a 200"])
    books.expect(back.port, ["GET /b 200"])
    for port, line in ((listener.port, "GET /a 200"), (back.port, "GET /b 200")):
        server, client = books.rows(port, line)
        assert (server.peer, client.peer) == (world.client.ip4, world.server.ip4)
    listener.close()
    back.close()
