"""Labels that Axon gives by cgroup and process: containers and services are selected by them, and are known as callers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.kit.enforcing import Enforcing
from tests.live.kit.gate import expect_403, expect_nothing, forbidden
from tests.live.kit.waiting import until
from tests.live.kit.wire import OK, Listener, get, receive
from tests.live.kit.world import World

_IDS = [digit * 64 for digit in "9abc"]
_NAMED = {_IDS[0]: "shop-db", _IDS[1]: "shop-cache"}
"""Containers of which docker's files say a name."""
_WE = Path("/proc/self/comm").read_text().rstrip("\n")
_CONTAINER, _SERVICE = "axon.dev/container", "axon.dev/service"

_DOCKED = """
import os, sys
write = '''
mount -t tmpfs none /var/lib
while [ "$1" != -- ]; do
    mkdir -p "/var/lib/docker/containers/$1"
    echo "$2" >"/var/lib/docker/containers/$1/config.v2.json"
    shift 2
done
shift
exec "$@"
'''
line = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", write, "sh", *%r, "--"]
os.execvp(line[0], [*line, sys.executable, "-m", "axon", *sys.argv[1:]])
"""
"""How Axon is started where docker's files are those of a test."""


@dataclass(frozen=True)
class Who:
    """What runs in a cgroup, and the label that it is to be known by. Without a cgroup it is a process."""

    cgroup: str
    key: str
    value: str


SERVERS = (
    Who(f"docker-{_IDS[0]}.scope", _CONTAINER, "shop-db"),
    Who(f"docker-{_IDS[1]}.scope", _SERVICE, "docker:shop-cache"),
    Who(f"docker-{_IDS[2]}.scope", _CONTAINER, _IDS[2][:12]),
    Who("lxc.payload.web", _SERVICE, "lxc:web"),
    Who("", _SERVICE, f"{_WE}:{{port}}"),
)
CALLERS = (*SERVERS[:-1], Who("", _SERVICE, "curl"))
STRANGER = f"docker-{_IDS[3]}.scope"


@pytest.fixture
def docked(agent: Enforcing, world: World) -> Iterator[Enforcing]:
    """Give an agent that is not started yet, where there are containers."""
    files = [
        word
        for number, name in _NAMED.items()
        for word in (number, json.dumps({"Name": f"/{name}", "Config": {"Labels": {}}}))
    ]
    agent.launcher = "-c", _DOCKED % files
    made = [world.cgroup / name for name in (*(who.cgroup for who in SERVERS[:-1]), STRANGER)]
    for cgroup in made:
        cgroup.mkdir()
    yield agent
    agent.close()
    for cgroup in made:
        until(lambda cgroup=cgroup: _removed(cgroup), "a cgroup is empty")  # type: ignore[misc]


def _removed(cgroup: Path) -> bool:
    try:
        cgroup.rmdir()
    except OSError:
        return False
    return True


def policy(name: str, selects: str, *entries: str) -> str:
    """Return a policy for who has a label; each entry is YAML."""
    return "\n".join((
        "apiVersion: axon.dev/v1alpha1",
        "kind: L7NetworkPolicy",
        f"metadata: {{name: {name}}}",
        "spec:",
        f"  podSelector: {{matchLabels: {{{selects}}}}}",
        "  ingress:",
        *(f"    - {entry}" for entry in entries),
    ))  # fmt: skip


def test_who_is_asked(docked: Enforcing, world: World) -> None:
    """Each is selected by its label and by no other's; what has none of these labels is untouched."""
    listeners = []
    for cgroup in (*(who.cgroup for who in SERVERS), STRANGER, ""):
        with world.server.within(world.cgroup / cgroup):
            listeners.append(Listener(world, world.server, world.client, world.server.ip4))
    *selected, stranger, other = listeners
    texts = []
    for i, (who, listener) in enumerate(zip(SERVERS, selected, strict=True)):
        value = who.value.format(port=listener.port)
        texts.append(policy(f"p{i}", f'{who.key}: "{value}"', f"httpRules: [{{path: /{i}}}]"))
    docked.write("\n---\n".join(texts))
    try:
        docked.start()
        for i, listener in enumerate(selected):
            wire = listener.connect()
            wire.exchange(get(f"/{i}"))
            wire.client.sendall(get(f"/{(i + 1) % len(selected)}"))
            expect_403(wire.client, name=f"default/p{i}")
            expect_nothing(wire.server)
        for listener in (stranger, other):
            listener.connect().exchange(get("/secret"))
    finally:
        for listener in listeners:
            listener.close()


def test_who_asks(docked: Enforcing, world: World) -> None:
    """Each is known by its label as a caller, may what the rule for it says and nothing else; others may nothing."""
    listener = Listener(world, world.server, world.server, "127.0.0.1")
    entries = (
        f'from: [{{podSelector: {{matchLabels: {{{who.key}: "{who.value}"}}}}}}]\n'
        f"      httpRules: [{{path: /{i}}}]"
        for i, who in enumerate(CALLERS)
    )
    docked.write(policy("web", f'axon.dev/port: "{listener.port}"', *entries))
    try:
        docked.start()
        for i, who in enumerate(CALLERS):
            assert asks(world, listener, who.cgroup, f"/{i}") == "ok"
            assert asks(world, listener, who.cgroup, f"/{(i + 1) % len(CALLERS)}") == "denied"
        for i in range(len(CALLERS)):
            assert asks(world, listener, STRANGER, f"/{i}") == "denied"
    finally:
        listener.close()


def asks(world: World, listener: Listener, cgroup: str, path: str) -> str:
    """Ask by a process in a cgroup; return `ok` if the server has answered, `denied` if it has read nothing."""
    url = f"http://{listener.address}:{listener.port}{path}"
    with world.server.starting_in(world.cgroup / cgroup):
        curl = world.server.start("curl", "-s", "-i", url)
    server = listener.accept()
    try:
        data = receive(server, len(f"GET {path} "))
    except ConnectionResetError:
        data = b""
    else:
        assert data == f"GET {path} ".encode()
        server.sendall(OK)
    output, _ = curl.communicate(timeout=20)
    world.server.end(curl)
    server.close()
    if data:
        assert output.endswith("ok")
        return "ok"
    assert output.replace("\r", "") == forbidden().decode().replace("\r", "")
    return "denied"
