"""A denied request is answered by the kernel, and its server never knows of it."""

from __future__ import annotations

import http.client
import json
import subprocess
from pathlib import Path

import pytest

from tests.live.kit.gate import (
    End,
    Guarded,
    checksum_errors,
    expect_403,
    expect_nothing,
    forbidden,
    policy,
    rest,
)
from tests.live.kit.nginx import nginx, wait_until_listening
from tests.live.kit.wire import OK, Listener, get, head, post
from tests.live.kit.world import World, need

PUBLIC = "{method: GET, path: /pub/*}"


def test_denied_first(gate: Guarded, anywhere: Listener) -> None:
    """A denied first request reads a complete 403 and the end; the server is reset, unread."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_allowed_and_then_denied(gate: Guarded, anywhere: Listener) -> None:
    """Requests that are allowed before a denied one pass as they are, and so do their answers."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    for i in range(20):
        wire.exchange(get(f"/pub/{i % 3}"))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_allowed_goes_on(gate: Guarded, anywhere: Listener) -> None:
    """A denial on one connection leaves the others as they are."""
    gate.allow(anywhere.port, PUBLIC)
    kept = anywhere.connect()
    kept.exchange(get("/pub/a"))
    for _ in range(5):
        wire = anywhere.connect()
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)
        kept.exchange(get("/pub/a"))
    kept.finish()


def test_head(gate: Guarded, anywhere: Listener) -> None:
    """A denied HEAD gets the fields of a 403 and no body."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.client.sendall(head("HEAD /secret HTTP/1.1", "Host: wire.test"))
    expect_403(wire.client, body=False)
    expect_nothing(wire.server)


def test_denied_with_a_body(gate: Guarded, anywhere: Listener) -> None:
    """A denied POST whose body comes with its head gets its 403."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.client.sendall(post("/pub/a", b"b" * 1000))
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_the_client_ends_its_stream_at_once(gate: Guarded, anywhere: Listener) -> None:
    """A client that ends its stream behind a denied request reads the 403 as well."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.client.sendall(get("/secret"))
    wire.client.shutdown(1)
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_not_named(gate: Guarded, loop: Listener) -> None:
    """The answer does not name the policy when that is switched off."""
    gate.allow(loop.port, PUBLIC)
    gate.gate.named = False
    try:
        wire = loop.connect()
        wire.client.sendall(get("/secret"))
        expect_403(wire.client, name="")
    finally:
        gate.gate.named = True


@pytest.mark.parametrize("length", [1, 40, 63])
def test_every_length_of_a_name(gate: Guarded, anywhere: Listener, length: int) -> None:
    """The answer is whole and its checksum right, whether its length is odd or even."""
    name = "n" * length
    gate.force(policy(name, anywhere.port, PUBLIC))
    wire = anywhere.connect()
    wire.client.sendall(get("/secret"))
    expect_403(wire.client, name=f"default/{name}")


def test_without_time_stamps(gate: Guarded, world: World, anywhere: Listener) -> None:
    """A connection without TCP's time stamps is answered without them."""
    gate.allow(anywhere.port, PUBLIC)
    world.server.sysctl("net.ipv4.tcp_timestamps", "0")
    try:
        wire = anywhere.connect()
    finally:
        world.server.sysctl("net.ipv4.tcp_timestamps", "1")
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)


@pytest.fixture
def no_offload(world: World) -> object:
    """Let both ends of the cable compute checksums themselves."""
    places = (world.server, world.client)
    need("ethtool")
    for place in places:
        place.run("ethtool", "-K", "cable1", "tx", "off")
    yield
    for place in places:
        place.run("ethtool", "-K", "cable1", "tx", "on")


def test_full_checksums(gate: Guarded, no_offload: None, anywhere: Listener) -> None:
    """Answers reach the client as well when no checksum is left to the device."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.exchange(get("/pub/a"))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize("local", [False, True])
def test_curl_and_nginx(
    gate: Guarded, world: World, tmp_path: Path, six: bool, local: bool
) -> None:
    """Curl reads a 403 from the kernel for what is denied and nginx's answer for what is not."""
    client = world.server if local else world.client
    with nginx(world, world.server, tmp_path / "n") as server:
        gate.allow(server.port, "{method: GET, path: /small}")
        before = server.requests()
        for _ in range(3):
            urls = [server.url(path, six=six) for path in ("/small", "/small", "/gone", "/small")]
            command = [
                "curl",
                "-s",
                "-g",
                "-m",
                "10",
                "-w",
                "|%{http_code}|%header{x-axon-policy}\n",
            ]
            seen = client.run(*command, *urls)
            fine = "seventeen bytes!\n|200|\n"
            denied = "Denied by network policy.\n|403|default/web\n"
            assert seen == fine + fine + denied + fine
        assert server.requests() - before == 9


