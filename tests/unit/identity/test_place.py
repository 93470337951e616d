"""What a cgroup's path says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axon.identity.place import Place, is_placed, place, undisputed
from tests.unit.identity.host import ID, POD

BURSTABLE = "/kubepods.slice/kubepods-burstable.slice"
UNDER = POD.replace("-", "_")


@pytest.mark.parametrize(
    ("path", "runtime", "container", "pod"),
    [
        (f"/system.slice/docker-{ID}.scope", "docker", ID, ""),
        (f"/docker/{ID}", "docker", ID, ""),
        (f"/docker/{ID}/system.slice/nginx.service", "docker", ID, ""),
        (f"/machine.slice/libpod-{ID}.scope", "podman", ID, ""),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman", ID, ""),
        (f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
         "podman", ID, ""),
        (f"/libpod_parent/libpod-{ID}", "podman", ID, ""),
        (f"{BURSTABLE}/kubepods-burstable-pod{UNDER}.slice/cri-containerd-{ID}.scope",
         "containerd", ID, POD),
        (f"/kubepods.slice/kubepods-pod{UNDER}.slice/crio-{ID}.scope", "cri-o", ID, POD),
        (f"/kubepods.slice/kubepods-pod{UNDER}.slice/docker-{ID}.scope", "docker", ID, POD),
        (f"/kubepods/burstable/pod{POD}/{ID}", "pod", ID, POD),
        (f"/kubepods/pod{'0a' * 16}/{ID}", "pod", ID, "0a" * 16),
        (f"/docker/{ID}/kubelet/kubepods/besteffort/pod{POD}/{ID[::-1]}", "pod", ID[::-1], POD),
        (f"/system.slice/nerdctl-{ID}.scope", "containerd", ID, ""),
        (f"/default/{ID}", "container", ID, ""),
        (f"/kubelet.slice/cri-containerd:{ID}", "containerd", ID, ""),
        ("/lxc.payload.web-1", "lxc", "web-1", ""),
        ("/lxc/web/system.slice", "lxc", "web", ""),
        (r"/machine.slice/machine-deb\x2dian.scope", "machine", "deb-ian", ""),
    ],
)  # fmt: skip
def test_containers(path: str, runtime: str, container: str, pod: str) -> None:
    """Every runtime and cgroup driver is told by its path; the innermost container counts."""
    assert place(path) == Place(path, "", "", runtime, container, pod)


@pytest.mark.parametrize(
    ("path", "unit", "slice_"),
    [
        ("/system.slice/nginx.service", "nginx.service", ""),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service",
         "system-getty.slice"),
        (r"/system.slice/systemd-cryptsetup@a\x2db.service", "systemd-cryptsetup@a-b.service", ""),
        ("/web.slice/shop.service", "shop.service", "web.slice"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/api.service", "api.service",
         "app.slice"),
        ("/system.slice/postgresql.service/worker", "postgresql.service", ""),
        ("/system.slice/run-r0123456789abcdef.service", "", ""),
        ("/system.slice/run-u12.service", "", ""),
        ("/user.slice/user-0.slice/session-3.scope", "", "user-0.slice"),
        ("/init.scope", "", ""),
        ("/my-group", "", ""),
        ("/", "", ""),
        ("", "", ""),
        (f"/machine.slice/libpod-conmon-{ID}.scope", "", "machine.slice"),
        (f"/system.slice/docker-{ID[:-1]}.scope", "", ""),
    ],
)  # fmt: skip
def test_units(path: str, unit: str, slice_: str) -> None:
    """A service is the innermost .service; sessions and transient units name nothing."""
    assert place(path) == Place(path, unit, slice_)


@given(st.text())
def test_any_path_says_something_or_nothing(path: str) -> None:
    """Whoever may make cgroups may name them as they like."""
    assert place(path).path == path


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a directory away")
@pytest.mark.parametrize(
    ("path", "given_away", "undisputed_part"),
    [
        ("/system.slice/nginx.service", "", "/system.slice/nginx.service"),
        ("/system.slice/nginx.service/worker", "", "/system.slice/nginx.service/worker"),
        (
            "/user.slice/user-7.slice/user@7.service/app.slice/nginx.service",
            "/user.slice/user-7.slice/user@7.service",
            "/user.slice/user-7.slice/user@7.service",
        ),
        (f"/system.slice/docker-{ID}.scope/nginx.service", "", f"/system.slice/docker-{ID}.scope"),
        (f"/lxc.payload.a/docker/{ID}", "", "/lxc.payload.a"),
        (
            "/system.slice/mine.service/lxc.payload.front",
            "/system.slice/mine.service",
            "/system.slice/mine.service",
        ),
        ("/", "", "/"),
    ],
)
def test_undisputed(tmp_path: Path, path: str, given_away: str, undisputed_part: str) -> None:
    """What a user, or a container's root, may have named says nothing of who somebody is."""
    (tmp_path / path.strip("/")).mkdir(parents=True, exist_ok=True)
    if given_away:
        os.chown(tmp_path / given_away.strip("/"), 7, 7)
    assert undisputed(path, tmp_path) == undisputed_part


def test_undisputed_and_gone(tmp_path: Path) -> None:
    """Of a cgroup that is gone nothing is."""
    assert undisputed("/system.slice/nginx.service", tmp_path / "none") == "/"


def test_undisputed_and_not_to_be_looked_at(tmp_path: Path) -> None:
    """An error of the file system is not taken for a cgroup that is gone."""
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        undisputed("/a/b/c", tmp_path)


@pytest.mark.parametrize(
    "name", ["nginx.service", "docker:web", "lxc:a:80", "machine:db", "pod:ab"]
)
def test_names_of_units_and_containers(name: str) -> None:
    """By its form a name is a unit's or a container's."""
    assert is_placed(name)


@pytest.mark.parametrize(
    "name", ["python3:8080", "curl", "docker:80", "docker", "docker:", "", ":80"]
)
def test_names_of_processes(name: str) -> None:
    """By its form it is a process's, or may be."""
    assert not is_placed(name)
