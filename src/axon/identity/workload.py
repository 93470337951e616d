"""Who a series belongs to: systemd unit, container or process."""

from __future__ import annotations

from dataclasses import dataclass

from axon.identity.containers import Containers
from axon.identity.place import Place, place

UNKNOWN = "unknown"
"""A client of which nothing is known: its connection is older than the agent."""

_SHORT = 12  # digits of a container's id that people know it by


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
    """Names of units and containers by cgroup path, each looked up once."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._known: dict[str, tuple[Place, str, str]] = {}

    def workload(self, path: str, process: str, port: int) -> Workload:
        """Return who runs in a cgroup: its container or unit, or else the process.

        `port` is what the process listens on, 0 if nothing.
        """
        if path not in self._known:
            self._known[path] = self._look_up(path)
        where, name, namespace = self._known[path]
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

    def keep(self, paths: set[str]) -> None:
        """Forget all but these."""
        self._known = {path: known for path, known in self._known.items() if path in paths}

    def _look_up(self, path: str) -> tuple[Place, str, str]:
        where = place(path)
        if where.container:
            found = self._containers.find(where.container, path)
            if found:
                return where, f"{where.runtime}:{found.name}", found.project
            short = where.container[:_SHORT] if len(where.container) == 64 else where.container
            return where, f"{where.runtime}:{short}", ""
        return where, where.unit, where.slice if where.unit else ""
