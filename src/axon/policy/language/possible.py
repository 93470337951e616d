"""Who there can be on a host, by the labels that Axon gives: what nobody there can meet.

Who is in a unit or in a container is called by it, whatever the command and port. All others are called
by their command, and servers by their port as well. The labels of callers on other hosts are the user's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final

from axon.policy.language.labels import (
    COMMAND,
    COMMAND_BYTES,
    CONTAINER,
    DERIVED,
    PORT,
    SERVICE,
    UNIT,
    Operator,
    Requirement,
)

RUNTIMES: Final = frozenset(
    {"docker", "podman", "cri-o", "containerd", "buildah", "lxc", "machine", "pod", "container"}
)
"""What stands in front of a container's name in axon.dev/service."""

PORTS: Final = 65535
_OTHER = "\0"  # a name, command or port that no requirement names
_PORT = re.compile(r"[1-9][0-9]{0,4}")


def is_port(text: str) -> bool:
    """Return whether a text is a port's number as labels have it."""
    return bool(_PORT.fullmatch(text)) and int(text) <= PORTS


def is_unit(service: str) -> bool:
    """Return whether a service can be a unit."""
    return service.endswith(".service")


def is_container(service: str) -> bool:
    """Return whether a service can be a container."""
    runtime, _, name = service.partition(":")
    return runtime in RUNTIMES and bool(name)


def is_server(service: str) -> bool:
    """Return whether a service can be a server by its command and port."""
    command, _, port = service.rpartition(":")
    return is_port(port) and 0 < len(command.encode()) <= COMMAND_BYTES


def is_caller(service: str) -> bool:
    """Return whether a service can be a caller by its command."""
    return ":" not in service and not is_unit(service) and len(service.encode()) <= COMMAND_BYTES


class Somebody:
    """Whoever meets some requirements, of all workloads (`server`) or callers that there can be."""

    def __init__(self, requirements: Iterable[Requirement], *, server: bool) -> None:
        own = [r for r in requirements if r.key in DERIVED]
        self._asked = {key: _Asked([r for r in own if r.key == key]) for key in DERIVED}
        self._server = server
        services = self._asked[SERVICE].values
        servers = [one.rpartition(":") for one in services if server and is_server(one)]
        named = {*self._asked[PORT].values, *(port for _, _, port in servers)}
        self.ports = frozenset(int(port) for port in named if is_port(port))
        """The ports that are named."""
        self.by = PORT if self._asked[PORT].values else SERVICE
        """By which label."""
        callers = () if server else services
        self._named = {*self._asked[COMMAND].values, *(c for c, _, _ in servers), *callers}

    @cached_property
    def exists(self) -> bool:
        """Whether there can be such a one."""
        if not self._server:
            without = all(one.met_by(None) for one in self._asked.values())
            return without or self._at(None)  # on another host Axon gives no labels
        return self.elsewhere or any(map(self.at, self.ports))

    @cached_property
    def elsewhere(self) -> bool:
        """Whether a workload can be asked at a port that is not named."""
        return len(self.ports) < PORTS and self._at(_OTHER)

    def at(self, port: int) -> bool:
        """Return whether a workload can be asked at a port that is named."""
        return self._at(str(port))

    def between(self, first: int, last: int) -> bool:
        """Return whether a workload can be asked at one of the ports from the first to the last."""
        named = [port for port in self.ports if first <= port <= last]
        if len(named) <= last - first and self.elsewhere:
            return True
        return any(map(self.at, named))

    def _at(self, port: str | None) -> bool:
        if not self._asked[PORT].met_by(port):
            return False
        return (self._placed and bool(self._commands)) or self._by_command(port)

    @cached_property
    def _commands(self) -> list[str]:
        return [one for one in {*self._named, _OTHER} if self._asked[COMMAND].met_by(one)]

    @cached_property
    def _placed(self) -> bool:
        """Whether a unit or container will do."""
        unit, container, service = (self._asked[key] for key in (UNIT, CONTAINER, SERVICE))
        if container.met_by(None):
            units = {*unit.values, *service.values, f"{_OTHER}.service"}
            if any(is_unit(one) and unit.met_by(one) and service.met_by(one) for one in units):
                return True
        if not unit.met_by(None):
            return False
        names = {*container.values, *(one.partition(":")[2] for one in service.values), _OTHER}
        return any(
            container.met_by(name) and any(service.met_by(f"{one}:{name}") for one in RUNTIMES)
            for name in names - {""}
        )

    def _by_command(self, port: str | None) -> bool:
        """Return whether one who is in neither will do."""
        service = self._asked[SERVICE]
        if not (self._asked[UNIT].met_by(None) and self._asked[CONTAINER].met_by(None)):
            return False
        if port is None:
            # A command that looks like a unit or a container is called nothing.
            return any(service.met_by(c if is_caller(c) else "") for c in self._commands)
        return any(service.met_by(f"{c}:{port}") for c in self._commands)


class _Asked:
    """All that is asked of one label; `values` are those that are named."""

    def __init__(self, requirements: Sequence[Requirement]) -> None:
        operators = {r.operator for r in requirements}
        listed = [set(r.values) for r in requirements if r.operator is Operator.IN]
        self.values = frozenset(value for r in requirements for value in r.values)
        self._wanted = set.intersection(*listed) if listed else None
        self._unwanted = {
            value for r in requirements if r.operator is Operator.NOT_IN for value in r.values
        }
        self._present = Operator.EXISTS in operators or bool(listed)
        self._absent = Operator.DOES_NOT_EXIST in operators

    def met_by(self, value: str | None) -> bool:
        """Return whether a label's value will do; None where there is none."""
        if value is None:
            return not self._present
        if self._absent or value in self._unwanted:
            return False
        return self._wanted is None or value in self._wanted


def conflict(requirements: Sequence[Requirement], *, server: bool) -> list[Requirement]:
    """Return as few requirements as it takes that nobody meets together; none if somebody can."""
    asked = [r for r in requirements if r.key in DERIVED]
    if not asked or Somebody(asked, server=server).exists:
        return []
    for one in list(asked):
        fewer = [r for r in asked if r is not one]
        if not Somebody(fewer, server=server).exists:
            asked = fewer
    return asked
