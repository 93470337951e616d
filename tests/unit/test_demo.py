"""The sample shop behind `make demo`: it serves, it fails a little, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from demo.ports import PREFERRED, free_ports
from demo.shop import open_shop

ROOT = Path(__file__).resolve().parents[2]
HOLDER = "import time\nfrom demo.shop import open_shop\nwith open_shop() as url:\n    print(url, flush=True)\n    time.sleep(60)"


def _listens(url: str) -> bool:
    where = urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((where.hostname, where.port), 1):
        return True
    return False


def _answer(url: str, method: str, path: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, body=b"x" if method != "GET" else None)
        return connection.getresponse().status
    finally:
        connection.close()


@contextlib.contextmanager
def _holder() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that holds a shop open, and the shop's URL."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_shop_serves_and_closes() -> None:
    """Every page answers as it should while the shop is open, and nothing listens afterwards."""
    with open_shop() as url:
        assert _answer(url, "GET", "/") == 200
        assert _answer(url, "GET", "/products/7") == 200
        assert _answer(url, "GET", "/products/9999") == 404
        assert _answer(url, "GET", "/search?q=x") == 200
        assert _answer(url, "PUT", "/users/12/cart") == 204
        assert _answer(url, "GET", "/orders/1b4e28ba-2fa1-11d2-883f-0016d3cca427") == 200
        assert _answer(url, "POST", "/checkout") in {201, 502}
    assert not _listens(url)


def test_some_payments_fail() -> None:
    """Of the charges, the visitors' included, every fifteenth fails: that is to be seen."""
    found: set[int] = set()
    deadline = time.monotonic() + 20
    with open_shop() as url:
        while found != {201, 502} and time.monotonic() < deadline:
            found.add(_answer(url, "POST", "/checkout"))
    assert found == {201, 502}


def test_shop_takes_other_ports_where_its_own_are_taken() -> None:
    """A port that somebody else listens on is left to them."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # then it is taken already
            taken.bind(("127.0.0.1", PREFERRED.orders))
            taken.listen()
        assert free_ports().orders != PREFERRED.orders


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_shop_ends_with_its_parent(how: signal.Signals) -> None:
    """However the process that opened the shop ends, the shop ends too."""
    with _holder() as (process, url):
        assert _listens(url)
        os.kill(process.pid, how)
        deadline = time.monotonic() + 10
        while _listens(url) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _listens(url)
