"""The agent as a process: what it answers, what it survives, what it costs."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from typing import Any

import jsonschema
import pytest

from axon.api import openapi, schema
from axon.api.client import Client
from axon.api.endpoints import ENDPOINTS, Endpoint
from axon.api.filters import FlowFilter, parse
from axon.errors import ApiError
from axon.kernel import bpf
from tests.live.agent.conftest import Running, Server
from tests.live.kit.waiting import until
from tests.live.kit.world import Place, World, need
from tests.privileges import NOBODY

_FILTERED = """
import ctypes, os, sys
code = bytes.fromhex(sys.argv[1])
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0) == 0  # PR_SET_SECCOMP
os.execvp(sys.argv[2], sys.argv[2:])
"""


def shape_of(endpoint: Endpoint) -> dict[str, Any]:
    """Return the JSON schema of an endpoint's good answer."""
    document = json.loads(openapi.document())
    operation = document["paths"][endpoint.path][endpoint.method.lower()]
    (content,) = operation["responses"]["200"]["content"].values()
    return {"components": document["components"], **content["schema"]}


def curl(agent: Running, *arguments: str) -> bytes:
    """Ask the agent's socket by somebody else's client."""
    command = [need("curl"), "-sS", "--unix-socket", str(agent.run_dir / "axon.sock"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def fetch(place: Place, *urls: str) -> Counter[str]:
    """Have curl fetch URLs, with its ranges; return how many answers it had from each address."""
    targets = [word for url in urls for word in ("-o", "/dev/null", url)]
    answered = "%{remote_ip} %{http_code}\n"
    output = place.run("curl", "-sS", "--max-time", "20", "-w", answered, *targets)
    counts: Counter[str] = Counter()
    for address, status in map(str.split, output.splitlines()):
        assert status == "200", output
        ip = ipaddress.ip_address(address)
        counts[str((ip.version == 6 and ip.ipv4_mapped) or ip)] += 1
    return counts


def asked(agent: Running, port: int) -> dict[str | None, float]:
    """Return what clients have asked of a port, by the label of the address; servers have none."""
    agent.tick()
    family = "http_{}_request_duration_seconds_count"
    served = agent.samples(family.format("server"), server_port=str(port))
    found = agent.samples(family.format("client"), server_port=str(port))
    assert not any("server_address" in labels for labels, _ in served)
    assert sum(value for _, value in served) == sum(value for _, value in found)
    return {labels.get("server_address"): value for labels, value in found}


def hooked(world: World) -> int:
    """Return how many programs are attached to the tests' cgroup."""
    folder = os.open(world.cgroup, os.O_RDONLY)
    try:
        return sum(bpf.attached_count(folder, kind) for kind in range(35))
    finally:
        os.close(folder)


def test_every_answer_is_as_the_document_says(resident: Running, server: Server) -> None:
    """With real requests behind it each endpoint answers in the documented shape."""
    for path in ("/", "/slow", "/status/500", "/abort"):
        server.request(path)
    resident.tick()
    with resident.client.follow() as stream:
        for endpoint in ENDPOINTS:
            path = endpoint.path
            if endpoint.name == "flows":
                path += "?last=8&limit=1&error=true"
                threading.Timer(1, server.request, ["/status/500"]).start()
            elif endpoint.name == "finish":
                path = path.replace("{id}", str(stream.id))
            body = curl(resident, "-X", endpoint.method, f"http://localhost{path}")
            lines = body.splitlines() if endpoint.name == "flows" else [body]
            for line in lines:
                jsonschema.validate(json.loads(line), shape_of(endpoint))
            if endpoint.name == "flows":
                kinds = [json.loads(line)["type"] for line in lines]
                assert kinds[0] == "begin"
                assert kinds[-1] == "end"
                assert len(kinds) >= 5


def test_the_snapshot_counts_what_was_requested(resident: Running, server: Server) -> None:
    """Endpoints have their counts, statuses and times, and the totals are their sums."""
    for path, times in (("/", 20), ("/slow", 10), ("/status/503", 5), ("/abort", 2)):
        for _ in range(times):
            server.request(path)
    resident.tick()
    snapshot = resident.client.snapshot()
    mine = {e.route: e for e in snapshot.endpoints if (e.role, e.port) == ("server", server.port)}
    assert {route: e.total for route, e in mine.items()} == {
        "/": 20,
        "/slow": 10,
        "/status/{id}": 5,
        "/abort": 2,
    }
    assert mine["/status/{id}"].statuses == {"503": 5}
    assert mine["/abort"].statuses == {"no_response": 2}
    assert mine["/abort"].error_rate == mine["/abort"].rate > 0
    assert mine["/slow"].p50 == pytest.approx(0.155, rel=0.1)
    assert snapshot.server.total == snapshot.client.total >= 37
    every = [e for e in snapshot.endpoints if e.role == "server"]
    assert sum(e.total for e in every) == snapshot.server.total
    assert sum(e.count for e in every) == snapshot.server.count
    assert sum(e.error_rate for e in every) == pytest.approx(snapshot.server.error_rate)
    assert snapshot.lost == {}
    assert resident.client.status().attached


def test_two_servers_at_one_port_are_told_apart(resident: Running, world: World) -> None:
    """One client asks two servers that have one port at two addresses of loopback."""
    first, second = "127.0.0.1", "127.0.0.2"
    with closing(Server(world, first)) as one, closing(Server(world, second, one.port)):
        urls = f"http://{first}:{one.port}/?[1-7]", f"http://{second}:{one.port}/?[1-4]"
        counted = fetch(world.server, *urls)
        assert counted == {first: 7, second: 4}
        assert asked(resident, one.port) == counted


def test_an_address_is_the_one_that_the_client_asked(resident: Running, world: World) -> None:
    """From another network namespace, by either version of IP, or IPv4 on a socket of IPv6."""
    ip4, ip6 = world.server.ip4, world.server.ip6
    with closing(Server(world, "::")) as server:
        hosts = {ip4: 2, f"[::ffff:{ip4}]": 3, f"[{ip6}]": 4}
        urls = [f"http://{host}:{server.port}/?[1-{n}]" for host, n in hosts.items()]
        counted = fetch(world.client, *urls)
        assert counted == {ip4: 5, ip6: 4}
        assert asked(resident, server.port) == counted


def test_only_so_many_addresses_are_told_apart(agent: Running, world: World) -> None:
    """Of more than max_peers the rest is one series without the label, and no request is missed."""
    agent.start(AXON_MAX_PEERS="3")
    with closing(Server(world, "::")) as server:
        counted = fetch(world.server, f"http://127.0.1.[1-9]:{server.port}/?[1-2]")
        assert counted == {f"127.0.1.{i}": 2 for i in range(1, 10)}
        found = asked(agent, server.port)
        assert found.pop(None) == 12
        assert len(found) == 3
        assert found.items() <= counted.items()


def test_flows_are_shown_as_they_happen(agent: Running, server: Server) -> None:
    """A stream has what its filter takes, soon, and its last line counts what matched."""
    agent.start(AXON_FLOW_RATE="0", AXON_ERROR_RATE="0")
    found: list[tuple[float, schema.Flow]] = []
    ends: list[schema.Finish | None] = []
    wanted = parse([("path", "/status/"), ("role", "server")])

    def follow() -> None:
        with agent.client.follow(wanted, limit=3) as flows:
            found.extend((time.time(), flow) for flow in flows)
            ends.append(flows.finish())

    reader = threading.Thread(target=follow)
    reader.start()
    time.sleep(0.5)
    for path in ("/", "/status/404?secret=1", "/status/500", "/", "/status/200"):
        server.request(path)
        time.sleep(0.2)
    reader.join(20)
    flows = [flow for _, flow in found]
    assert [(flow.path, flow.status) for flow in flows] == [
        ("/status/404", 404),
        ("/status/500", 500),
        ("/status/200", 200),
    ]
    assert all(seen - flow.time < 1 for seen, flow in found)
    assert flows[0].destination == schema.End(address=server.address, port=server.port)
    assert flows[0].host == f"{server.address}:{server.port}"
    assert "error" in flows[1].reasons
    assert ends == [schema.Finish(matched=3, shown=3)]


def test_an_observers_rate_is_bounded_in_the_kernel(resident: Running, server: Server) -> None:
    """More requests than the rate allows are counted as matched and not shown."""
    with resident.client.follow(
        FlowFilter(role="server", server_port=server.port), rate=5
    ) as flows:
        connection = server.connect()
        for _ in range(200):
            connection.request("GET", "/")
            connection.getresponse().read()
        connection.close()
        shown = [next(iter(flows)) for _ in range(3)]
        finish = flows.finish()
    assert len(shown) == 3
    assert finish is not None
    assert finish.matched == 200
    assert 3 <= finish.shown < 60


def test_only_so_many_observers(resident: Running) -> None:
    """The ninth is refused with the reason, and a place is free again when one leaves."""
    time.sleep(1.5)  # until streams of other tests, whose readers have left, are forgotten
    with ExitStack() as streams:
        opened = [streams.enter_context(resident.client.follow()) for _ in range(8)]
        with pytest.raises(ApiError, match="8 observers"):
            resident.client.follow()
        assert opened[3].finish() == schema.Finish(matched=0, shown=0)
        with resident.client.follow():
            pass


def test_recent_flows_are_filtered(resident: Running, server: Server) -> None:
    """What is held in memory can be searched, by service too."""
    for path in ("/", "/status/404", "/status/500"):
        server.request(path)
    resident.tick()
    flows = resident.client.recent(
        FlowFilter(status="4xx", role="server", port=server.port), last=10
    )
    assert [flow.path for flow in flows] == ["/status/404"]
    service = flows[0].service
    by_service = resident.client.recent(
        FlowFilter(service=service, role="server", port=server.port), last=2
    )
    assert [flow.path for flow in by_service] == ["/status/404", "/status/500"]
    assert resident.client.recent(FlowFilter(service="nobody"), last=10) == []


def test_strangers_are_kept_out(resident: Running) -> None:
    """An unprivileged neighbour cannot use the API, and is told what to do."""
    path = resident.run_dir / "axon.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    for directory in [resident.run_dir, *resident.run_dir.parents][:-1]:
        directory.chmod(directory.stat().st_mode | 0o111)
    plain = ["curl", "-sS", "--unix-socket", str(path), "http://localhost/healthz"]
    command = [sys.executable, "-m", "axon", "status"]
    curled, asked = (
        subprocess.run(
            [*NOBODY, *one],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=resident.environment,
        )
        for one in (plain, command)
    )
    assert curled.returncode != 0
    assert asked.returncode != 0
    assert "try again with sudo" in asked.stderr
    assert "Traceback" not in asked.stderr


def test_the_end_is_graceful(agent: Running, server: Server) -> None:
    """SIGTERM ends streams with their last line, detaches, removes the socket, and is no failure."""
    agent.start()
    with agent.client.follow(FlowFilter(role="server")) as flows:
        server.request("/")
        assert next(iter(flows)).path == "/"
        threading.Timer(0.3, agent.terminate).start()
        assert list(flows) == []
        assert flows.finish() == schema.Finish(matched=1, shown=1)
    until(agent.ended, "the agent has ended")
    assert agent.process is not None
    assert agent.process.returncode == 0
    assert not agent.pins.exists() or not list(agent.pins.iterdir())
    assert not (agent.run_dir / "axon.sock").exists()
    with pytest.raises(ApiError, match="No agent is running"):
        agent.client.snapshot()


def test_nothing_is_missed_when_the_agent_is_killed(agent: Running, server: Server) -> None:
    """Under load the agent is killed and started again: every request is counted, none twice."""
    agent.start(AXON_KEEP="true")
    sent, stop = [0], threading.Event()

    def load() -> None:
        connection = server.connect()
        while not stop.is_set():
            connection.request("GET", "/")
            connection.getresponse().read()
            sent[0] += 1
        connection.close()

    thread = threading.Thread(target=load)
    thread.start()
    for _ in range(2):
        time.sleep(1)
        agent.kill()
        time.sleep(0.5)
        agent.start(AXON_KEEP="true")
    time.sleep(1)
    stop.set()
    thread.join()
    agent.tick()
    assert sent[0] > 500
    assert agent.client.snapshot().server.total == sent[0]
    assert agent.total("http_server_request_duration_seconds_count") == sent[0]
    assert agent.total("axon_requests_total", role="client") == sent[0]


def test_a_second_agent_is_refused(resident: Running, server: Server) -> None:
    """Two agents on one directory: the second says who has it, and the first goes on."""
    second = subprocess.run(
        [*resident.command, "--metrics-listen", "off"],
        capture_output=True,
        text=True,
        env=resident.environment,
        timeout=60,
        check=False,
    )
    assert second.returncode != 0
    assert f"process {resident.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    server.request("/still/here")
    resident.tick()
    assert resident.client.recent(FlowFilter(path="/still/here", port=server.port))


def test_a_taken_port_is_said_and_nothing_stays_attached(agent: Running, world: World) -> None:
    """When /metrics cannot be served the agent ends with the remedy, detached."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", agent.port))
        taken.listen()
        result = subprocess.run(
            agent.command,
            capture_output=True,
            text=True,
            env=agent.environment,
            timeout=60,
            check=False,
        )
    assert result.returncode != 0
    assert "Set metrics_listen to a free address" in result.stderr
    assert "Traceback" not in result.stderr
    assert not agent.pins.exists() or not list(agent.pins.iterdir())


def test_no_room_for_pins_is_said_and_nothing_stays_attached(
    agent: Running, server: Server, world: World
) -> None:
    """Where nothing more can be pinned the first agent ends with the reason, detached; with room it starts."""
    # bpf(2) with BPF_OBJ_PIN, its first argument, fails as on a full file system
    number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
    code = struct.pack(
        "HBBI" * 6,
        *(0x20, 0, 0, 0),  # load the call's number
        *(0x15, 0, 3, number),
        *(0x20, 0, 0, 16),  # load its first argument
        *(0x15, 0, 1, 6),
        *(0x06, 0, 0, 0x0005_0000 | errno.ENOSPC),
        *(0x06, 0, 0, 0x7FFF_0000),
    )
    full = (sys.executable, "-c", _FILTERED, code.hex())
    before = hooked(world)
    result = subprocess.run(
        [*full, *agent.command],
        capture_output=True,
        text=True,
        env=agent.environment,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"in {agent.pins}" in line
    assert line.endswith(
        "No space left on device. The file system is full: free some space and try again."
    )
    assert not agent.pins.exists()
    assert hooked(world) == before
    agent.start()
    assert hooked(world) == before + 8
    assert server.request("/") == 200
    agent.tick()
    assert agent.client.snapshot().server.total == 1


def test_health_is_honest(agent: Running, world: World) -> None:
    """When the programs lose their hook the agent says so, and /healthz is 503."""
    cgroup = world.cgroup / "doomed"
    cgroup.mkdir()
    agent.start(AXON_CGROUP=str(cgroup))
    assert agent.client.health() == schema.Health(ok=True, problem="")
    cgroup.rmdir()
    until(lambda: not agent.client.health().ok, "the loss is noticed")
    assert "not attached any more" in agent.client.health().problem
    answer = curl(agent, "-o", "/dev/null", "-w", "%{http_code}", "http://localhost/healthz")
    assert answer == b"503"
    assert agent.total("axon_healthy") == 0


def test_what_an_agent_costs(agent: Running, server: Server) -> None:
    """At rest and after some work it is at most 60 MB large and takes next to no CPU."""
    agent.start()
    for i in range(300):
        server.request(f"/bytes/{i}")
    for _ in range(3):
        agent.scrape()
        agent.client.snapshot()
        agent.client.recent(last=1000)
    before = agent.client.status()
    time.sleep(5)
    after = agent.client.status()
    assert after.resident_bytes <= 60e6
    assert (after.cpu_seconds - before.cpu_seconds) / 5 < 0.02


def test_a_client_of_an_old_agent_is_told(resident: Running) -> None:
    """An answer in another form is said to be of another version."""
    client = Client(resident.run_dir / "axon.sock")
    with pytest.raises(ApiError, match="different versions"):
        client._get("/config", schema.Status)
