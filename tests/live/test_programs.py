"""Programs that people run, as servers and as clients: what they say they did is what is counted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.kit.books import Books
from tests.live.kit.nginx import Nginx, nginx, wait_until_listening
from tests.live.kit.world import World

PROGRAMS = Path(__file__).with_name("programs")
MB = 1 << 20


@pytest.fixture(scope="module")
def node_port(world: World) -> Iterator[int]:
    """Run the Node server; give its port."""
    port = world.port()
    process = world.server.start("node", str(PROGRAMS / "server.mjs"), str(port))
    wait_until_listening(world.server, port, process)
    yield port
    world.server.end(process)


@pytest.fixture(scope="module")
def web(world: World, tmp_path_factory: pytest.TempPathFactory, node_port: int) -> Iterator[Nginx]:
    """Run nginx with some files, in front of the Node server."""
    home = tmp_path_factory.mktemp("nginx") / "home"
    locations = f"""
        location /node/ {{ proxy_pass http://127.0.0.1:{node_port}/; proxy_http_version 1.1;
                           proxy_set_header Connection ""; }}
        location /old/ {{ proxy_pass http://127.0.0.1:{node_port}/; }}
        location /down/ {{ proxy_pass http://127.0.0.1:9/; }}
        location /upload/ {{ dav_methods PUT; create_full_put_path on; }}
    """
    with nginx(world, world.server, home, locations=locations) as running:
        (running.www / "page.html").write_text("<p>page\n" * 1000)
        with (running.www / "huge").open("wb") as file:
            os.truncate(file.fileno(), 300 * MB)
        os.chmod(running.www, 0o777)  # noqa: PTH101 - for its worker's user
        (running.www / "upload").mkdir()
        os.chmod(running.www / "upload", 0o777)  # noqa: PTH101
        yield running


def curl(world: World, *arguments: str, check: bool = True) -> str:
    """Run curl at the client's place; return what it prints."""
    return world.client.run("curl", "-sS", *arguments, check=check)


@pytest.fixture
def site(web: Nginx, node_port: int, books: Books) -> Nginx:
    """Give nginx, and have only what is counted from now on looked at."""
    for port in (web.port, node_port):
        books.from_now(port)
    return web


def test_large_file(site: Nginx, world: World, books: Books) -> None:
    """Hundreds of megabytes that sendfile sends are counted to the byte."""
    size = curl(world, "-o", "/dev/null", "-w", "%{size_download}", site.url("/huge"))
    assert int(size) == 300 * MB
    books.expect(site.port, {"GET /huge 200": 1})
    for row in books.rows(site.port, "GET /huge 200"):
        assert row.resp_body == 300 * MB
        assert row.resp_wire > row.resp_body
        assert row.resp_size[11] == 1


def test_ranges_and_conditions(site: Nginx, world: World, books: Books) -> None:
    """Parts of files, unchanged files, heads of files: each with its own end."""
    page = site.url("/page.html")
    etag = next(
        line.split(":", 1)[1].strip()
        for line in curl(world, "-I", page).splitlines()
        if line.lower().startswith("etag")
    )
    curl(world, "-r", "10-99", page, "-r", "10-99", page)
    curl(world, "-H", f"If-None-Match: {etag}", page, page)
    curl(world, "-r", "999999999-", page)
    curl(world, page, page, page)
    books.expect(
        site.port,
        {
            "HEAD /page.html 200": 1,
            "GET /page.html 206": 2,
            "GET /page.html 304": 2,
            "GET /page.html 416": 1,
            "GET /page.html 200": 3,
        },
    )


def test_statuses(site: Nginx, world: World, books: Books) -> None:
    """What nginx answers by itself, and what it does not answer at all."""
    for path in ("/gone", "/moved", "/missing", "/small?x=1"):
        curl(world, site.url(path))
    curl(world, site.url("/cut"), check=False)
    curl(world, "-X", "POST", site.url("/page.html"))
    curl(world, "-H", "Host: a b", site.url("/small"))
    books.expect(
        site.port,
        {
            "GET /gone 410": 1,
            "GET /moved 301": 1,
            "GET /missing 404": 1,
            "GET /small 200": 1,
            "GET /cut - no_response": 1,
            "POST /page.html 405": 1,
            "GET /small 400": 1,
        },
    )


def test_proxying(site: Nginx, node_port: int, world: World, books: Books) -> None:
    """A proxied request is counted in front and behind, on kept connections and on new ones."""
    paths = [f"/{way}/{path}" for way in ("node", "old") for path in ("plain", "chunked", "slow")]
    curl(world, *(site.url(path) for path in paths * 3))
    curl(world, site.url("/down/x"))
    books.expect(site.port, {f"GET {path} 200": 3 for path in paths} | {"GET /down/x 502": 1})
    books.expect(node_port, {"GET /plain 200": 6, "GET /chunked 200": 6, "GET /slow 200": 6})
    names = {(row.role, row.comm) for row in books.axon.rows(node_port) if row.peer == "127.0.0.1"}
    assert names == {("server", "node"), ("client", "nginx")}


def test_uploads(site: Nginx, world: World, books: Books, tmp_path: Path) -> None:
    """Uploads by curl: with a length, in chunks, and after 100 (Continue)."""
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3 * MB))
    curl(world, "-T", str(file), site.url("/upload/length"))
    curl(world, "-T", str(file), "-H", "Transfer-Encoding: chunked", site.url("/upload/chunks"))
    curl(world, "-T", str(file), "-H", "Expect: 100-continue", site.url("/upload/asked"))
    lines = [f"PUT /upload/{name} 201" for name in ("length", "chunks", "asked")]
    books.expect(site.port, dict.fromkeys(lines, 1))
    for line in lines:
        for row in books.rows(site.port, line):
            assert row.req_body == 3 * MB
            assert row.resp_body == 0


def test_curl_in_other_ways(site: Nginx, world: World, books: Books) -> None:
    """HTTP/1.0, IPv6, a proxy's absolute form, an upgrade that is not taken, many at a time."""
    small = site.url("/small")
    curl(world, "--http1.0", small, small)
    curl(world, "-g", site.url("/small", six=True))
    curl(world, "-x", site.url("/"), "http://named.test/small")
    curl(world, "--http2", small)
    curl(world, "-Z", *([site.url("/answer")] * 50))
    books.expect(site.port, {"GET /small 200": 5, "GET /answer 200": 50})
    versions = {r.version: r.count for r in books.axon.rows(site.port) if r.role == "client"}
    assert versions["1.0"] == 2


def test_curl_gives_up(site: Nginx, node_port: int, world: World, books: Books) -> None:
    """A client that waits no longer leaves a request without an answer; a download breaks off."""
    late = f"http://{world.server.ip4}:{node_port}/slow"
    curl(world, "-m", "0.02", late, check=False)
    curl(
        world, "-m", "0.3", "--limit-rate", "1M", site.url("/huge"), "-o", "/dev/null", check=False
    )
    books.expect(node_port, {"GET /slow - no_response": 1})
    books.expect(site.port, {"GET /huge 200 incomplete": 1})


def test_http2(site: Nginx, world: World, books: Books, tmp_path: Path) -> None:
    """HTTP/2 with prior knowledge is counted as a connection that is not read."""
    with nginx(world, world.server, tmp_path / "h2", options="http2") as second:
        world.client.run("h2load", "-n", "100", "-c", "4", "-m", "10", second.url("/small"))
        books.expect(second.port, [])
        books.expect_stat("CONN_HTTP2", 8)


NODE = {
    "GET /plain 200": 3,
    "HEAD /plain 200": 3,
    "GET /chunked 200": 3,
    "GET /hints 200": 3,
    "GET /empty 204": 3,
    "GET /slow 200": 3,
    "POST /echo 201": 6,
    "PUT /echo 201": 3,
    "DELETE /items/{id} 200": 3,
    "GET /destroyed - no_response": 1,
    "GET /socket 101": 1,
    "CONNECT none 200": 1,
}


def test_node(site: Nginx, node_port: int, world: World, books: Books) -> None:
    """Node's server and client: chunks, trailers, hints, upgrades and tunnels."""
    script = str(PROGRAMS / "client.mjs")
    said = world.client.run("node", script, world.server.ip4, str(node_port)).splitlines()
    assert len(said) == 33
    books.expect(node_port, NODE)
    books.expect_stat("CONN_UPGRADED", 4)
    for row in books.rows(node_port, "POST /echo 201"):
        assert row.req_body == row.resp_body == 3 * (10_045 + 3)


def test_python_library(world: World, books: Books, tmp_path: Path) -> None:
    """Python's own server, which speaks HTTP/1.0, and its own client."""
    (tmp_path / "file").write_bytes(b"f" * 100_000)
    port = world.port()
    server = world.server.start(sys.executable, "-m", "http.server", str(port), "-d", str(tmp_path))
    wait_until_listening(world.server, port, server)
    script = (
        "import sys, urllib.request as u, urllib.error\n"
        "for path in ('file', 'file', 'missing', ''):\n"
        "    try: u.urlopen(f'http://{sys.argv[1]}:{sys.argv[2]}/{path}').read()\n"
        "    except urllib.error.HTTPError as e: e.read()\n"
    )
    world.client.run(sys.executable, "-c", script, world.server.ip4, str(port))
    books.expect(port, {"GET /file 200": 2, "GET /missing 404": 1, "GET / 200": 1})
    for row in books.rows(port, "GET /file 200"):
        assert row.resp_body == 200_000
    world.server.end(server)


def test_aiohttp(world: World, books: Books) -> None:
    """An asyncio server and client: kept connections, chunks, a WebSocket."""
    port = world.port()
    server = world.server.start(sys.executable, str(PROGRAMS / "web.py"), str(port))
    wait_until_listening(world.server, port, server)
    script = str(PROGRAMS / "asker.py")
    world.client.run(sys.executable, script, world.server.ip4, str(port))
    books.expect(
        port,
        {
            "GET /plain 200": 200,
            "POST /stream 200": 20,
            "GET /broken 500": 5,
            "GET /socket 101": 1,
        },
    )
    for row in books.rows(port, "POST /stream 200"):
        assert row.req_body == 20 * 50 * 100
        assert row.resp_body == 20 * 100 * 7
    world.server.end(server)
