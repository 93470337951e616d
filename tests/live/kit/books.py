"""What a test expects to be counted, held against an attached Axon: now, and again at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import pytest

from tests.live.kit.axon import ROLES, Axon, Row

_DOUBT = "LOST_TENTATIVE"
T = TypeVar("T")
Expected = Mapping[str, int] | Iterable[str]


def wait_for(look: Callable[[], T], good: Callable[[T], bool], seconds: float = 5.0) -> T:
    """Look until it is good or time is up; return the last look."""
    deadline = time.monotonic() + seconds
    while not good(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return seen


class Books:
    """A test's view of an Axon: series of its own ports, counters since it began.

    `sent_again` returns how many segments the test's TCPs have sent again.
    """

    def __init__(self, axon: Axon, sent_again: Callable[[], int] = lambda: 0) -> None:
        self.axon = axon
        self._sent_again = sent_again
        self._before = axon.stats()
        self._before_again = sent_again()
        self._expected: dict[tuple[int, str], Counter[str]] = {}
        self._lost: dict[str, int] = {}
        self._from: dict[tuple[int, str], Counter[str]] = {}

    def from_now(self, port: int) -> None:
        """Have `expect` look only at what is counted from now on: the port's server is shared."""
        for role in ROLES:
            self._from[port, role] = self.axon.tally(port, role)

    def tally(self, port: int, role: str) -> Counter[str]:
        """Return how many requests of each series were counted at a server's port."""
        return self.axon.tally(port, role) - self._from.get((port, role), Counter())

    def expect(
        self,
        port: int,
        both: Expected = (),
        *,
        server: Expected | None = None,
        client: Expected | None = None,
        seconds: float = 5.0,
    ) -> None:
        """Fail unless exactly these series of a server's port were counted, by role.

        Looks for a while, since the end of a connection takes a moment to arrive; and looks again
        at the test's end, when its connections are closed, so that nothing may be counted twice.
        """
        for role, expected in (("server", server), ("client", client)):
            wanted = Counter(both if expected is None else expected)
            self._expected[port, role] = wanted
            seen = wait_for(lambda r=role: self.tally(port, r), wanted.__eq__, seconds)  # type: ignore[misc]
            self._hold(wanted, seen, f"as {role} of port {port}")

    def row(self, port: int, role: str, line: str) -> Row:
        """Return the one series of a port that reads `line`."""
        found = [r for r in self.axon.rows(port) if (r.role, r.text) == (role, line)]
        if len(found) != 1:
            pytest.fail(f"{len(found)} series {line!r} as {role} of {port}: {self.axon.rows(port)}")
        return found[0]

    def rows(self, port: int, line: str) -> list[Row]:
        """Return the series of both roles that reads `line`: the server's, the client's."""
        return [self.row(port, role, line) for role in ROLES]

    def since(self, name: str) -> int:
        """Return by how much a counter has grown since the test began."""
        return self.axon.stats()[name] - self._before[name]

    def expect_stat(self, name: str, count: int) -> None:
        """Fail unless a counter has grown by so much since the test began."""
        if name.startswith("LOST_"):
            self._lost[name] = count
        seen = wait_for(lambda: self.since(name), count.__eq__)
        if seen != count:
            pytest.fail(f"{name} grew by {seen}, not {count}; {self._since()}")

    def accept(self, *names: str) -> None:
        """Let counters of losses have grown by what they have."""
        for name in names:
            self._lost[name] = self.since(name)

    def close(self) -> None:
        """Fail if anything more was counted since it was expected, or lost without a word."""
        if self._expected:
            time.sleep(0.02)
        for (port, role), wanted in self._expected.items():
            self._hold(wanted, self.tally(port, role), f"at the end, as {role} of port {port}")
        lost = {k: n for k, n in self._since().items() if k.startswith("LOST_")}
        # A slow machine's TCP sends again what waits for its process. Whether that is the same is told
        # of some of it only; what was counted is held above.
        if lost.get(_DOUBT, 0) <= self._sent_again() - self._before_again and not self._lost.get(
            _DOUBT
        ):
            lost.pop(_DOUBT, None)
        expected = {k: n for k, n in self._lost.items() if n}
        if lost != expected:
            pytest.fail(f"lost at the end: {lost}, expected: {expected}")

    def _hold(self, wanted: Counter[str], seen: Counter[str], where: str) -> None:
        """Fail with what is missing and what is too much."""
        missing, extra = dict(wanted - seen), dict(seen - wanted)
        if missing or extra:
            pytest.fail(f"{where}: missing {missing}, too much {extra}; {self._since()}")

    def _since(self) -> dict[str, int]:
        after = self.axon.stats()
        return {k: after[k] - n for k, n in self._before.items() if after[k] != n}
