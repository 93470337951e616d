"""The load generator of the measurements counts what a server has answered, and how long that took."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import load, world
from bench.cable import LOOPBACK
from bench.load import Asker, Way

_ANSWER = b"HTTP/1.1 %s\r\nContent-Length: 2\r\nConnection: %s\r\n\r\nok"


class Server:
    """Answers 200, or 403 below /denied, after `wait` seconds; closes if it is asked to."""

    def __init__(self, wait: float) -> None:
        self.paths: list[str] = []
        self.connections = 0
        self._wait = wait

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.paths.append(head.split()[1].decode())
                await asyncio.sleep(self._wait)
                last = b"Connection: close" in head
                status = b"403 Forbidden" if b"/denied" in head else b"200 OK"
                writer.write(_ANSWER % (status, b"close" if last else b"keep-alive"))
                if last:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@contextmanager
def serving(*, wait: float = 0) -> Iterator[tuple[Server, int]]:
    """Serve in a thread; yields the server and its port."""
    server, ready = Server(wait), threading.Event()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = []

    async def serve() -> None:
        end = asyncio.Event()
        listener = await asyncio.start_server(server, "127.0.0.1", 0)
        running.append((asyncio.get_running_loop(), end, listener.sockets[0].getsockname()[1]))
        ready.set()
        await end.wait()
        listener.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    loop, end, port = running[0]
    try:
        yield server, port
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()


@pytest.fixture
def asker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asker:
    """Return the program; it stays in this process's cgroup, on its CPUs."""
    (tmp_path / "cgroup.procs").touch()
    cpus = sorted(os.sched_getaffinity(0))
    for module in (load, world):
        monkeypatch.setattr(module, "CLIENT_CPU", cpus[-1])
        monkeypatch.setattr(module, "SERVER_CPU", cpus[0])
    return Asker(tmp_path, tmp_path)


@pytest.mark.parametrize("close", [False, True])
def test_every_answer_is_counted(asker: Asker, *, close: bool) -> None:
    """Saturated, the answers that it counts are those that were given, on few connections or one each."""
    with serving() as (one, port), serving() as (other, second):
        urls = {"one": f":{port}/a", "other": f":{second}/denied"}
        found = asker(LOOPBACK, urls, Way(4, close=close, turn_ms=20, warm_ms=0), seconds=0.3)
    assert (found["one"].ok, found["one"].denied) == (len(one.paths), 0)
    assert (found["other"].ok, found["other"].denied) == (0, len(other.paths))
    assert found["one"].ok > 10
    assert one.connections == (found["one"].ok if close else 4)


def test_latency_counts_from_when_a_request_was_due(asker: Asker) -> None:
    """At a rate above what a server can do, waiting for a free connection is in the latency."""
    with serving(wait=0.02) as (_, port):
        way = Way(1, rate=200, turn_ms=300, warm_ms=0)
        late = asker(LOOPBACK, {"": f":{port}/"}, way, seconds=0.3)[""]
        way = Way(1, turn_ms=300, warm_ms=0)
        saturated = asker(LOOPBACK, {"": f":{port}/"}, way, seconds=0.3)[""]
    assert 20_000 <= saturated.p99_us < 60_000
    assert late.p99_us > 120_000


def test_a_number_differs_in_each_request(asker: Asker) -> None:
    """What is marked in a path is another number each time, so no two heads are the same."""
    with serving() as (server, port):
        asker(LOOPBACK, {"": f":{port}/?n=########"}, Way(2, turn_ms=50), seconds=0.05)
    assert len(set(server.paths)) == len(server.paths) > 5
