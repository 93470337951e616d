"""Asks servers in turn from the client's CPU: the program of load.c, compiled and run."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bench.cable import Cable
from bench.report import ROOT
from bench.world import CLIENT_CPU, SERVER_CPU, BenchError, start


class Asked(NamedTuple):
    """What came of one server's turns."""

    ok: int  # answers 200
    denied: int  # and 403
    rate: float  # answers a second of its turns
    server_us: float  # that the server's core was not idle, an answer
    both_us: float  # and the client's core too
    busy: float  # share of the turns in which the server's core was not idle
    p99_us: float


class Way(NamedTuple):
    """How servers are asked."""

    connections: int
    close: bool = False  # a connection for each request
    rate: int = 0  # requests a second; 0: as many as there are answers
    turn_ms: float = 50
    warm_ms: float = 5


class Asker:
    """The compiled program."""

    def __init__(self, folder: Path, group: Path) -> None:
        self._program = folder / "load"
        self._group = group
        subprocess.run(
            ["gcc", "-O2", "-Wall", "-Werror", str(ROOT / "bench" / "load.c"), "-o", str(self._program)],
            check=True,
        )  # fmt: skip

    def __call__(
        self, end: Cable, urls: Mapping[str, str], way: Way, *, seconds: float
    ) -> dict[str, Asked]:
        """Ask each of the servers (":PORT/PATH" by name) in turns, from the other end of a cable.

        Raise BenchError if a connection broke, or an answer is neither 200 nor 403.
        """
        numbers = (
            seconds, way.turn_ms, way.warm_ms, way.rate, way.connections, int(way.close), SERVER_CPU, CLIENT_CPU,
        )  # fmt: skip
        command = [
            str(self._program),
            *map(str, numbers),
            *(end.address + url for url in urls.values()),
        ]
        client = start(
            end.there(command), cpu=CLIENT_CPU, group=self._group, stdout=subprocess.PIPE
        )
        out, _ = client.communicate()
        lines = out.splitlines()
        if client.returncode or len(lines) != len(urls):
            raise BenchError(f"the load generator ended with {client.returncode}")
        found = {}
        for name, line in zip(urls, lines, strict=True):
            ok, denied, others, broken, within, time, on_server, on_client, _, p99 = map(
                int, line.split()
            )
            if others or broken or not within:
                raise BenchError(
                    f"{name}: {others} answers of another status, {broken} broken connections"
                )
            found[name] = Asked(
                ok=ok, denied=denied, rate=within * 1e9 / time, server_us=on_server / within / 1e3,
                both_us=(on_server + on_client) / within / 1e3, busy=on_server / time, p99_us=p99 / 1e3,
            )  # fmt: skip
        return found
