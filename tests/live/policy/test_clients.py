"""What real clients send passes, whatever they send beside the request; what is denied they read as a 403."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from tests.live.kit.gate import WAITS, Guarded
from tests.live.kit.nginx import wait_until_listening
from tests.live.kit.world import World

HERE = Path(__file__).with_name("clients")
PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'
DENIED = [403, "Denied by network policy.\n"]
PLAIN = [200, "GET 6 0"]
FORM = [200, "POST 9 7"]
LONG = [200, "GET 4009 0"]
LETTERS = [200, "GET 27 0"]
CHUNKED = [200, "POST 11 300000"]


def where(program: str, package: str) -> pytest.MarkDecorator:
    """Mark what is tested where the machine has a program."""
    missing = shutil.which(program) is None
    return pytest.mark.skipif(missing, reason=f"there is no {program} here: apt install {package}")


@pytest.fixture
def base(gate: Guarded, world: World) -> Iterator[str]:
    """Give the URL of a server of which /pub/* may be asked; every denial has to be by a rule."""
    port = world.port()
    server = world.server.start(sys.executable, str(HERE / "server.py"), str(port))
    wait_until_listening(world.server, port, server)
    gate.allow(port, PUBLIC)
    before, sent_again = gate.denials(), world.client.tcp_counter("RetransSegs")
    yield f"http://{world.server.ip4}:{port}"
    world.server.end(server)
    waited = sum(gate.denials().get(reason, 0) - before.get(reason, 0) for reason in WAITS)
    assert waited <= world.client.tcp_counter("RetransSegs") - sent_again


def denied(gate: Guarded, before: dict[str, int]) -> dict[str, int]:
    """Return how much more was denied, by reason, but for what waited."""
    now = gate.denials()
    return {
        reason: now[reason] - before.get(reason, 0)
        for reason in now
        if now[reason] != before.get(reason, 0) and reason not in WAITS
    }


@where("chromium", "chromium")
def test_browser(gate: Guarded, world: World, base: str, tmp_path: Path) -> None:
    """A browser's requests pass, with 9 KB of cookies, a form and an upload."""
    before = gate.denials()
    page = world.client.run(
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--no-first-run", "--disable-background-networking", f"--user-data-dir={tmp_path}"),
        *("--timeout=20000", "--virtual-time-budget=20000", "--dump-dom", f"{base}/pub/page"),
    )
    found = re.search(r"<body>(\{.*?\})</body>", page, re.DOTALL)
    assert found, page
    seen = json.loads(unescape(found[1]))
    upload = seen.pop("upload")
    assert upload[0] == 200
    assert int(upload[1].split()[2]) > 300_000
    assert seen == {
        "plain": PLAIN,
        "long query": LONG,
        "other letters": LETTERS,
        "range": PLAIN,
        "form": FORM,
        "denied": DENIED,
        "after it": PLAIN,
    }
    # it asks for /favicon.ico as well
    assert denied(gate, before).keys() == {"RULE"}


@where("go", "golang-go")
def test_go(gate: Guarded, world: World, base: str, tmp_path: Path) -> None:
    """Go's net/http passes, with a body of unknown length and one that waits for 100 Continue."""
    before = gate.denials()
    cache = (
        f"GOCACHE={tmp_path}/cache",
        f"GOPATH={tmp_path}/path",
        "GOFLAGS=-mod=mod",
        "CGO_ENABLED=0",
    )
    program = str(tmp_path / "client")
    world.client.run("env", *cache, "go", "build", "-o", program, str(HERE / "client.go"))
    seen = json.loads(world.client.run(program, base))
    assert seen == {
        "page": [200, ""],
        "plain": PLAIN,
        "long query": LONG,
        "other letters": LETTERS,
        "form": FORM,
        "chunked": CHUNKED,
        "expects": [200, "POST 11 3000"],
        "denied": DENIED,
        "after it": PLAIN,
    }
    assert denied(gate, before) == {"RULE": 1}


@where("java", "default-jdk-headless")
def test_java(gate: Guarded, world: World, base: str) -> None:
    """Java's clients pass; the newer one's upload is denied as long as it asks for HTTP/2 beside it."""
    before = gate.denials()
    said = world.client.run("java", str(HERE / "Client.java"), base)
    lines = (line.split("\t") for line in said.splitlines())
    seen = {name: [int(status), text] for name, status, text in lines}
    body = DENIED[1]
    assert isinstance(body, str)
    assert seen == {
        "plain": PLAIN,
        "long query": LONG,
        "other letters": LETTERS,
        "form": FORM,
        "chunked": CHUNKED,
        "denied": [403, body.strip()],
        "after it": PLAIN,
        "old": PLAIN,
        "asks for h2c": PLAIN,
        "once more": PLAIN,
        "uploads beside h2c": [403, body.strip()],
    }
    assert denied(gate, before) == {"RULE": 1, "UPGRADE": 1}