def test_post_by_curl(gate: Guarded, world: World, tmp_path: Path) -> None:
    """A POST is denied where only GET is allowed, and a HEAD by curl gets an end as well."""
    with nginx(world, world.server, tmp_path / "n") as server:
        gate.allow(server.port, "{method: GET, path: /small}")
        code = ["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}"]
        url = server.url("/small")
        assert world.client.run(*code, url) == "200"
        assert world.client.run(*code, "-d", "a=1", url) == "403"
        assert world.client.run(*code, "-I", url) == "403"


def test_python(gate: Guarded, world: World) -> None:
    """Python's own client and server: a 403 for what is denied, on a connection that is kept."""
    port = world.port()
    server = world.server.start("/usr/bin/python3", "-m", "http.server", str(port))
    wait_until_listening(world.server, port, server)
    gate.allow(port, "{method: GET, path: /}")
    connection = http.client.HTTPConnection(world.server.ip4, port)
    for path, status in (("/", 200), ("/secret", 403), ("/", 200), ("/etc", 403)):
        connection.sock = world.client.socket()
        connection.sock.connect((world.server.ip4, port))
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == status
        if status == 403:
            assert answer.getheader("x-axon-policy") == "default/web"
            assert body == b"Denied by network policy.\n"
        connection.close()
    world.server.end(server)


def test_node(gate: Guarded, world: World, tmp_path: Path) -> None:
    """Node's server gets what is allowed, and node's client reads a 403 for the rest."""
    port = world.port()
    script = tmp_path / "server.mjs"
    script.write_text(
        "import http from 'node:http';\n"
        f"http.createServer((q, r) => r.end(q.url)).listen({port});\n"
    )
    server = world.server.start("node", str(script))
    wait_until_listening(world.server, port, server)
    gate.allow(port, PUBLIC)
    asker = tmp_path / "client.mjs"
    asker.write_text(
        "import http from 'node:http';\n"
        "const agent = new http.Agent({keepAlive: true, maxSockets: 1});\n"
        "const ask = path => new Promise((good, bad) =>\n"
        f"  http.get({{host: '{world.server.ip4}', port: {port}, path, agent}}, r => {{\n"
        "    let text = ''; r.on('data', d => text += d);\n"
        "    r.on('end', () => good([r.statusCode, text])); }).on('error', bad));\n"
        "const seen = [];\n"
        "for (const path of ['/pub/a', '/pub/b', '/secret', '/pub/c']) seen.push(await ask(path));\n"
        "console.log(JSON.stringify(seen)); agent.destroy();\n"
    )
    seen = json.loads(world.client.run("node", str(asker), timeout=60))
    denied = [403, "Denied by network policy.\n"]
    assert seen == [[200, "/pub/a"], [200, "/pub/b"], denied, [200, "/pub/c"]]
    world.server.end(server)


def test_not_selected(gate: Guarded, anywhere: Listener, world: World) -> None:
    """A server that no policy selects is not judged, not even by one for another port."""
    gate.allow(world.port(), PUBLIC)
    wire = anywhere.connect()
    wire.exchange(get("/secret"))
    wire.ask(b"\x16\x03\x01 this is no HTTP")
    wire.finish()


def test_many_connections(gate: Guarded, anywhere: Listener) -> None:
    """Two hundred denials, one after the other, each with its 403."""
    gate.allow(anywhere.port, PUBLIC)
    before = gate.verdicts().dropped
    for _ in range(200):
        wire = anywhere.connect()
        wire.client.sendall(get("/secret"))
        assert rest(wire.client) == End(forbidden(), "eof")
        assert rest(wire.server) == End(b"", "reset")
        wire.client.close()
        wire.server.close()
    assert gate.verdicts().dropped - before == 200


def test_large_responses_before(gate: Guarded, anywhere: Listener) -> None:
    """A denial behind a response of a megabyte comes when the client has it all."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    body = b"r" * (1 << 20)
    wire.exchange(get("/pub/a"), head("HTTP/1.1 200 OK", f"Content-Length: {len(body)}") + body)
    wire.exchange(get("/pub/a"), OK)
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)
    assert checksum_errors(gate.place) >= 0


def test_tls_and_nginx(gate: Guarded, world: World, tmp_path: Path) -> None:
    """TLS to a server is denied, and passes by a rule without httpRules."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    make = [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-subj", "/CN=a", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    more = f"ssl; ssl_certificate {certificate}; ssl_certificate_key {key}"
    with nginx(world, world.server, tmp_path / "n", options=more) as server:
        url = server.url("/small").replace("http:", "https:")
        command = ["curl", "-sk", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", url]
        gate.allow(server.port, PUBLIC)
        assert world.client.run(*command, check=False) == "000"
        gate.allow(server.port)
        assert world.client.run(*command) == "200"
        gate.allow(server.port, PUBLIC, spec="nonHTTP: allow")
        assert world.client.run(*command) == "200"
        gate.force(policy("other", world.port(), PUBLIC))
        assert world.client.run(*command) == "200"
