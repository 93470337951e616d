"""Series come and go on the running kernel, and not one request is lost or told under other."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from axon.snapshot import Collector, Snapshot
from tests.live.kit.axon import Attach, Axon
from tests.live.kit.world import World

_NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off; keepalive_requests 1000000000; client_body_temp_path {folder};
    proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{ listen {address}:{port}; location / {{ return 200 ok; }} }}
}}
"""

# Asks for paths that nobody has asked for before, over a few connections, as many as a line of its
# input says, over a second if need be; prints how many when they are answered.
_ASKER = """
import socket, sys, time
address, port, first, seconds = sys.argv[1], *map(int, sys.argv[2:5])
letters = "abcdefghij"
sockets = [socket.create_connection((address, port)) for _ in range(4)]
for line in sys.stdin:
    count, began = int(line), time.monotonic()
    for i in range(count):
        name = "".join(letters[int(c)] for c in str(first + i))
        sock = sockets[i % len(sockets)]
        sock.sendall(b"GET /c/%s HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n" % name.encode())
        if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
            sys.exit("no answer")
        time.sleep(max(0.0, began + seconds * i / count - time.monotonic()))
    first += count
    print(count, flush=True)
"""


@contextmanager
def nginx(world: World, folder: Path) -> Iterator[int]:
    """Run nginx in the servers' place; give its port."""
    port = world.port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, address=world.server.ip4, port=port))
    process = world.server.start("nginx", "-c", str(config), "-p", str(folder))
    deadline = time.monotonic() + 20
    while True:
        with world.client.socket() as probe:
            if probe.connect_ex((world.server.ip4, port)) == 0:
                break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    try:
        yield port
    finally:
        world.server.end(process)


class Asker:
    """A client that asks for new paths, from a number on, spread over so many seconds."""

    def __init__(self, world: World, port: int, first: int, *, seconds: int = 1) -> None:
        self._world = world
        self._process = world.client.start(
            "python3", "-c", _ASKER, world.server.ip4, str(port), str(first), str(seconds),
            stdin=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, count: int) -> None:
        """Have it ask for so many."""
        assert self._process.stdin
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()

    def answered(self) -> int:
        """Wait for the answers; return how many there were."""
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        if self._process.stdin:
            self._process.stdin.close()
        self._world.client.end(self._process)


class Counting:
    """A collector on a data plane of its own, and what it says of a port."""

    def __init__(self, axon: Axon, ledger: Path) -> None:
        self.axon = axon
        self._ledger = ledger
        self.collector = self.another()
        self.look = self.collector.tick()
        self.reused = 0
        self.most = 0

    def another(self) -> Collector:
        """Return a collector as a restarted agent makes it."""
        return Collector(self.axon.kernel, ledger=self._ledger, idle_seconds=5)

    def tick(self) -> Snapshot:
        """Wait for a second and look."""
        time.sleep(1)
        self.look = self.collector.tick()
        self.reused = max(self.reused, int(self.look.gens.max(initial=0)))
        self.most = max(self.most, self.look.taken)
        return self.look

    def requests(self) -> list[int]:
        """Return the requests of each role, retired ones included."""
        live = np.bincount(self.look.keys["role"], self.look.count, 2)
        return [int(live[r]) + int(self.look.retired["hist"][r].sum()) for r in (0, 1)]


