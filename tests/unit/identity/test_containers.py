"""Names of containers from the runtimes' files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from axon.identity.containers import Container, Containers
from tests.unit.identity.host import ID, Host

DOCKER = f"var/lib/docker/containers/{ID}/config.v2.json"
PODMAN = "var/lib/containers/storage/overlay-containers/containers.json"
OWN_DOCKER = f"home/eve/.local/share/docker/containers/{ID}/config.v2.json"
OWN_PODMAN = "home/eve/.local/share/containers/storage/overlay-containers/containers.json"
BUNDLE = f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"


def test_docker(host: Host) -> None:
    """Docker's name, and the compose project."""
    host.write(
        DOCKER, {"Name": "/web", "Config": {"Labels": {"com.docker.compose.project": "shop"}}}
    )
    assert Containers(host.root).find(ID) == Container("web", "shop")


def test_docker_elsewhere(host: Host) -> None:
    """Docker's data may lie where its configuration says, or in root's home."""
    host.write("etc/docker/daemon.json", {"data-root": "/srv/docker"})
    host.write(f"srv/docker/containers/{ID}/config.v2.json", {"Name": "/web"})
    assert Containers(host.root).find(ID) == Container("web")
    host.write("etc/docker/daemon.json", {"data-root": 5})
    host.write(f"root/.local/share/docker/containers/{ID}/config.v2.json", {"Name": "/mine"})
    assert Containers(host.root).find(ID) == Container("mine")


def test_podman(host: Host) -> None:
    """Podman's first name."""
    host.write(PODMAN, [{"id": "other", "names": ["x"]}, {"id": ID, "names": ["db", "alias"]}])
    assert Containers(host.root).find(ID) == Container("db")
    host.write(PODMAN, [])
    host.write(
        "root/.local/share/containers/storage/overlay-containers/containers.json",
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


@pytest.fixture
def eve(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Give the number of a user whose home is home/eve, and all files in it; it is not root's."""
    number = 4711
    (host.root / "home/eve").mkdir(parents=True)
    really = os.stat_result

    def owned(found: os.stat_result, mine: bool) -> os.stat_result:
        times = {"st_mtime_ns": found.st_mtime_ns, "st_ctime_ns": found.st_ctime_ns}
        return really((*found[:4], number if mine else 0, *found[5:]), times)

    stat, fstat = Path.stat, os.fstat

    def at(path: Path, **more: Any) -> os.stat_result:
        return owned(stat(path, **more), "home/eve" in str(path))

    def of(file: int) -> os.stat_result:
        return owned(fstat(file), "home/eve" in str(Path(f"/proc/self/fd/{file}").readlink()))

    monkeypatch.setattr(Path, "stat", at)
    monkeypatch.setattr(os, "fstat", of)
    yield number
    monkeypatch.undo()


def mine(user: int) -> str:
    """Return the path of a container of a user's."""
    return f"/user.slice/user-{user}.slice/user@{user}.service/user.slice/docker-{ID}.scope"


@pytest.mark.parametrize(
    ("path", "content"),
    [(OWN_DOCKER, {"Name": "/mine"}), (OWN_PODMAN, [{"id": ID, "names": ["mine"]}])],
    ids=["docker", "podman"],
)
def test_of_users(host: Host, eve: int, path: str, content: Any) -> None:
    """A user's files name what runs in that user's slice, and nothing of others."""
    host.write(path, content)
    found = Containers(host.root).find
    assert found(ID, mine(eve)) == Container("mine")
    assert found(ID, f"/user.slice/user-{eve}.slice/session-2.scope/{ID}") == Container("mine")
    for other in (
        "",
        f"/system.slice/docker-{ID}.scope",
        f"/machine.slice/libpod-{ID}.scope",
        mine(eve + 1),
        mine(0),
        mine(eve)[:-1].replace("/user.slice", "/system.slice"),
        f"/docker/{ID}" + mine(eve),
    ):
        assert found(ID, other) is None, other


def test_root_s_word_comes_first(host: Host, eve: int) -> None:
    """What root's runtimes say of an id is not overruled by a user's files."""
    host.write(OWN_DOCKER, {"Name": "/mine"})
    host.write(PODMAN, [{"id": ID, "names": ["db"]}])
    assert Containers(host.root).find(ID, mine(eve)) == Container("db")


def test_only_the_user_s_own_files(host: Host, eve: int) -> None:
    """What a user's home only leads to, and is another's, does not count."""
    host.write("srv/upload.json", {"Name": "/other"})
    path = host.root / OWN_DOCKER
    path.parent.mkdir(parents=True)
    path.symlink_to(host.root / "srv/upload.json")
    assert Containers(host.root).find(ID, mine(eve)) is None


def test_what_blocks_is_not_waited_for(host: Host, eve: int) -> None:
    """A FIFO in a home, a device or a directory there holds nobody up, and names nothing."""
    for path in (OWN_DOCKER, OWN_PODMAN):
        (host.root / path).parent.mkdir(parents=True)
    os.mkfifo(host.root / OWN_DOCKER)
    (host.root / OWN_PODMAN).mkdir()
    found: list[Container | None] = []
    looks = threading.Thread(
        target=lambda: found.append(Containers(host.root).find(ID, mine(eve))), daemon=True
    )
    looks.start()
    looks.join(5)
    assert found == [None]
    (host.root / OWN_DOCKER).unlink()
    (host.root / OWN_DOCKER).symlink_to("/dev/zero")
    assert Containers(host.root).find(ID, mine(eve)) is None


@pytest.mark.parametrize("name", ["web", "../web", "*", ""])
def test_other_names_are_not_looked_up(host: Host, name: str) -> None:
    """Only what is an id becomes part of a path: lxc's and systemd's names are what others chose."""
    host.write("var/lib/docker/web/config.v2.json", {"Name": "/spoof"})
    host.write("var/lib/docker/containers/web/config.v2.json", {"Name": "/spoof"})
    assert Containers(host.root).find(name) is None
