"""Names of containers, from the files that their runtimes keep. Needs no socket of a runtime."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

_LARGEST = 4 << 20
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


@dataclass(frozen=True, slots=True)
class Container:
    """A container's name, and the project or namespace that it belongs to, or nothing."""

    name: str
    project: str = ""


class Containers:
    """Looks containers up below a file system's root."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def find(self, container: str, cgroup: str = "") -> Container | None:
        """Return what the runtimes' files say of a container's id, or None if none knows it.

        What a user's files say counts only of what runs in that user's slice, by the cgroup's path:
        anybody may write any id into files of their own.
        """
        if not _ID.fullmatch(container):
            return None
        for name, project in chain(self._of_root(container), self._of_user(container, cgroup)):
            if _clean(name):
                return Container(_clean(name), _clean(project))
        return None

    def _of_root(self, container: str) -> Iterator[tuple[Any, Any]]:
        folders = [_DOCKER, f"root/{_OWN_DOCKER}"]
        root = _mapping(_load(self._root / "etc/docker/daemon.json")).get("data-root")
        if isinstance(root, str):
            folders.insert(0, root.lstrip("/"))
        for folder in folders:
            yield from _docker(self._root / folder, container)
        for folder in (_STORAGE, f"root/{_OWN_STORAGE}"):
            yield from _podman(self._root / folder, container)
        yield from self._bundle(container)

    def _of_user(self, container: str, cgroup: str) -> Iterator[tuple[Any, Any]]:
        match = _USER.match(cgroup)
        user = int(match[1]) if match else 0
        if not user:
            return
        for home in self._glob("home/*"):
            with suppress(OSError):
                if home.stat().st_uid == user:
                    yield from _docker(home / _OWN_DOCKER, container, user)
                    yield from _podman(home / _OWN_STORAGE, container, user)

    def _bundle(self, container: str) -> Iterator[tuple[Any, Any]]:
        """Read the annotations of an OCI bundle: nerdctl's, and the Kubernetes runtimes'."""
        for pattern in _BUNDLES:
            for path in self._glob(pattern.format(id=container)):
                notes = _mapping(_mapping(_load(path)).get("annotations"))
                yield notes.get("nerdctl/name"), notes.get("nerdctl/namespace")
                yield (
                    notes.get("io.kubernetes.cri.container-name"),
                    notes.get("io.kubernetes.cri.sandbox-namespace"),
                )
                yield (
                    notes.get("io.kubernetes.container.name"),
                    notes.get("io.kubernetes.pod.namespace"),
                )

    def _glob(self, pattern: str) -> Iterator[Path]:
        if "*" not in pattern:
            yield self._root / pattern
            return
        with suppress(OSError):
            yield from self._root.glob(pattern)


def _docker(folder: Path, container: str, user: int | None = None) -> Iterator[tuple[Any, Any]]:
    content = _mapping(_load(folder / f"containers/{container}/config.v2.json", user))
    labels = _mapping(_mapping(content.get("Config")).get("Labels"))
    name = content.get("Name")
    if isinstance(name, str):
        yield name.lstrip("/"), labels.get("com.docker.compose.project")


def _podman(folder: Path, container: str, user: int | None = None) -> Iterator[tuple[Any, Any]]:
    content = _load(folder / "overlay-containers/containers.json", user)
    for entry in map(_mapping, content if isinstance(content, list) else ()):
        names = entry.get("names")
        if entry.get("id") != container or not isinstance(names, list) or not names:
            continue
        # CRI-O's are here too, by names made of many parts; their bundle says more.
        if not str(names[0]).startswith("k8s_"):
            yield names[0], ""


def _load(path: Path, user: int | None = None) -> Any:
    """Return the content of a JSON file, of a user's own if one is given.

    None if it is missing, another's, no regular file, too large or no JSON.
    """
    with suppress(OSError, ValueError, RecursionError):
        return json.loads(_content(path, user))
    return None


def _content(path: Path, user: int | None) -> bytes:
    """Read a file that anybody may have made: nothing is opened but a regular file, nor waited for.

    Raise OSError.
    """
    with ExitStack() as opened:
        place = _open(path, os.O_PATH, opened)
        state = os.fstat(place)
        if not stat.S_ISREG(state.st_mode) or user not in {None, state.st_uid}:
            raise OSError(errno.EPERM, "not a regular file of who it should be of")
        # its owner may hold a lease, which whoever opens it waits for otherwise
        file = _open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK, opened)
        content = b""
        while piece := os.read(file, _LARGEST + 1 - len(content)):
            content += piece
    if len(content) > _LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def _open(path: Path | str, flags: int, opened: ExitStack) -> int:
    file = os.open(path, flags | os.O_CLOEXEC)
    opened.callback(os.close, file)
    return file


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _clean(value: Any) -> str:
    """Return a name that may be shown: whoever made the container has chosen it."""
    text = value if isinstance(value, str) else ""
    return "".join(c for c in text[:_LONGEST] if c.isprintable())
