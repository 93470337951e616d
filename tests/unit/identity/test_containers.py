"""Names of containers from the runtimes' files."""

from __future__ import annotations

from typing import Any

import pytest

from axon.identity.containers import Container, Containers
from tests.unit.identity.host import ID, Host

DOCKER = f"var/lib/docker/containers/{ID}/config.v2.json"
PODMAN = "var/lib/containers/storage/overlay-containers/containers.json"
BUNDLE = f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"


def test_docker(host: Host) -> None:
    """Docker's name, and the compose project."""
    host.write(
        DOCKER, {"Name": "/web", "Config": {"Labels": {"com.docker.compose.project": "shop"}}}
    )
    assert Containers(host.root).find(ID) == Container("web", "shop")


def test_docker_elsewhere(host: Host) -> None:
    """Docker's data may lie where its configuration says, or in a user's home."""
    host.write("etc/docker/daemon.json", {"data-root": "/srv/docker"})
    host.write(f"srv/docker/containers/{ID}/config.v2.json", {"Name": "/web"})
    assert Containers(host.root).find(ID) == Container("web")
    host.write("etc/docker/daemon.json", {"data-root": 5})
    host.write(f"home/eve/.local/share/docker/containers/{ID}/config.v2.json", {"Name": "/mine"})
    assert Containers(host.root).find(ID) == Container("mine")


def test_podman(host: Host) -> None:
    """Podman's first name, of root or of a user."""
    host.write(PODMAN, [{"id": "other", "names": ["x"]}, {"id": ID, "names": ["db", "alias"]}])
    assert Containers(host.root).find(ID) == Container("db")
    host.write(PODMAN, [])
    host.write(
        "home/eve/.local/share/containers/storage/overlay-containers/containers.json",
        [{"id": ID, "names": ["mine"]}],
    )
    assert Containers(host.root).find(ID) == Container("mine")


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ({"nerdctl/name": "web", "nerdctl/namespace": "default"}, Container("web", "default")),
        ({"io.kubernetes.cri.container-name": "api", "io.kubernetes.cri.sandbox-namespace": "shop"},
         Container("api", "shop")),
        ({"io.kubernetes.container.name": "api", "io.kubernetes.pod.namespace": "shop"},
         Container("api", "shop")),
        ({}, None),
    ],
)  # fmt: skip
def test_bundles(host: Host, notes: dict[str, str], expected: Container | None) -> None:
    """The bundles of containerd and CRI-O tell names in their annotations."""
    host.write(BUNDLE, {"annotations": notes})
    assert Containers(host.root).find(ID) == expected


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "7", '"x"', "[" * 100_000, '{"Name": 3}', '{"Name": "/", "Config": []}',
     '{"Name": "/web", "Config": {"Labels": ["x"]}}', {"annotations": [1]}, [{"id": ID}],
     [{"id": ID, "names": "x"}], [{"id": ID, "names": [3]}], [7]],
)  # fmt: skip
def test_any_content_is_borne(host: Host, content: Any) -> None:
    """Files of another form, cut off or hostile, name nothing or something harmless."""
    for path in (DOCKER, PODMAN, BUNDLE, "etc/docker/daemon.json"):
        host.write(path, content)
    found = Containers(host.root).find(ID)
    assert found is None or found == Container("web")


def test_names_are_fit_to_be_shown(host: Host) -> None:
    """Control characters are taken out of names and their length is bounded."""
    host.write(DOCKER, {"Name": "/a\x1b[31m\n" + "b" * 500})
    found = Containers(host.root).find(ID)
    assert found
    assert found.name == "a[31m" + "b" * 121


def test_huge_files_are_not_read(host: Host) -> None:
    """A file of many megabytes is none of a runtime's."""
    host.write(DOCKER, '{"Name": "/web", "x": "' + "y" * (5 << 20) + '"}')
    assert Containers(host.root).find(ID) is None
