"""Servers, clients and cgroups of a measurement. Each ends what it started."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin
from urllib.request import urlopen

from axon.kernel import Kernel, attach, detach_all, system
from axon.settings import load

SERVER_CPU = 0
CLIENT_CPU = 1
_TURN = 0.05  # seconds

_NGINX = """
daemon off; {processes}; pid {home}/pid; error_log {home}/error.log;
worker_rlimit_nofile 1000000;
events {{ worker_connections {most}; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; sendfile on; tcp_nopush on;
  client_body_temp_path {home}/t; proxy_temp_path {home}/t; fastcgi_temp_path {home}/t; uwsgi_temp_path {home}/t;
  scgi_temp_path {home}/t;
  server {{
    listen {port} backlog=65535 reuseport;
    location / {{ return 200 "hello from nginx\\n"; }}
    location /static/ {{ root {home}; }}
    location /count {{ stub_status; }}
    location /denied {{ return 403; }}
  }}
}}
"""


class BenchError(Exception):
    """A measurement cannot be made here; the text says what is missing."""


class Load(NamedTuple):
    """What a load generator says of its run."""

    rate: float  # requests a second
    p99_us: float


def require(*programs: str) -> None:
    """Raise BenchError naming the programs that are not installed."""
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        raise BenchError(
            f"not installed: {', '.join(missing)}; `scripts/setup bench` or apt-get install them"
        )


@contextmanager
def cgroup(name: str) -> Iterator[Path]:
    """Make a cgroup of our own below the v2 root; it is removed when its processes have gone."""
    path = system.cgroup_to_attach(None) / f"axon-bench-{os.getpid()}-{name}"
    path.mkdir()
    try:
        yield path
    finally:
        for _ in range(50):
            try:
                path.rmdir()
                break
            except OSError:
                time.sleep(0.1)


def start(
    command: Sequence[str], *, cpu: int | None, group: Path, **more: object
) -> subprocess.Popen[str]:
    """Start a command in a cgroup, pinned to a CPU."""

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    return subprocess.Popen(command, preexec_fn=enter, text=True, **more)  # type: ignore[call-overload,no-any-return]


def listens(server: subprocess.Popen[str], port: int) -> bool:
    """Wait until a server listens on a port; return False if it ends instead."""
    for _ in range(500):
        if server.poll() is not None:
            return False
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.02)
    raise BenchError(f"{server.args!r} does not listen on port {port}")


@contextmanager
def nginx(group: Path, port: int, *, workers: int = 0) -> Iterator[Path]:
    """Serve on a port, on the server's CPU; yields its folder, /static/ is below it.

    One process serves, or so many `workers` of one: for more connections than a process may open files.
    """
    with tempfile.TemporaryDirectory(prefix="axon-bench-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "static").mkdir()
        (home / "static" / "8k").write_bytes(os.urandom(8192))
        processes = f"worker_processes {workers}" if workers else "master_process off"
        most = 19_000 if workers else 250_000
        conf = _NGINX.format(home=home, port=port, processes=processes, most=most)
        (home / "nginx.conf").write_text(conf, encoding="utf-8")
        server = start(
            ["nginx", "-c", str(home / "nginx.conf"), "-g", "user root;"],
            cpu=SERVER_CPU,
            group=group,
        )
        try:
            if not listens(server, port):
                raise BenchError(
                    f"nginx ended at once: {(home / 'error.log').read_text(encoding='utf-8')}"
                )
            yield home
        finally:
            server.terminate()
            server.wait()


def wrk(url: str, *, seconds: int, connections: int, group: Path, close: bool = False) -> Load:
    """Saturate a server from the client's CPU."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    if close:
        command[1:1] = ["-H", "Connection: close"]
    client = start(command, cpu=CLIENT_CPU, group=group, stdout=subprocess.PIPE)
    out, _ = client.communicate()
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    if rate is None or p99 is None:
        raise BenchError(f"wrk said nothing of use: {out[-500:]}")
    return Load(float(rate[1]), float(p99[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[p99[2]])


def served(url: str) -> int:
    """Return how many requests nginx says that it has read."""
    with urlopen(urljoin(url, "/count"), timeout=10) as answer:  # noqa: S310
        return requests_of(answer.read().decode())


def requests_of(status: str) -> int:
    """Return how many requests nginx has read, by the text of its /count."""
    return int(status.split()[9])


def let(stopped: subprocess.Popen[str], seconds: float) -> float:
    """Let a stopped process run for a while; return the seconds that it has had. It ends stopped."""
    began = time.monotonic()
    stopped.send_signal(signal.SIGCONT)
    time.sleep(seconds)
    stopped.send_signal(signal.SIGSTOP)
    return time.monotonic() - began


def take_turns(stopped: Mapping[str, subprocess.Popen[str]], *, seconds: float) -> dict[str, float]:
    """Let stopped processes run for a while each, in turn; return the seconds that each has had. They end stopped."""
    active, order, end = dict.fromkeys(stopped, 0.0), list(stopped), time.monotonic() + seconds
    while time.monotonic() < end:
        order.append(order.pop(0))
        for name in order:
            active[name] += let(stopped[name], _TURN)
    return active


def turns(
    urls: Mapping[str, tuple[str, Path]], *, seconds: float, connections: int, close: bool = False
) -> dict[str, float]:
    """Saturate several servers from the client's CPU, a twentieth of a second each in turn.

    `urls` are the servers' by name, each with the cgroup of its client. What the machine does beside us lasts longer
    than a turn, and so meets all alike. Returns the requests a second of each, within its turns.
    """
    clients: dict[str, subprocess.Popen[str]] = {}
    try:
        for name, (url, group) in urls.items():
            command = ["wrk", "-t1", f"-c{connections}", "-d3600s", url]
            if close:
                command[1:1] = ["-H", "Connection: close"]
            clients[name] = start(command, cpu=CLIENT_CPU, group=group, stdout=subprocess.DEVNULL)
            time.sleep(4 * _TURN)
            clients[name].send_signal(signal.SIGSTOP)
        before = {name: served(url) for name, (url, _) in urls.items()}
        active = take_turns(clients, seconds=seconds)
        return {
            name: (served(url) - 1 - before[name]) / active[name] for name, (url, _) in urls.items()
        }
    finally:
        for client in clients.values():
            client.kill()
            client.wait()


def pins() -> Path:
    """Return where the programs of this process are pinned."""
    return Path(f"/sys/fs/bpf/axon-bench-{os.getpid()}")


@contextmanager
def axon(group: Path, **settings: object) -> Iterator[Kernel]:
    """Attach Axon's programs to a cgroup, with pins of its own. An agent may take them over meanwhile."""
    with tempfile.TemporaryDirectory(prefix="axon-bench-") as run_dir:
        flags: dict[str, object] = {
            "pin_dir": str(pins()),
            "run_dir": run_dir,
            "cgroup": str(group),
        }
        wanted = load(environ={}, flags=flags | settings)
        kernel = attach(wanted)
        try:
            yield kernel
        finally:
            kernel.close(detach=False)
            detach_all(wanted.pin_dir)
