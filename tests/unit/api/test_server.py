"""The API's server and client, held against the OpenAPI document, without a kernel behind them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
from openapi_spec_validator import validate

from axon.api import openapi, schema
from axon.api.client import Client
from axon.api.endpoints import ENDPOINTS, Endpoint
from axon.api.filters import FlowFilter
from axon.api.server import CONNECTIONS, Server
from axon.errors import ApiError
from axon.settings import Listen
from tests.unit.api.source import FLOW, SNAPSHOT, FakeSource


class Running:
    """A server, its source, and ways to ask it."""

    def __init__(self, source: FakeSource, path: Path) -> None:
        self.source = source
        self.path = path
        self.port = 0
        self.client = Client(path, timeout=5)

    async def ask(self, method: str, path: str, **kw: Any) -> tuple[int, str, bytes]:
        """Ask over the socket; return status, content type and body."""
        connector = aiohttp.UnixConnector(str(self.path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://localhost{path}", **kw) as response,
        ):
            return response.status, response.content_type, await response.read()

    async def tcp(self, path: str, port: int, **headers: str) -> tuple[int, str]:
        """Ask over TCP; return status and body."""
        url = f"http://127.0.0.1:{port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as r:
            return r.status, await r.text()


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """Serve a fake source on a socket."""
    found = Running(FakeSource(), tmp_path / "axon.sock")
    async with Server(found.source) as server:
        await server.serve_socket(found.path)
        yield found


def open_files() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def schema_of(endpoint: Endpoint, status: int) -> dict[str, Any]:
    """Return the JSON schema that the document has for an answer, with its definitions."""
    document = json.loads(openapi.document())
    operation = document["paths"][endpoint.path][endpoint.method.lower()]
    (content,) = operation["responses"][str(status)]["content"].values()
    return {"components": document["components"], **content["schema"]}


def test_the_document_is_valid() -> None:
    """The document is OpenAPI 3.1, and every type says what it is."""
    document = json.loads(openapi.document())
    validate(document)
    for name, shape in document["components"]["schemas"].items():
        assert shape["description"], name


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
async def test_every_answer_is_as_the_document_says(running: Running, endpoint: Endpoint) -> None:
    """Each endpoint answers with the content type and the shape that the document has for it."""
    path = endpoint.path
    stream = running.source.follow(FlowFilter(), rate=1, limit=0) if endpoint.parameters else None
    if stream:
        path = path.replace("{id}", str(stream.id))
    query = "?limit=5&last=2" if endpoint.name == "flows" else ""
    status, content_type, body = await running.ask(endpoint.method, path + query)
    assert status == 200
    assert content_type == endpoint.content
    for line in body.splitlines() if endpoint.name == "flows" else [body]:
        jsonschema.validate(json.loads(line), schema_of(endpoint, 200))


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/api/v1/nothing", 404, "Not Found"),
        ("GET", "/api/v2/snapshot", 404, "Not Found"),
        ("POST", "/api/v1/snapshot", 405, "takes GET"),
        ("GET", "/api/v1/flows/recent?x=1", 400, "is no filter"),
        ("GET", "/api/v1/flows/recent?last=-1", 400, "last must be"),
        ("GET", "/api/v1/flows/recent?last=1e9", 400, "last must be"),
        ("GET", "/api/v1/flows?rate=0", 400, "rate must be"),
        ("GET", "/api/v1/flows?status=abc", 400, "status must be"),
        ("DELETE", "/api/v1/flows/77", 404, "no stream 77"),
        ("DELETE", "/api/v1/flows/" + "9" * 400, 404, "no stream"),
        ("DELETE", "/api/v1/flows/%00", 404, "no stream"),
    ],
)
async def test_a_bad_request_is_told_why(
    running: Running, method: str, path: str, status: int, message: str
) -> None:
    """Every refusal is JSON of the same shape, with a message."""
    got, content_type, body = await running.ask(method, path)
    assert (got, content_type) == (status, "application/json")
    assert message in json.loads(body)["error"]


async def test_a_fault_in_the_agent_is_an_answer(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong inside is logged and answered by 500; the server goes on."""
    running.source.breaks = True
    status, _, body = await running.ask("GET", "/api/v1/snapshot")
    assert status == 500
    assert "log" in json.loads(body)["error"]
    assert "a request failed" in caplog.text
    assert (await running.ask("GET", "/healthz"))[0] == 200