@pytest.mark.timeout(240)
def test_churn_under_load(world: World, attach_live: Attach, tmp_path: Path) -> None:
    """Thousands of series in two thousand slots, beside steady load, over a restart: all exact.

    New paths come by the look and not by the clock: a machine that is slow at looking is not asked
    for more room than it was given time to make.
    """
    axon = attach_live(max_series=2000, max_routes=100_000)
    counting = Counting(axon, tmp_path / "retired.json")
    asked = 0
    with nginx(world, tmp_path) as port:
        url = f"http://{world.server.ip4}:{port}/hot"
        # Fill six tenths of the slots at once, so that room has to be made before any is idle for long.
        burst = Asker(world, port, 1_000_000, seconds=0)
        burst.ask(600)
        asked += burst.answered()
        burst.close()
        steady = world.client.start("ab", "-q", "-k", "-c", "4", "-n", "60000", url)
        for part in range(2):
            asker = Asker(world, port, 2_000_000 + part * 100_000)
            for _ in range(20):
                # Two series each. A slot is free again at the third look after its series fell
                # silent, and a new collector begins to wait anew.
                asker.ask(40)
                counting.tick()
                asked += asker.answered()
            asker.close()
            counting.collector = counting.another()
        output, _ = steady.communicate(timeout=120)
        assert "Failed requests:        0" in output
        asked += 60_000
        world.client.end(steady)
    for _ in range(12):
        counting.tick()
    stats = axon.stats()
    lost = {name: n for name, n in stats.items() if name.startswith("LOST_") and n}
    assert lost == {}
    assert counting.requests() == [asked, asked]
    assert (stats["INFO_OTHER_SERIES"], stats["INFO_OTHER_ROUTE"]) == (0, 0)
    assert counting.most <= 2000
    assert counting.reused >= 2
    assert len(counting.look) == 2
    assert counting.look.taken == 2


def test_idle_series_leave_and_come_back(world: World, attach_live: Attach, tmp_path: Path) -> None:
    """A keep-alive connection that wakes after its series was retired counts in a new one."""
    axon = attach_live(max_series=64)
    counting = Counting(axon, tmp_path / "retired.json")
    with nginx(world, tmp_path) as port, world.client.socket() as sock:
        sock.connect((world.server.ip4, port))
        for round_ in range(1, 3):
            sock.sendall(b"GET /again HTTP/1.1\r\nHost: h\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
            counting.tick()
            assert counting.look.keys["port"].tolist().count(port) == 2
            while counting.look.taken > 2:
                counting.tick()
                assert counting.requests() == [round_, round_]
    assert not axon.kernel.slots(64)["created"][2:].any()


def test_requests_are_in_the_window_once(world: World, attach_live: Attach, tmp_path: Path) -> None:
    """Rates and quantiles are of what the load generator did in the window, to the request."""
    axon = attach_live(max_series=64)
    counting = Counting(axon, tmp_path / "retired.json")
    with nginx(world, tmp_path) as port:
        output = world.client.run(
            "ab", "-q", "-k", "-c", "2", "-n", "5000", f"http://{world.server.ip4}:{port}/w"
        )
        assert "Failed requests:        0" in output
        look = counting.tick()
        groups = look.keys["role"].astype(np.intp)
        stats = look.window.stats(look.slots, groups, 2, look.keys["status"] >= 500)
        assert stats.count.tolist() == [5000, 5000]
        assert stats.errors.tolist() == [0, 0]
        assert (stats.p50 > 0).all()
        assert (stats.p50 <= stats.p95).all()
        assert (stats.p95 <= stats.p99).all()
        for _ in range(11):
            look = counting.tick()
        assert look.window.counts(look.slots).sum() == 0


def test_a_look_costs_little(world: World, attach_live: Attach, tmp_path: Path) -> None:
    """Few cells stay mapped, and a look at ten thousand silent slots is milliseconds of work."""
    axon = attach_live(max_series=10_000, max_memory=128 << 20)
    kernel = axon.kernel
    collector = Collector(kernel, ledger=tmp_path / "retired.json")
    slots = kernel.slots(kernel.max_series)
    slots["created"][2:] = 1
    slots["key"]["cgroup"][2:] = np.arange(2, kernel.max_series)
    collector.tick()
    look = collector.tick()
    resident = _resident()
    began = time.process_time()
    for _ in range(5):
        look = collector.tick()
    took = (time.process_time() - began) / 5
    slots["created"][2:] = 0
    assert len(look) == 10_000
    assert took < 0.05
    assert _resident() < resident + (4 << 20)


def _resident() -> int:
    command = ["ps", "-o", "rss=", "-p", str(Path("/proc/self").resolve().name)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout) * 1024
