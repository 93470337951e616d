"""Who a series belongs to: systemd unit, container or process."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from axon.identity.containers import Containers
from axon.identity.place import Place, place

UNKNOWN = "unknown"
"""A client of which nothing is known: its connection is older than the agent."""

_SHORT = 12  # digits of a container's id that people know it by
_AT_ONCE = 2  # containers that are looked up again at a time, some files each

_Known = tuple[Place, str, str]
"""Where a cgroup is, the name of its unit or container, and what that belongs to."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A service of this host.

    `name` is what it is called: `nginx.service`, `docker:web`, `python3:8080`, `curl`. `namespace`
    is what it belongs to, such as a slice, a container's project or a Kubernetes namespace. The
    others are what is known beside it; what does not apply is empty.
    """

    name: str
    namespace: str = ""
    unit: str = ""
    runtime: str = ""
    container: str = ""
    process: str = ""
    cgroup: str = ""


class Places:
    """Names of units and containers by cgroup path, looked up when first asked for."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._known: dict[str, _Known] = {}

    def workload(self, path: str, process: str, port: int) -> Workload:
        """Return who runs in a cgroup: its container or unit, or else the process.

        `port` is what the process listens on, 0 if nothing.
        """
        where, name, namespace = self._place(path)
        if not name:
            name = process or ("" if port else UNKNOWN)
            if port:
                name = f"{name}:{port}"
        return Workload(
            name=name,
            namespace=namespace,
            unit=where.unit,
            runtime=where.runtime,
            container=where.container,
            process=process,
            cgroup=path,
        )

    def named(self, path: str) -> str:
        """Return what the unit or container of a cgroup is called; nothing where it is of none."""
        return self._place(path)[1]

    def keep(self, paths: Collection[str]) -> None:
        """Forget all but these."""
        self._known = {path: known for path, known in self._known.items() if path in paths}

    def again(self) -> set[str]:
        """Look for the names of some containers again, in turn; return the paths of those that have changed.

        One may have been renamed, or its runtime's files could not be read. What has a name keeps it
        while there is none to be found.
        """
        changed = set()
        containers = (path for path, (where, *_) in self._known.items() if where.container)
        for path in list(islice(containers, _AT_ONCE)):
            before = self._known.pop(path)
            after = self._known[path] = self._named(before[0]) or before
            if after != before:
                changed.add(path)
        return changed

    def _place(self, path: str) -> _Known:
        if path not in self._known:
            self._known[path] = self._look_up(path)
        return self._known[path]

    def _look_up(self, path: str) -> _Known:
        where = place(path)
        if where.container:
            short = where.container[:_SHORT] if len(where.container) == 64 else where.container
            return self._named(where) or (where, f"{where.runtime}:{short}", "")
        return where, where.unit, where.slice if where.unit else ""

    def _named(self, where: Place) -> _Known | None:
        """Return what a container is called by its runtime's files, or None."""
        found = self._containers.find(where.container, where.path)
        return (where, f"{where.runtime}:{found.name}", found.project) if found else None
