"""Names of containers, from the files that their runtimes keep. Needs no socket of a runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LARGEST = 4 << 20
_LONGEST = 128
_HOMES = ("root", "home/*")
_DOCKER = ("var/lib/docker", *(f"{home}/.local/share/docker" for home in _HOMES))
_STORAGE = (
    "var/lib/containers/storage",
    *(f"{home}/.local/share/containers/storage" for home in _HOMES),
)
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

    def find(self, container: str) -> Container | None:
        """Return what the runtimes' files say of a container's id, or None if none knows it."""
        for source in (self._docker, self._podman, self._bundle):
            for name, project in source(container):
                if _clean(name):
                    return Container(_clean(name), _clean(project))
        return None

    def _docker(self, container: str) -> Iterator[tuple[Any, Any]]:
        folders = [*_DOCKER]
        root = _read(self._root / "etc/docker/daemon.json").get("data-root")
        if isinstance(root, str):
            folders.insert(0, root.lstrip("/"))
        for folder in folders:
            for path in self._glob(f"{folder}/containers/{container}/config.v2.json"):
                content = _read(path)
                labels = _mapping(_mapping(content.get("Config")).get("Labels"))
                name = content.get("Name")
                if isinstance(name, str):
                    yield name.lstrip("/"), labels.get("com.docker.compose.project")

    def _podman(self, container: str) -> Iterator[tuple[Any, Any]]:
        for folder in _STORAGE:
            for path in self._glob(f"{folder}/overlay-containers/containers.json"):
                for entry in _entries(path):
                    names = entry.get("names")
                    if entry.get("id") != container or not isinstance(names, list) or not names:
                        continue
                    # CRI-O's are here too, by names made of many parts; their bundle says more.
                    if not str(names[0]).startswith("k8s_"):
                        yield names[0], ""

    def _bundle(self, container: str) -> Iterator[tuple[Any, Any]]:
        """Read the annotations of an OCI bundle: nerdctl's, and the Kubernetes runtimes'."""
        for pattern in _BUNDLES:
            for path in self._glob(pattern.format(id=container)):
                notes = _mapping(_read(path).get("annotations"))
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


def _load(path: Path) -> Any:
    """Return the content of a JSON file; None if it is missing, too large or no JSON."""
    with suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= _LARGEST:
            return json.loads(path.read_bytes())
    return None


def _read(path: Path) -> dict[str, Any]:
    return _mapping(_load(path))


def _entries(path: Path) -> list[dict[str, Any]]:
    content = _load(path)
    return [_mapping(entry) for entry in content] if isinstance(content, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _clean(value: Any) -> str:
    """Return a name that may be shown: whoever made the container has chosen it."""
    text = value if isinstance(value, str) else ""
    return "".join(c for c in text[:_LONGEST] if c.isprintable())