async def test_health_and_readiness_have_their_statuses(running: Running) -> None:
    """503 says that something is wrong, and the body what."""
    running.source.healthy = False
    for path in ("/healthz", "/readyz"):
        status, _, body = await running.ask("GET", path)
        assert status == 503
        assert json.loads(body) == {"ok": False, "problem": "gone"}
    assert (await running.ask("GET", "/api/v1/snapshot"))[0] == 503


async def test_the_socket_is_not_for_everyone(running: Running) -> None:
    """Only owner and group may connect, and the socket goes with the server."""
    mode = running.path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


async def test_what_a_killed_agent_left_is_replaced(tmp_path: Path) -> None:
    """A dead socket of that name is no obstacle, and the new one is removed at the end."""
    path = tmp_path / "axon.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with Server(FakeSource()) as server:
        await server.serve_socket(path)
        client = Client(path)
        assert (await asyncio.to_thread(client.snapshot)).host == "here"
    assert not path.exists()
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_a_place_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """A missing directory, a path too long, a port in use: each says what to set."""
    async with Server(FakeSource()) as server:
        with pytest.raises(ApiError, match="Set run_dir"):
            await server.serve_socket(tmp_path / "no" / "axon.sock")
        with pytest.raises(ApiError, match="Set run_dir"):
            await server.serve_socket(tmp_path / ("x" * 120))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(ApiError, match="Set metrics_listen"):
                await server.serve_metrics(Listen("127.0.0.1", port))


async def test_connections_are_bounded(running: Running) -> None:
    """Of those that are left open the oldest give way, so that nobody is shut out and files are left."""
    before = open_files()
    async with Server(running.source) as server:
        port = await server.serve_metrics(Listen("127.0.0.1", 0))
        idle = []
        for _ in range(20):
            idle += [await asyncio.open_connection("127.0.0.1", port) for _ in range(15)]
        assert (await running.tcp("/healthz", port))[0] == 200
        assert await asyncio.wait_for(idle[0][0].read(), 5) == b""
        kept = open_files() - before - len(idle)
        assert CONNECTIONS / 2 < kept < CONNECTIONS + 10
        idle[-1][1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await idle[-1][0].readline()).startswith(b"HTTP/1.1 200")
        for _, writer in idle:
            writer.close()


async def test_metrics_are_served_in_the_form_asked_for(running: Running) -> None:
    """/metrics negotiates, and stands beside the health checks."""
    async with Server(running.source) as server:
        port = await server.serve_metrics(Listen("127.0.0.1", 0))
        assert await running.tcp("/metrics", port) == (
            200,
            "# TYPE axon_x gauge\n# HELP axon_x X.\naxon_x 1.0\n",
        )
        accept = "application/openmetrics-text; version=1.0.0"
        assert (await running.tcp("/metrics", port, Accept=accept))[1].endswith("# EOF\n")
        assert (await running.tcp("/healthz", port))[0] == 200
        assert (await running.tcp("/api/v1/snapshot", port))[0] == 404


