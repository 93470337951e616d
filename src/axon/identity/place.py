"""What a cgroup's path says: the systemd unit, the container, the pod."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from axon.identity.cgroups import GONE
from axon.identity.printable import escaped, printable

# Kubernetes, by any runtime and either cgroup driver.
_POD = re.compile(
    r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?$"
)
_CONTAINER = re.compile(r"(?:([a-z]+(?:-[a-z]+)*)[-:])?([0-9a-f]{64})(?:\.scope)?")
_RUNTIMES = {
    "docker": "docker",
    "libpod": "podman",
    "crio": "cri-o",
    "cri-containerd": "containerd",
    "containerd": "containerd",
    "nerdctl": "containerd",
    "buildah": "buildah",
}
_TRANSIENT = re.compile(r"run-[ru][0-9a-f]+\.service")
_ESCAPE = re.compile(r"\\x([2-7][0-9a-f])")  # of ASCII but for control characters
_FOREIGN = re.compile(r"[^0-9A-Za-z:_.\\@-]")  # what no unit's name has (systemd.unit(5))
_SYSTEM = "system.slice"


def _of_systemd(name: str) -> str:
    """Undo systemd's escaping of unit names (systemd-escape(1)); a dash stays one.

    It escapes no letter or digit, and leaves nothing but ASCII. A name that is none of its own is shown
    as no unit's.
    """

    def undone(match: re.Match[str]) -> str:
        found = chr(int(match[1], 16))
        kept = found.isalnum() or found in "%\\\x7f"
        return match[0] if kept else found

    return _ESCAPE.sub(undone, _FOREIGN.sub(lambda match: escaped(match[0]), name))


_NAMED = (
    ("lxc", re.compile(r"lxc\.payload\.(.+)"), printable),
    ("machine", re.compile(r"machine-(.+)\.scope"), _of_systemd),
)
_CONTAINERS = {*_RUNTIMES.values(), *(runtime for runtime, *_ in _NAMED), "pod", "container"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs, by its cgroup.

    `unit` is a systemd service, `slice` the slice that it is in unless that is system.slice.
    `runtime` and `container` name a container (64 hexadecimal digits, or a name), `pod` is the
    uid of its Kubernetes pod. What does not apply is empty. `path` is as it is, the others can be shown.
    """

    path: str
    unit: str = ""
    slice: str = ""
    runtime: str = ""
    container: str = ""
    pod: str = ""


def place(path: str) -> Place:
    """Return what a cgroup's path says. The innermost container counts, and no unit within it."""
    parts = path.strip("/").split("/")
    for at in range(len(parts) - 1, -1, -1):
        found = _container(parts, at)
        if found:
            return Place(path, "", "", *found)
    unit = slice_ = ""
    for part in parts:
        if part.endswith(".slice"):
            slice_ = part
        elif part.endswith(".service") and not _TRANSIENT.fullmatch(part):
            unit = _of_systemd(part)
    return Place(path, unit, "" if slice_ == _SYSTEM else _of_systemd(slice_))


def is_placed(name: str) -> bool:
    """Return whether a service of this name is a unit or a container, and no process by its name and port."""
    runtime, _, rest = name.partition(":")
    named = runtime in _CONTAINERS and rest != "" and not rest.isdecimal()
    return named or name.endswith(".service")


def undisputed(path: str, root: Path) -> str:
    """Return as much of a cgroup's path as the host's root has named, for what must not be pretended.

    Who owns a cgroup's directory names those below it: a user's service manager, a unit with
    Delegate=, a container. So what is named by somebody else than who owns the tree at `root`, and
    whatever lies within a container, is left away; of one that is gone all is. Raise OSError if it cannot
    be looked at.
    """
    parts = path.strip("/").split("/")
    folder = root
    try:
        owner = root.stat().st_uid
        for at, part in enumerate(parts):
            if folder.stat().st_uid != owner:
                return "/" + "/".join(parts[:at])
            if _container(parts, at):
                return "/" + "/".join(parts[: at + 1])
            folder /= part
    except OSError as error:
        if error.errno not in GONE:
            raise
        return "/"
    return path


def _container(parts: list[str], at: int) -> tuple[str, str, str] | None:
    """Return runtime, container and pod if a component is a container's."""
    part, above = parts[at], parts[at - 1] if at else ""
    match = _CONTAINER.fullmatch(part)
    if match:
        prefix, container = match[1] or "", match[2]
        if prefix.endswith("conmon"):
            return None
        pod = _POD.search(above)
        runtime = _RUNTIMES.get(prefix) or _RUNTIMES.get(above) or ("pod" if pod else "container")
        return runtime, container, pod[1].replace("_", "-") if pod else ""
    for runtime, name, show in _NAMED:
        match = name.fullmatch(part)
        if match:
            return runtime, show(match[1]), ""
    if above == "lxc":
        return "lxc", printable(part), ""
    return None
