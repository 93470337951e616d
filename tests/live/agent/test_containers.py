"""Servers in cgroups as container runtimes make them are called by what the runtimes' files say of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from axon.api.filters import FlowFilter
from tests.live.agent.conftest import Running, Server
from tests.live.kit.world import World

_POD = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
_SLICE = f"kubepods.slice/kubepods-pod{_POD.replace('-', '_')}.slice"
_KUBERNETES = {
    "io.kubernetes.cri.container-name": "cart",
    "io.kubernetes.cri.sandbox-namespace": "shop",
}
_CRIO = {"io.kubernetes.container.name": "ship", "io.kubernetes.pod.namespace": "post"}


def number(digit: str) -> str:
    """Return the id of a container."""
    return digit * 12 + "5ab7" * 13


# The cgroup, the runtime's file if there is one, and the service and namespace that are to be shown.
CONTAINERS: dict[str, tuple[str, tuple[str, Any] | None, tuple[str, str]]] = {
    "docker": (
        f"system.slice/docker-{number('a')}.scope",
        (
            f"var/lib/docker/containers/{number('a')}/config.v2.json",
            {"Name": "/web", "Config": {"Labels": {"com.docker.compose.project": "front"}}},
        ),
        ("docker:web", "front"),
    ),
    "docker without systemd": (
        f"docker/{number('b')}",
        (f"var/lib/docker/containers/{number('b')}/config.v2.json", {"Name": "/old"}),
        ("docker:old", ""),
    ),
    "docker without a file": (
        f"system.slice/docker-{number('c')}.scope",
        None,
        ("docker:cccccccccccc", ""),
    ),
    "containerd": (
        f"{_SLICE}/cri-containerd-{number('d')}.scope",
        (
            f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{number('d')}/config.json",
            {"annotations": _KUBERNETES},
        ),
        ("containerd:cart", "shop"),
    ),
    "cri-o": (
        f"{_SLICE}/crio-{number('e')}.scope",
        (
            f"var/lib/containers/storage/overlay-containers/{number('e')}/userdata/config.json",
            {"annotations": _CRIO},
        ),
        ("cri-o:ship", "post"),
    ),
    "podman": (
        f"machine.slice/libpod-{number('f')}.scope/container",
        (
            "var/lib/containers/storage/overlay-containers/containers.json",
            [{"id": number("f"), "names": ["blog"]}],
        ),
        ("podman:blog", ""),
    ),
}

# The agent sees folders of these tests where the host has the runtimes'.
_SEEING = """
mount --bind "$1/var/lib" /var/lib
mount --bind "$1/run" /run
shift
exec "$@"
"""


@pytest.fixture
def container(
    world: World, agent: Running, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Server]:
    """Give a server in a container, and prepare the agent to see the host that it is on."""
    cgroup, file, _ = CONTAINERS[request.param]
    host = tmp_path / "host"
    for folder in ("run", "var/lib"):
        (host / folder).mkdir(parents=True)
    if file:
        path = host / file[0]
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(file[1]))
    agent.command = (
        *("unshare", "--mount", "--propagation", "private", "sh", "-ec", _SEEING, "sh"),
        *(str(host), *agent.command),
    )
    inner = world.cgroup / cgroup
    inner.mkdir(parents=True)
    with world.server.starting_in(inner):
        server = Server(world)
    yield server
    server.close()
    while inner != world.cgroup:
        inner.rmdir()
        inner = inner.parent


@pytest.mark.parametrize(
    ("container", "named"),
    [(name, named) for name, (_, _, named) in CONTAINERS.items()],
    indirect=["container"],
    ids=list(CONTAINERS),
)
def test_it_is_called_by_its_name(
    agent: Running, container: Server, named: tuple[str, str]
) -> None:
    """The API, the metrics and the table have runtime and name, or the id's beginning where no file names it."""
    agent.start()
    for _ in range(7):
        assert container.request("/status/200") == 200
    agent.tick()
    rows = [row for row in agent.client.snapshot().endpoints if row.role == "server"]
    assert [(row.service, row.namespace, row.total) for row in rows] == [(*named, 7)]
    (flow,) = agent.client.recent(FlowFilter(role="server"), last=1)
    assert flow.service == named[0]
    assert agent.total("http_server_request_duration_seconds_count", service_name=named[0]) == 7

    def top(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "axon", "top", "--once", *arguments],
            env=agent.environment | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    (line,) = (line.split() for line in top().splitlines() if "/status/" in line)
    assert line[0] == named[0]
    assert named[0] in top("--filter", named[0])
