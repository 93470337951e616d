"""What happens once a second: look, learn routes and ends, name, group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axon.agent.carries import Carries
from axon.agent.endpoints import Rows
from axon.agent.ends import Ends
from axon.agent.flows import Reader, Store
from axon.agent.inflight import InFlight
from axon.agent.matching import Flows
from axon.agent.names import Names
from axon.agent.servers import Server, asked
from axon.agent.traffic import Traffic
from axon.api import schema
from axon.arrays import distinct
from axon.export.active import Role
from axon.export.exporter import Exporter
from axon.export.families import Family
from axon.export.series import Series
from axon.identity import Identity
from axon.identity.sockets import addresses_in
from axon.kernel import Kernel
from axon.kernel.system import cgroup_root
from axon.routes import Pattern, RouteManager
from axon.settings import Settings
from axon.snapshot import Collector, Snapshot

LEDGER = "retired.json"


class Ticker:
    """Everything between the kernel's maps and what is shown of them."""

    def __init__(self, settings: Settings, kernel: Kernel, patterns: Sequence[Pattern]) -> None:
        """`patterns` are the user's routes."""
        self._collector = Collector(
            kernel,
            ledger=settings.run_dir / LEDGER,
            window_seconds=settings.window_seconds,
            idle_seconds=settings.idle_seconds,
        )
        self._routes = RouteManager(
            kernel,
            patterns,
            learn=settings.learn_routes,
            max_routes=settings.max_routes,
        )
        self._abi = kernel.abi
        self._identity = Identity(cgroup_root())
        self._ends = Ends(kernel.abi, self._identity, clients="client" in settings.roles)
        self._names = Names(kernel.abi, self._routes.text, self._ends.of_series, self._ends.peer)
        self._in_flight = InFlight(kernel, self._ends.of_series)
        self._carries = Carries(settings.run_dir, int(kernel.ctl["secret"][0]))
        self._generation = np.zeros(0, np.int64)
        self.store = Store(kernel.abi.flow, settings.flows_kept)
        self.callers: Mapping[int, str] = {}
        """Labels of callers by their number in the policies that are in force."""
        self.reader = Reader(
            kernel.abi,
            self._ends.of_flow,
            self._routes.text,
            policy=kernel.gate.policy_name,
            caller=lambda number: self.callers.get(number, str(number)),
        )
        self.exporter = Exporter(legacy=settings.legacy_metrics)
        self._carries.restore(self.exporter)
        self._clients = "client" in settings.roles
        self.traffic: Traffic | None = None
        """What was asked in the last hours; None unless it is remembered."""
        self.snapshot: Snapshot | None = None
        """The last look; None before the first."""
        self.rows: Rows = np.zeros(0, np.intp)
        """(n,) the index in `series` of each row of the snapshot."""

    @property
    def series(self) -> list[Series]:
        """Every distinct series by its names."""
        return self._names.series

    @property
    def problems(self) -> list[str]:
        """What does not work as it should, and what to do about it."""
        found = (self._collector.problem, self._routes.problem, self._carries.problem)
        return [problem for problem in found if problem]

    def look(self) -> Snapshot:
        """Take one look. Raises OSError or KernelError when the maps cannot be read."""
        snapshot = self._collector.tick()
        self._routes.update(snapshot.keys, snapshot.keys[self._new(snapshot)])
        superseded = self._routes.superseded(snapshot.keys)
        if superseded.any():
            self._collector.hurry(snapshot.slots[superseded])
        self._names.forget(*self._ends.refresh())
        self.rows = self._names.of(snapshot)
        self.exporter.update(snapshot, self.rows, self.series)
        self.snapshot = snapshot
        self._carries.keep(self.exporter)
        if self.traffic:
            self.traffic.look(snapshot)
        return snapshot

    def families(self) -> list[Family]:
        """Return the metrics of requests: counted as of the last look, in flight as of now."""
        if self.snapshot is None:
            return []
        # Series of "other" have no workload of their own, which requests in flight always have.
        counted = (self.snapshot.count > 0) & (self.snapshot.keys["cgroup"] > 0)
        series = [self.series[i] for i in distinct(self.rows[counted]).tolist()]
        return [*self.exporter.families(), *self._in_flight.families(series)]

    def in_flight(self) -> dict[Role, schema.InFlight]:
        """Return what each side has in flight; nothing where the kernel cannot tell."""
        return self._in_flight.status()

    def take(self, flows: Flows) -> None:
        """Take in flow records."""
        self.store.add(flows)
        if self.traffic:
            self.traffic.take(flows)
        self._names.forget(set(), self._ends.learn(flows))

    def named_cgroups(self) -> dict[int, str]:
        """Return what the unit or container of each cgroup is called that has one."""
        return self._identity.named()

    def watch_cgroups(self, *, on: bool) -> None:
        """Have every look find the cgroups that are new, because somebody waits for them."""
        self._identity.watch(on=on)

    def remember(self, hours: float) -> None:
        """Begin to remember what is asked."""
        self.traffic = Traffic(
            self._abi,
            self._routes.text,
            lambda: set(addresses_in(Path("/proc/self/net"))),
            hours=hours,
            clients=self._clients,
        )

    def name(self, cgroup: int, command: str, port: int | None) -> str:
        """Return what the server of a port, or without one a caller, is called."""
        serves = port is not None
        return self._identity.workload(cgroup, command, port or 0, server=serves).name

    def servers(self) -> list[Server]:
        """Return who serves on this host: who was asked something, and who was seen to listen."""
        listening = [Server(*one) for one in self._identity.servers()]
        if self.snapshot is None:
            return listening
        return [*asked(self._abi, self.snapshot, self.rows, self.series), *listening]

    def _new(self, snapshot: Snapshot) -> NDArray[np.bool_]:
        """Return (n,) which rows were not there at the last look."""
        more = int(snapshot.slots.max(initial=-1)) + 1 - len(self._generation)
        if more > 0:
            self._generation = np.append(self._generation, np.full(more, -1))
        new: NDArray[np.bool_] = self._generation[snapshot.slots] != snapshot.gens
        self._generation[snapshot.slots] = snapshot.gens
        return new
