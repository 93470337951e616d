"""What the agent says about the host and about itself: the snapshot, the status, its own metrics."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import cast

import msgspec

from axon import __version__
from axon.agent import process
from axon.agent.endpoints import endpoints, requests, retired, totals
from axon.agent.ticker import Ticker
from axon.api import schema
from axon.export.own import Vitals, family_of
from axon.kernel import Kernel
from axon.settings import Settings, effective, show, table
from axon.snapshot import Snapshot


class Report:
    """Puts it together when it is asked for."""

    def __init__(self, settings: Settings, kernel: Kernel, ticker: Ticker) -> None:
        self._settings = settings
        self._kernel = kernel
        self._ticker = ticker
        self._stats = {
            number: name.removeprefix("AX_").lower()
            for name, number in kernel.abi.enum("ax_stat").items()
            if name != "AX_STAT_MAX"
        }
        self._roles = {
            role: kernel.abi.enum("ax_role")[f"AX_ROLE_{role.upper()}"]
            for role in ("server", "client")
        }
        self.started = time.time()
        self.tick_seconds = 0.0

    def encoded(self, snapshot: Snapshot) -> bytes:
        """Return the last look as the API gives it, in JSON.

        Thousands of endpoints as objects would take more memory than all that the agent keeps of
        them, so that only some are at a time.
        """
        blocks = [
            # What lies between the brackets of a list stands for as many of its entries.
            msgspec.Raw(msgspec.json.encode(block)[1:-1])
            for block in self._endpoints(snapshot)
        ]
        return msgspec.json.encode(self._shown(snapshot, cast("list[schema.Endpoint]", blocks)))

    def snapshot(self, snapshot: Snapshot) -> schema.Snapshot:
        """Return the last look as the API gives it."""
        return self._shown(snapshot, list(chain.from_iterable(self._endpoints(snapshot))))

    def _endpoints(self, snapshot: Snapshot) -> Iterator[list[schema.Endpoint]]:
        ticker = self._ticker
        return endpoints(snapshot, ticker.exporter.endpoints, ticker.rows, ticker.series)

    def _shown(self, snapshot: Snapshot, listed: list[schema.Endpoint]) -> schema.Snapshot:
        ticker, counters = self._ticker, self._counters(snapshot)
        sides = totals(snapshot, self._roles, ticker.rows, ticker.series)
        return schema.Snapshot(
            host=process.host_name(),
            time=time.time() - (time.monotonic_ns() - snapshot.t_ns) / 1e9,
            window=snapshot.window.seconds,
            slow=self._settings.slow_ms / 1000,
            endpoints=listed,
            server=sides["server"],
            client=sides["client"],
            lost={name: n for name, n in family_of(counters, "lost_").items() if n},
            connections=family_of(counters, "conn_"),
            notes=[*ticker.problems, *self._full(snapshot, counters)],
        )

    def vitals(self, snapshot: Snapshot, *, healthy: bool) -> Vitals:
        """Return what Axon's own metrics are made of."""
        return Vitals(
            version=__version__,
            kernel=process.kernel_release(),
            healthy=healthy,
            counters=self._counters(snapshot),
            requests=requests(snapshot, self._roles),
            retired=retired(snapshot, self._roles),
            tables=self._tables(snapshot),
            programs={
                name: (stat.run_cnt, stat.run_time_ns)
                for name, stat in self._kernel.program_stats().items()
            },
            kernel_bytes=self._kernel.bytes_total,
            bytes_per_socket=self._kernel.bytes_per_socket,
            tick_seconds=self.tick_seconds,
            started=self.started,
            cpu_seconds=process.cpu_seconds(),
            resident_bytes=process.resident_bytes(),
        )

    def status(self, snapshot: Snapshot | None, health: schema.Health) -> schema.Status:
        """Return the state of the agent and its programs."""
        settings = self._settings
        return schema.Status(
            version=__version__,
            pid=os.getpid(),
            started=self.started,
            attached=self._kernel.links_alive(),
            healthy=health.ok,
            problem=health.problem,
            pin_dir=str(settings.pin_dir),
            cgroup=show(settings.cgroup),
            metrics=show(settings.metrics_listen),
            kernel=process.kernel_release(),
            programs=[
                schema.Program(
                    name=name,
                    run_count=stat.run_cnt,
                    run_seconds=stat.run_time_ns / 1e9,
                    verified_instructions=stat.verified_insns,
                )
                for name, stat in sorted(self._kernel.program_stats().items())
            ],
            tables=[
                schema.Table(name=name, used=used, size=size)
                for name, (used, size) in self._tables(snapshot).items()
            ],
            kernel_bytes=self._kernel.bytes_total,
            bytes_per_socket=self._kernel.bytes_per_socket,
            resident_bytes=process.resident_bytes(),
            cpu_seconds=process.cpu_seconds(),
            snapshot_seconds=self.tick_seconds,
            counters=self._counters(snapshot) if snapshot else {},
            **self._ticker.in_flight(),
        )

    def config(self) -> schema.Config:
        """Return the settings in force."""
        return schema.Config(
            settings=[
                schema.Option(
                    name=row.name, value=row.value, source=row.source, help=table()[row.name].help
                )
                for row in effective(self._settings)
            ]
        )

    def _counters(self, snapshot: Snapshot) -> dict[str, int]:
        return {name: int(snapshot.stats[number]) for number, name in self._stats.items()}

    def _tables(self, snapshot: Snapshot | None) -> dict[str, tuple[int, int]]:
        taken = snapshot.taken if snapshot else 0
        return {"series": (taken, self._kernel.max_series)}

    def _full(self, snapshot: Snapshot, counters: Mapping[str, int]) -> list[str]:
        notes = []
        if snapshot.taken >= self._kernel.max_series:
            notes.append(
                f"All {self._kernel.max_series} series are taken: new ones are counted as other. "
                "Raise max_series."
            )
        if counters["info_routes_full"]:
            notes.append("The table of routes has been full: some requests are named other.")
        return notes
