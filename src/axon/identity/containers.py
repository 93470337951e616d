"""Names of containers, from the files that their runtimes keep. Needs no socket of a runtime."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from axon.identity.jsonfiles import JsonFiles

_LONGEST = 128
_ID = re.compile(r"[0-9a-f]{64}")
_USER = re.compile(r"/user\.slice/user-([0-9]+)\.slice/")
"""Where systemd has all of a user: the slice that user@UID.service is in too."""
_DOCKER, _STORAGE = "var/lib/docker", "var/lib/containers/storage"
_OWN_DOCKER, _OWN_STORAGE = ".local/share/docker", ".local/share/containers/storage"
"""Of root and of users, below their homes."""
_BUNDLES = (
    "run/containerd/io.containerd.runtime.v2.task/*/{id}/config.json",
    "var/lib/containers/storage/overlay-containers/{id}/userdata/config.json",
)


_NOTES = (
    ("nerdctl/name", "nerdctl/namespace"),
    ("io.kubernetes.cri.container-name", "io.kubernetes.cri.sandbox-namespace"),
    ("io.kubernetes.container.name", "io.kubernetes.pod.namespace"),
)

_Named = tuple[str, str]
"""A name, and a project or namespace; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container's name, and the project or namespace that it belongs to, or nothing."""

    name: str
    project: str = ""


class Containers:
    """Looks containers up below a file system's root."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._files = JsonFiles()

    def find(self, container: str, cgroup: str = "") -> Container | None:
        """Return what the runtimes' files say of a container's id, or None if none knows it.

        What a user's files say counts only of what runs in that user's slice, by the cgroup's path:
        anybody may write any id into files of their own.
        """
        if not _ID.fullmatch(container):
            return None
        for name, project in chain(self._of_root(container), self._of_user(container, cgroup)):
            if name:
                return Container(name, project)
        return None

    def _of_root(self, container: str) -> Iterator[_Named]:
        folders = [_DOCKER, f"root/{_OWN_DOCKER}"]
        root = self._files.take(self._root / "etc/docker/daemon.json", _data_root)
        if root:
            folders.insert(0, root)
        for folder in folders:
            yield from self._docker(self._root / folder, container)
        for folder in (_STORAGE, f"root/{_OWN_STORAGE}"):
            yield from self._podman(self._root / folder, container)
        yield from self._bundle(container)

    def _of_user(self, container: str, cgroup: str) -> Iterator[_Named]:
        match = _USER.match(cgroup)
        user = int(match[1]) if match else 0
        if not user:
            return
        for home in self._glob("home/*"):
            with suppress(OSError):
                if home.stat().st_uid == user:
                    yield from self._docker(home / _OWN_DOCKER, container, user)
                    yield from self._podman(home / _OWN_STORAGE, container, user)

    def _bundle(self, container: str) -> Iterator[_Named]:
        """Read the annotations of an OCI bundle: nerdctl's, and the Kubernetes runtimes'."""
        for pattern in _BUNDLES:
            for path in self._glob(pattern.format(id=container)):
                yield from self._files.take(path, _of_notes) or ()

    def _docker(self, folder: Path, container: str, user: int | None = None) -> Iterator[_Named]:
        path = folder / f"containers/{container}/config.v2.json"
        if found := self._files.take(path, _of_docker, user):
            yield found

    def _podman(self, folder: Path, container: str, user: int | None = None) -> Iterator[_Named]:
        path = folder / "overlay-containers/containers.json"
        names = self._files.take(path, _of_podman, user) or {}
        yield names.get(container, ""), ""

    def _glob(self, pattern: str) -> Iterator[Path]:
        if "*" not in pattern:
            yield self._root / pattern
            return
        with suppress(OSError):
            yield from self._root.glob(pattern)


def _data_root(content: Any) -> str:
    root = _mapping(content).get("data-root")
    return root.lstrip("/") if isinstance(root, str) else ""


def _of_docker(content: Any) -> _Named:
    content = _mapping(content)
    labels = _mapping(_mapping(content.get("Config")).get("Labels"))
    name = content.get("Name")
    project = labels.get("com.docker.compose.project")
    return _clean(name.lstrip("/") if isinstance(name, str) else ""), _clean(project)


def _of_podman(content: Any) -> dict[str, str]:
    """Return names by id."""
    found: dict[str, str] = {}
    for entry in map(_mapping, content if isinstance(content, list) else ()):
        container, names = entry.get("id"), entry.get("names")
        if not isinstance(container, str) or not isinstance(names, list) or not names:
            continue
        # CRI-O's are here too, by names made of many parts; their bundle says more.
        if not str(names[0]).startswith("k8s_"):
            found.setdefault(container, _clean(names[0]))
    return found


def _of_notes(content: Any) -> list[_Named]:
    notes = _mapping(_mapping(content).get("annotations"))
    return [(_clean(notes.get(name)), _clean(notes.get(project))) for name, project in _NOTES]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _clean(value: Any) -> str:
    """Return a name that may be shown: whoever made the container has chosen it."""
    text = value if isinstance(value, str) else ""
    return "".join(c for c in text[:_LONGEST] if c.isprintable())
