"""What is counted of traffic, by whom and of whom: in slices of time, so that what is old goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

MOST = 10_000
"""Different things asked that are remembered: 4 MB at most."""

_SLICES = 6


class Workload(NamedTuple):
    """A server as the kernel knows it."""

    cgroup: int
    command: str
    port: int


class Local(NamedTuple):
    """A caller on this host, and the address that it comes from."""

    cgroup: int
    command: str
    address: str


Caller = Local | str | None
"""A caller on this host, the address of another one, or None where callers are not told apart."""


class Asked(NamedTuple):
    """What is counted together. Of what was denied `route` is the path."""

    workload: Workload
    caller: Caller
    method: str
    route: str


class Counts:
    """Counts of what was asked in the last hours, in slices of time of which the oldest goes."""

    def __init__(self, hours: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._length = hours * 3600 / _SLICES
        self._slices: deque[dict[Asked, int]] = deque([{}], maxlen=_SLICES)
        self._until = clock() + self._length
        self.lost = 0
        """Requests that there was no room for."""

    def turn(self) -> bool:
        """Begin a new slice if it is time to; return whether it was."""
        if self._clock() < self._until:
            return False
        self._slices.append({})
        self._until = self._clock() + self._length
        return True

    def add(self, asked: Asked, count: int, most: int = MOST) -> None:
        """Count requests, unless there are `most` things already and this is another one."""
        newest = self._slices[-1]
        if asked in newest:
            newest[asked] += count
        elif sum(map(len, self._slices)) < most:
            newest[asked] = count
        else:
            self.lost += count

    def total(self) -> dict[Asked, int]:
        """Return everything that is remembered."""
        found: dict[Asked, int] = {}
        for part in self._slices:
            for asked, count in part.items():
                found[asked] = found.get(asked, 0) + count
        return found
