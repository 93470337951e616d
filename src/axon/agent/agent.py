"""The agent: attaches, looks once a second, serves; one process, one thread, one loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from axon.agent import matching, process
from axon.agent.observers import Observer, Observers, Wants
from axon.agent.points import refuse_others
from axon.agent.pump import Pump
from axon.agent.report import Report
from axon.agent.serving import Serving, cancelled
from axon.agent.systemd import notify
from axon.agent.ticker import Ticker
from axon.api import policy as api_policy
from axon.api import schema
from axon.api.filters import FlowFilter
from axon.api.server import Server
from axon.errors import AxonError
from axon.export import own, policy
from axon.export.families import Family
from axon.kernel import attach
from axon.kernel.system import cgroup_root
from axon.log import get
from axon.routes import read_patterns
from axon.settings import Settings

if TYPE_CHECKING:
    from axon.agent.policies import Policies
    from axon.policy.compiler.compile import Compiled

_TICK = 1.0
_SOON = 0.1
_LATE = 5.0
_LINKS_EVERY = 5
_RETURN_EVERY = 10
_log = get("agent")


class Agent:
    """Everything that runs between `start` and `stop`. It is the API's source as well.

    `start` raises an AxonError that says what to do when Axon cannot run here.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._closing = AsyncExitStack()
        self._problem = "The programs are not attached yet."
        self._looked = 0.0
        self._ticks = 0
        self._attached = False
        self._encoded = b""
        self._failed = False
        self._policies: Policies | None = None
        self._serving: Serving | None = None
        self._compiled: Compiled | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._failed = kind is not None and issubclass(kind, Exception)
        await self.stop()

    async def start(self) -> None:
        """Attach and begin to serve. On failure nothing is left behind but what was there before."""
        try:
            await self._start()
        except BaseException:
            self._failed = True
            await self._closing.aclose()
            raise

    async def stop(self) -> None:
        """Stop serving; detach, or leave everything counting if the setting `keep` says so.

        Policies are left, in whatever mode, if the agent has failed, or if they are not its own.
        """
        notify("STOPPING=1")
        await self._closing.aclose()

    async def _start(self) -> None:
        settings = self._settings
        process.keep_memory_small()
        process.open_many_files()
        # Before anything is attached: what cannot be used leaves no trace.
        patterns = read_patterns(settings.routes) if settings.routes else ()
        policies = self._of_files()
        if policies:
            refuse_others(settings.pin_dir)
        self._attach(policies)
        kernel = self._kernel
        _log.info(
            "attached",
            pin_dir=settings.pin_dir,
            series=kernel.max_series,
            kernel_bytes=kernel.bytes_total,
            bytes_per_socket=kernel.bytes_per_socket,
        )
        self._steer()
        self._ticker = Ticker(settings, kernel, patterns)
        self._report = Report(settings, kernel, self._ticker)
        self._pump = Pump(kernel.ring(), kernel.ctl, self._take)
        self._observers = Observers(
            kernel.filters,
            kernel.ctl,
            ask=kernel.ask_cgroups,
            by_cgroup=kernel.abi.enum("ax_filter_field")["AX_FILTER_CGROUP"],
            drain=self._pump.read,
            start=self._pump.start,
            stop=self._pump.stop,
        )
        self._policies = self._enforced(policies)
        if self._policies and settings.traffic_hours:
            self._ticker.remember(settings.traffic_hours)
        self._tick()
        ticking = asyncio.create_task(self._ticking())
        self._closing.push_async_callback(cancelled, ticking)
        # Who has a port of ours does not keep policies from being looked after.
        patient = self._policies is not None
        self._serving = Serving(Server(self), settings, patient=patient)
        self._closing.push_async_callback(self._serving.close)
        await self._serving.start()
        # First of all at the end: streams are to write their last line.
        self._closing.callback(self._observers.finish_all)
        process.settle()
        notify("READY=1")

    def _attach(self, policies: Policies | None) -> None:
        """Attach; once more where policies have no room beside those that an earlier agent has left."""
        enforce = policies.enforce if policies else None
        self._kernel = attach(self._settings, enforce=enforce)
        self._closing.callback(self._let_go)
        if policies and policies.take_over(self._kernel.gate):
            self._closing.pop_all()
            self._kernel.close(detach=False)
            self._kernel = attach(self._settings, enforce=enforce, anew=True)
            self._closing.callback(self._let_go)

    def _steer(self) -> None:
        """Set what the programs take from user space while they run."""
        ctl, settings = self._kernel.ctl, self._settings
        ctl["slow_ns"] = round(settings.slow_ms * 1e6)
        ctl["flow_interval"] = _interval(settings.flow_rate)
        ctl["error_interval"] = _interval(settings.error_rate)

    def _told_by(self, compiled: Compiled | None) -> None:
        """Have requests told of as the policies in force ask for."""
        from axon.agent import told  # noqa: PLC0415 - see below

        told.tell_audited(self._kernel, compiled)
        if compiled is not self._compiled:
            self._compiled = compiled
            self._ticker.callers = told.callers(compiled)

    def _of_files(self) -> Policies | None:
        """Return the policies that are to be in force, if there are to be any."""
        return self._policies_of(self._settings.policy) if self._settings.policy else None

    def _policies_of(self, directory: Path | None) -> Policies:
        # 7 MB that an agent without policies does not need
        from axon.agent.policies import Policies  # noqa: PLC0415

        settings = self._settings
        return Policies(
            directory,
            cgroup_root(),
            settings.policy_labels,
            hold=settings.policy_hold,
            header=settings.policy_header,
        )

    def _enforced(self, policies: Policies | None) -> Policies | None:
        """Have policies in force and watched: those, or what an earlier agent has left.

        Those are looked after in mode off too, so that they judge as soon as it is another.
        """
        if policies is None and self._kernel.has_policies:
            refuse_others(self._settings.pin_dir)
            policies = self._policies_of(None)
        if policies:
            policies.begin(self._kernel)
            policies.points.start()
            self._closing.callback(policies.points.close)
            self._closing.callback(policies.ending.close)
        return policies

    def _let_go(self) -> None:
        pin_dir, judged = self._settings.pin_dir, self._kernel.judges
        waiting = self._kernel.has_policies and not judged
        keep = self._settings.keep or self._must_stay()
        self._kernel.close(detach=not keep)
        _log.info("left counting" if keep else "detached", pin_dir=pin_dir)
        if judged and keep:
            _log.info("policies stay in force; `axon detach` ends them", pin_dir=pin_dir)
        elif waiting and keep:
            _log.info("policies stay, in mode off; `axon detach` ends them", pin_dir=pin_dir)
        elif judged:
            _log.warning("policies are not in force any more: every request is let by")

    def _must_stay(self) -> bool:
        """Return whether what is attached stays although it is not to be kept."""
        policies = self._kernel.has_policies
        if self._failed:
            return self._kernel.inherited or (policies and self._looked > 0)
        return policies and self._settings.policy is None

    # --- once a second -------------------------------------------------------------------------------

    async def _ticking(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + _TICK
        while True:
            while (left := due - loop.time()) > 0:
                await asyncio.sleep(min(left, _SOON) if self._pump.pressed else left)
                if self._pump.pressed:
                    self._fault(self._pump.read)
            # What was missed while the machine stood still is not made up for.
            due = max(due + _TICK, loop.time() + _TICK / 2)
            # Whatever fails, this goes on: without its looks nobody would learn of it.
            self._problem = self._fault(self._tick) or self._problem

    def _tick(self) -> None:
        began = time.perf_counter()
        # Each whatever has failed before, and policies early: who has started waits to be known.
        looks = (
            self._pump.read,
            self._look_at_policies,
            self._ticker.look,
            self._look_for_cgroups,
            self._look_at_links,
        )
        problem = "\n".join(dict.fromkeys(filter(None, map(self._fault, looks))))
        if not problem and not self._attached:
            problem = "A program is not attached any more; restart the agent."
        if problem and problem != self._problem:
            _log.error("unhealthy", problem=problem)
        elif not problem:
            self._looked = time.monotonic()
            notify("WATCHDOG=1")
        self._problem = problem
        self._ticks += 1
        self._encoded = b""
        if self._ticks % _RETURN_EVERY == 0:
            process.return_memory()
        self._report.tick_seconds = time.perf_counter() - began

    def _fault(self, look: Callable[[], object]) -> str:
        """Look; return why that failed, or nothing."""
        try:
            look()
        except (OSError, AxonError) as error:
            return f"The kernel's tables cannot be read: {error}"
        except Exception as error:  # noqa: BLE001 - one look's fault must not end all looks
            problem = f"The agent failed at looking ({error!r}); its log says how."
            if problem not in self._problem:
                _log.exception("a look failed")
            return problem
        return ""

    def _look_at_policies(self) -> None:
        if self._policies:
            self._policies.look()
            self._told_by(self._policies.compiled)

    def _look_at_links(self) -> None:
        if self._ticks % _LINKS_EVERY == 0:
            self._attached = self._kernel.links_alive()

    def _look_for_cgroups(self) -> None:
        self._observers.refresh()
        if not self._observers.by_cgroup:
            self._ticker.watch_cgroups(on=False)

    def _take(self, flows: matching.Flows) -> None:
        self._ticker.take(flows)
        self._observers.dispatch(flows)

    # --- what the API asks ---------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Return the last look as JSON, encoded once a tick; empty before the first."""
        if not self._encoded and self._ticker.snapshot is not None:
            self._encoded = self._report.encoded(self._ticker.snapshot)
        return self._encoded

    def shown(self) -> schema.Snapshot:
        """Return the last look. Raises AxonError before the first."""
        if self._ticker.snapshot is None:
            raise AxonError("The agent has not looked yet; ask again in a second.")
        return self._report.snapshot(self._ticker.snapshot)

    def status(self) -> schema.Status:
        """Return the state of the agent and its programs."""
        return self._report.status(self._ticker.snapshot, self.health())

    def config(self) -> schema.Config:
        """Return the settings in force."""
        return self._report.config()

    def policies(self) -> api_policy.Policies:
        """Return the policies in force."""
        if self._policies is None:
            return api_policy.NONE
        return self._policies.report(self._ticker.servers())

    def traffic(self) -> api_policy.Traffic:
        """Return what was asked in the last hours."""
        memory = self._ticker.traffic
        if self._policies is None or memory is None or self._ticker.snapshot is None:
            return api_policy.FORGOTTEN
        memory.look(self._ticker.snapshot, now=True)
        return self._policies.traffic(memory, self._ticker.name)

    def look(self) -> api_policy.Policies:
        """Take up what has changed in the policies' files; return those in force then."""
        if self._policies:
            self._policies.look(now=True)
            self._told_by(self._policies.compiled)
        return self.policies()

    def health(self) -> schema.Health:
        """Return whether the last look succeeded, and was not long ago."""
        problem = self._problem
        if not problem and time.monotonic() - self._looked > _LATE:
            problem = "The agent has not looked for some seconds: this machine is overloaded."
        if not problem and self._policies:
            mine = self._policies
            problem = mine.points.problem or mine.held or mine.fault
        if not problem and self._serving:
            problem = self._serving.problem
        return schema.Health(ok=not problem, problem=problem)

    def ready(self) -> schema.Health:
        """Return whether the programs are attached and have been read once."""
        ready = self._looked > 0
        return schema.Health(ok=ready, problem="" if ready else self._problem)

    def recent(self, wanted: FlowFilter, last: int) -> list[schema.Flow]:
        """Return up to `last` of the newest flows kept that pass the filter, oldest first."""
        if not last:
            return []
        self._pump.read()
        store, reader = self._ticker.store, self._ticker.reader
        return reader.read(store.newest(last, lambda flows: self._passes(wanted, flows)))

    def follow(self, wanted: FlowFilter, *, rate: float, limit: int) -> Observer:
        """Begin a stream of at most `rate` flows a second, and `limit` in all unless that is 0."""
        ticker = self._ticker
        cgroups = matching.cgroups_for(wanted)
        if cgroups:
            ticker.watch_cgroups(on=True)
        wants = Wants(
            ticker.reader.read,
            (lambda: cgroups.which(ticker.named_cgroups())) if cgroups else None,
            lambda records: self._is_of(wanted, records),
            exact=cgroups.exact if cgroups else not wanted.service,
        )
        record = matching.compile_filter(self._kernel.abi, wanted, cgroups)
        return self._observers.open(record, wants, rate=rate, limit=limit)

    def finish(self, stream: int) -> schema.Finish | None:
        """End a stream by its id; None if there is none."""
        return self._observers.finish(stream)

    def families(self) -> list[Family]:
        """Return all metrics as of the last tick."""
        snapshot = self._ticker.snapshot
        if snapshot is None:
            return []
        vitals = self._report.vitals(snapshot, healthy=self.health().ok)
        found = [*self._ticker.families(), *own.families(vitals)]
        if self._policies:
            mine = self._policies
            found += policy.families(mine.verdicts(), mine.denials())
            points, ended = mine.points, mine.ending.counts
            found += policy.watch(points.states, points.repairs, ended, current=mine.current)
        return found

    def _passes(self, wanted: FlowFilter, flows: matching.Flows) -> matching.Mask:
        mask = matching.passes(self._kernel.abi, wanted, flows)
        if wanted.service:
            mask[mask] = self._is_of(wanted, flows[mask])
        return mask

    def _is_of(self, wanted: FlowFilter, flows: matching.Flows) -> matching.Mask:
        """Return which flows are of the wanted service, which the kernel does not know."""
        if not wanted.service:
            return np.ones(len(flows), np.bool_)
        mask = self._ticker.reader.serves(flows, wanted.service)
        return ~mask if "service" in wanted.negate else mask


def _interval(rate: float) -> int:
    """Return the ns between records at a rate; 0 means none to the programs."""
    return round(1e9 / rate) if rate else 0
