"""How long policies take to come into force: all of them from nothing, and a change of one among them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from axon.policy.compiler.compile import Host
from axon.policy.enforcer import Enforcer
from axon.policy.files.load import Library
from bench.cable import LOOPBACK
from bench.policy.rules import policy
from bench.policy.world import judging
from bench.report import Table
from bench.world import BenchError, cgroup, nginx, require

_PORT = 18761
_ELSEWHERE = 30_000
_RULES = 100
_OPEN = "/count"  # allowed by the last rules


class _Took(NamedTuple):
    """Milliseconds that the files took to be read, and policies to be judged by from then on."""

    read: float
    forced: float


def measure(*, rounds: int = 3, changes: int = 9) -> Table:
    """Measure from the files of a directory to the answer to a request that is judged by them."""
    require("nginx")
    table = Table(
        "Policies come into force", "make bench BENCH=policy/changes",
        ["policies, of 100 rules each", "files read, ms", "in force from then on, ms"],
    )  # fmt: skip
    with ExitStack() as all_:
        ours = all_.enter_context(cgroup("judged"))
        all_.enter_context(nginx(ours, _PORT))
        for count in (1, 1000):
            whole: list[_Took] = []
            single: list[_Took] = []
            for _ in range(rounds):
                with _standing(ours, count) as place:
                    whole.append(place.take_up(closed=False))
                    for i in range(changes):
                        place.write(closed=i % 2 == 0)
                        single.append(place.take_up(closed=i % 2 == 0))
            table.rows.append([f"{count:,}, from nothing", *_cells(whole)])
            table.rows.append([f"{count:,}, of which one changes", *_cells(single)])
            if count > 1:
                table.brief += [
                    ("100,000 rules in 1,000 policies, in force from nothing", _seconds(whole)),
                    ("One of those policies changed, in force", _worst(single)),
                ]
    table.notes.append(
        f"Median and, in brackets, the longest of {rounds} times from nothing and {rounds * changes} changes, each policy in a file of "
        "its own. Read: every file is looked at, and those that are new or have changed are parsed. In force: compiled, written "
        "into the kernel's maps and switched to, up to the answer of nginx, or the 403, to a request that the change decides. An "
        "agent looks at its files once a second, and takes a change up when it has stood still for a look, which is not in it."
    )
    return table


class _Place:
    """A directory of policies, of which one is for the server here."""

    def __init__(self, folder: Path, enforcer: Enforcer) -> None:
        self._folder = folder
        self._enforcer = enforcer
        self._library = Library()

    def write(self, *, closed: bool) -> None:
        """Have the one policy allow what is asked, or not."""
        text = policy(_PORT, _RULES)
        if closed:
            text = text.replace(f'"{_OPEN}"', '"/closed"')
        (self._folder / "own.yaml").write_text(text, encoding="utf-8")

    def take_up(self, *, closed: bool) -> _Took:
        """Read the files, have them in force, and ask."""
        began = time.perf_counter()
        policies = self._library.load([self._folder])
        read = time.perf_counter()
        self._enforcer.apply(policies, Host())
        status = _ask()
        done = time.perf_counter()
        if status != (403 if closed else 200):
            raise BenchError(f"a request was answered by {status}: it is not judged by the change")
        return _Took((read - began) * 1e3, (done - read) * 1e3)


@contextmanager
def _standing(group: Path, count: int) -> Iterator[_Place]:
    """Write so many policies for servers that nobody asks but one; none is in force yet."""
    with ExitStack() as all_:
        folder = Path(all_.enter_context(TemporaryDirectory(prefix="axon-bench-")))
        _, enforcer = all_.enter_context(judging(group, [LOOPBACK.ifindex]))
        for i in range(count - 1):
            text = policy(_ELSEWHERE + i, _RULES)
            (folder / f"{i}.yaml").write_text(text, encoding="utf-8")
        place = _Place(folder, enforcer)
        place.write(closed=False)
        yield place


def _ask() -> int:
    asking = HTTPConnection("127.0.0.1", _PORT, timeout=10)
    try:
        asking.request("GET", _OPEN)
        return asking.getresponse().status
    finally:
        asking.close()


def _cells(took: list[_Took]) -> list[str]:
    return [
        f"{median(values):,.1f} ({max(values):,.1f})"
        for values in ([t.read for t in took], [t.forced for t in took])
    ]


def _seconds(took: list[_Took]) -> str:
    forced = median(t.forced for t in took) / 1e3
    return (
        f"{forced:.2f} s, and {median(t.read for t in took) / 1e3:.1f} s before to read their files"
    )


def _worst(took: list[_Took]) -> str:
    return f"{median(t.forced for t in took):.0f} ms, and {median(t.read for t in took):.0f} ms before to read its file"