async def test_a_page_cannot_reach_the_api_by_a_name(running: Running) -> None:
    """Over TCP the API is asked for by address: a name in Host may be an attacker's."""
    async with Server(running.source) as server:
        port = await server.serve_tcp(Listen("127.0.0.1", 0))
        for host, status in (
            (f"127.0.0.1:{port}", 200),
            ("localhost", 200),
            ("[::1]:80", 200),
            ("evil.example", 403),
            ("evil.example:80", 403),
            ("127.0.0.1.evil.example", 403),
        ):
            assert (await running.tcp("/api/v1/snapshot", port, Host=host))[0] == status


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
async def test_what_does_something_is_for_the_socket(running: Running, endpoint: Endpoint) -> None:
    """Anybody on the host may ask by TCP, and be told; what the agent does is not for them to say."""
    async with Server(running.source) as server, aiohttp.ClientSession() as session:
        port = await server.serve_tcp(Listen("127.0.0.1", 0))
        url = f"http://127.0.0.1:{port}{endpoint.path.replace('{id}', '7')}?limit=1"
        async with session.request(endpoint.method, url) as response:
            if endpoint.method == "GET":
                assert response.status in {200, 400}
                return
            assert response.status == 403
            body = await response.json()
    jsonschema.validate(body, schema_of(endpoint, 403))
    assert "for the agent's socket" in body["error"]


async def test_the_client_reads_everything(running: Running) -> None:
    """Each method of the client returns the typed answer."""
    client, ask = running.client, asyncio.to_thread
    assert await ask(client.snapshot) == SNAPSHOT
    assert (await ask(client.status)).version == "1"
    assert (await ask(client.config)).settings[0].name == "keep"
    assert await ask(client.health) == schema.Health(ok=True, problem="")
    running.source.healthy = False
    assert not (await ask(client.health)).ok
    wanted = FlowFilter(method=("GET",), path="/a b&c?", negate=frozenset({"path"}))
    assert await ask(client.recent, wanted, last=2) == [FLOW, FLOW]
    assert running.source.wanted == wanted


async def test_a_stream_ends_by_its_limit(running: Running) -> None:
    """The client gets what is held, what comes, and the counts."""

    def follow() -> tuple[list[schema.Flow], schema.Finish | None]:
        with running.client.follow(last=2, limit=7) as flows:
            return list(flows), flows.finish()

    flows, finish = await asyncio.to_thread(follow)
    assert len(flows) == 9
    assert finish == schema.Finish(matched=1000, shown=7)
    assert not running.source.streams


async def test_a_stream_ends_when_the_client_says_so(running: Running) -> None:
    """`finish` ends an endless stream and returns its counts; the agent forgets it."""

    def follow() -> schema.Finish | None:
        with running.client.follow() as flows:
            for count, _ in enumerate(flows, 1):
                if count == 3:
                    break
            return flows.finish()

    assert await asyncio.to_thread(follow) == schema.Finish(matched=1000, shown=3)
    assert not running.source.streams


async def test_a_client_that_goes_away_frees_its_stream(running: Running) -> None:
    """A stream whose reader has hung up is ended within a moment."""

    def leave() -> None:
        with running.client.follow() as flows:
            next(iter(flows))

    await asyncio.to_thread(leave)
    for _ in range(100):
        if not running.source.streams:
            break
        await asyncio.sleep(0.05)
    assert not running.source.streams


async def test_too_many_observers_are_told(running: Running) -> None:
    """One more than can be is refused with the reason."""
    for _ in range(running.source.most):
        running.source.follow(FlowFilter(), rate=1, limit=0)
    with pytest.raises(ApiError, match="refused: two are enough"):
        await asyncio.to_thread(running.client.follow)


def test_no_agent_is_said_clearly(tmp_path: Path) -> None:
    """Without an agent the client says how to start one."""
    for path in (tmp_path / "axon.sock", Path("/etc/passwd/axon.sock")):
        with pytest.raises(ApiError, match=r"No agent is running on .*axon run"):
            Client(path).snapshot()
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    with pytest.raises(ApiError, match="No agent is running"):
        Client(dead).status()


def test_another_server_is_no_agent(tmp_path: Path) -> None:
    """What does not speak HTTP, or hangs, is an error with the socket's name."""
    path = tmp_path / "axon.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(ApiError, match="took too long"):
            Client(path, timeout=0.1).snapshot()
    path.unlink()
