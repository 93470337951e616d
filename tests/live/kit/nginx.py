"""An nginx of the tests' own, with its own count of requests."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.kit.world import Place, World

_CONFIG = """
daemon off;
master_process off;
worker_rlimit_nofile 20000;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    scgi_temp_path {home}/scgi;
    uwsgi_temp_path {home}/uwsgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests {kept};
    keepalive_timeout 3600;
    lingering_timeout 1s;
    client_max_body_size 1g;
    server {{
        listen {port} {options};
        listen [::]:{port} {options};
        root {home}/www;
        location = /small {{ return 200 "seventeen bytes!\\n"; }}
        location = /answer {{ return 200; }}
        location /any/ {{ return 200 "any\\n"; }}
        location = /gone {{ return 410; }}
        location = /moved {{ return 301 /small; }}
        location = /cut {{ return 444; }}
{locations}
    }}
    server {{
        listen {status_port};
        location = /status {{ stub_status; }}
    }}
}}
"""


@dataclass
class Nginx:
    """A running nginx."""

    place: Place
    home: Path
    port: int
    status_port: int
    process: subprocess.Popen[str]
    _asked: int = 0

    @property
    def www(self) -> Path:
        """Directory of the files that are served."""
        return self.home / "www"

    def url(self, path: str, *, six: bool = False) -> str:
        """Return the address of a path."""
        host = f"[{self.place.ip6}]" if six else self.place.ip4
        return f"http://{host}:{self.port}{path}"

    def requests(self) -> int:
        """Return how many requests nginx has counted itself, without those that asked for it."""
        with self.place.socket() as sock:
            sock.connect(("127.0.0.1", self.status_port))
            sock.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        self._asked += 1
        found = re.search(r"requests\n (\d+) (\d+) (\d+)", text)
        if found is None:
            pytest.fail(f"nginx tells no counts: {text!r}")
        return int(found[3]) - self._asked


@contextmanager
def nginx(
    world: World,
    place: Place,
    home: Path,
    *,
    locations: str = "",
    options: str = "",
    kept: int = 1_000_000_000,
) -> Iterator[Nginx]:
    """Run an nginx with some locations more. It closes a connection after `kept` requests."""
    (home / "www").mkdir(parents=True)
    port, status_port = world.port(), world.port()
    config = home / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            home=home,
            port=port,
            status_port=status_port,
            locations=locations,
            options=options,
            kept=kept,
        )
    )
    process = place.start(
        "nginx", "-p", str(home), "-e", str(home / "error.log"), "-c", str(config)
    )
    try:
        wait_until_listening(place, status_port, process)
        yield Nginx(place, home, port, status_port, process)
    finally:
        place.end(process)


def wait_until_listening(place: Place, port: int, process: subprocess.Popen[str]) -> None:
    """Wait until a program accepts connections to a port of its place."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with place.socket() as sock:
            try:
                sock.connect(("127.0.0.1", port))
            except ConnectionRefusedError:
                time.sleep(0.02)
                continue
            return
    process.kill()
    pytest.fail(f"{process.args!r} does not listen on {port}: {process.communicate()[0]}")


def drain(sock: socket.socket) -> int:
    """Receive until the stream ends; return how many bytes came."""
    return sum(len(piece) for piece in iter(lambda: sock.recv(1 << 20), b""))
