"""Policies in force on this host: read again when their files or the host's cgroups change."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

from axon.agent.ending import Ending
from axon.agent.exchanges import Name, exchanges
from axon.agent.flows import denial_names
from axon.agent.listed import listed
from axon.agent.points import Points
from axon.agent.residents import Residents
from axon.agent.room import Room
from axon.agent.servers import Server
from axon.agent.traffic import Traffic
from axon.api import policy as api
from axon.errors import AxonError, PolicyError
from axon.kernel import Kernel
from axon.kernel.gate import Gate
from axon.kernel.system import wait_for_runs
from axon.log import get
from axon.policy.compiler.compile import Compiled, Host
from axon.policy.compiler.layout import HostMode
from axon.policy.enforcer import Enforcer
from axon.policy.files.directory import busy
from axon.policy.files.load import Library
from axon.policy.language.labels import Party
from axon.policy.language.model import Policy
from axon.policy.parties.given import Given

_LEFT = (
    "The policies in force are those of an earlier agent: set policy, or end them by axon detach."
)
_POINTS_EVERY = 5
_FORMER = 4096  # cgroups that are gone, of which labels are remembered
_PATIENCE = 5  # looks that are left out while somebody writes the files
_APART = 0.5  # seconds for which files have to stand still; at looks once a second it is one
_MOMENT, _MOMENTS = 0.05, 10  # the same where somebody waits, and how often that is tried
_WRITING = 100  # moments that a start waits at the most for who writes the files
_log = get("policy")


class _Said(NamedTuple):
    """What the files of policies and of labels say together."""

    policies: list[Policy]
    given: Given


class Policies:
    """The policies of a directory; without one, those that an earlier agent has left in force.

    `begin` comes first, then `look` once a second.
    """

    def __init__(
        self,
        directory: Path | None,
        cgroup_root: Path,
        labels: Path | None = None,
        *,
        hold: bool = False,
        header: bool = True,
    ) -> None:
        self._directory = directory
        self._labels = labels
        self._header = header
        self._library = Library(regular=True)
        self._cgroup_root = cgroup_root
        self._residents = Residents(cgroup_root, labels, hold=hold)
        self._enforcer: Enforcer | None = None
        self._asked: tuple[list[Policy], Host] | None = None
        self._refused: list[str] = []
        self._behind = ""
        """Why what is in force is not for who is on this host now; empty if it is."""
        self._room = Room()
        self._ticks = self._waited = self._moving = 0
        self.policies: list[Policy] = []
        """What is in force, with where it stands in the files."""
        self._former: dict[int, Party] = {}
        self.host = Host()
        """Who is on this host, as of what is in force."""
        self.compiled: Compiled | None = None
        """What is in force; None if an earlier agent brought it there."""
        self.problem = ""
        """Why the newest files are not in force; empty if they are."""
        self.fault = ""
        """Why what is in force does not follow this host, so that who starts is not known; empty if it does."""

    def enforce(self, gate: Gate) -> None:
        """Bring the policies into force in a gate; raise AxonError or OSError if that fails."""
        if gate.generation == 0:
            gate.mode = HostMode.ENFORCE
        gate.named = self._header
        self._enforcer = Enforcer(gate, wait_for_runs)
        self._wait()
        self._apply(self._enforcer)

    def take_over(self, gate: Gate) -> bool:
        """Go on from what an earlier agent has left in force; return whether that needs other maps.

        What the files say is too large to be written beside it then. Where it cannot be used for
        another reason what is in force stays.
        """
        if self._directory is None or self._enforcer or not gate.generation:
            return False
        gate.named = self._header
        self._enforcer = Enforcer(gate, wait_for_runs)
        self._wait()
        self._follow(self._enforcer)
        return self.compiled is None and self._enforcer.cramped

    def begin(self, kernel: Kernel) -> None:
        """Attach the gate, and bring the policies into force if there are none yet.

        Raise AxonError when they cannot be used.
        """
        self._kernel = kernel
        self.points = Points(kernel.gate)
        self.ending = Ending(kernel.gate, self._cgroup_root)
        if self._directory is None:
            mode = HostMode(kernel.gate.mode).name.lower()
            _log.warning("policies of an earlier agent stay; `axon detach` ends them", mode=mode)
        elif self._enforcer is None:
            self.enforce(kernel.gate)

    def look(self, *, now: bool = False) -> None:
        """Take up what has changed and stands still. What cannot be used is told in `problem`.

        `now`: somebody waits, so that files need to stand still for a moment only if it is who
        writes them and keeps others from it.
        """
        try:
            if self._ticks % _POINTS_EVERY == 0:
                self.points.look()
            self.ending.look()
        except OSError as error:
            _log.error("what is not judged cannot be looked at", problem=str(error))
        if self._enforcer:
            self._follow(self._enforcer, now=now)
        self._ticks += 1

    @property
    def held(self) -> str:
        """Why workloads that start are held and will stay so; empty if they will not."""
        gate = self._kernel.gate
        if self.compiled is None and gate.newest and gate.mode == HostMode.ENFORCE:
            return (
                "Workloads that start are held (policy_hold), and this agent has no files by which "
                "to know them: mend or set policy, or `axon policy mode audit`."
            )
        return ""

    @property
    def current(self) -> bool:
        """Whether what is in force is what the files say."""
        return self.compiled is not None and not self.problem and not self._moving

    def report(self, servers: Iterable[Server]) -> api.Policies:
        """Return what is in force; `servers` are those that policies may select."""
        gate = self._kernel.gate
        return api.Policies(
            directory=_absolute(self._directory),
            labels=_absolute(self._labels),
            mode=cast("api.HostMode", HostMode(gate.mode).name.lower()),
            generation=gate.generation,
            problem="\n".join(filter(None, (self.problem or self._left, self.held))),
            denials={reason: count for reason, count in self.denials().items() if count},
            policies=listed(self, servers),
        )

    @property
    def _left(self) -> str:
        return "" if self._directory else _LEFT

    def traffic(self, memory: Traffic, name: Name) -> api.Traffic:
        """Return what is remembered of traffic, as policies see it."""
        everybody = {**self._former, **self.host.cgroups}
        return exchanges(memory, replace(self.host, cgroups=everybody), name)

    def denials(self) -> dict[str, int]:
        """Return how much was denied, by reason."""
        counts = self._kernel.gate.denials()
        reasons = denial_names(self._kernel.abi)
        return {name: int(counts[number]) for number, name in reasons.items()}

    def verdicts(self) -> dict[str, tuple[int, int, int]]:
        """Return how many requests were forwarded, audited and dropped, by policy."""
        names = self.compiled.names if self.compiled else self._kernel.gate.names()
        counts = self._kernel.gate.verdicts()
        return {
            name: (int(counts[i][1]), int(counts[i][2]), int(counts[i][3]))
            for i, name in names.items()
        }

    def _wait(self) -> None:
        """Wait, not for ever, until nobody is writing the files: what is half there is not to be read."""
        for _ in range(_WRITING):
            if self._directory is None or not busy(self._directory):
                return
            time.sleep(_MOMENT)

    def _follow(self, enforcer: Enforcer, *, now: bool = False) -> None:
        """Bring into force what the files say, or say why not."""
        behind = ""
        try:
            self._apply(enforcer, now=now)
            if not self._waited and not self._moving:
                self.problem = ""
        except (AxonError, OSError) as error:
            if str(error) != self.problem:
                _log.error("the policies in force stay", problem=str(error))
            self.problem = str(error)
            if self.compiled is None or isinstance(error, OSError):
                behind = str(error)
        behind = behind or self._behind
        self.fault = f"Policies are not kept up with this host: {behind}" if behind else ""

    def _apply(self, enforcer: Enforcer, *, now: bool = False) -> None:
        directory = self._directory
        if directory is None:
            return
        writing = busy(directory)
        now = now and writing
        if self.compiled and writing and not now and self._waited < _PATIENCE:
            self._waited += 1
            self._asked = None
            self._keep_up(enforcer, self._residents.look(self.host.given))
            return
        self._waited = 0
        said, wrong = self._read(directory, now=now or self.compiled is None)
        if wrong and self.compiled is None:
            raise PolicyError("\n".join(wrong))
        host = self._residents.look(said.given)
        if (said.policies, host) != self._asked:
            self._refused = self._force(enforcer, said.policies, host)
            self._asked = said.policies, host
        if wrong or self._refused:
            raise PolicyError("\n".join([*wrong, *self._refused]))
        self.policies = said.policies

    def _read(self, directory: Path, *, now: bool) -> tuple[_Said, list[str]]:
        """Return what the files say, or what is in force while that is not known; and what is wrong.

        Policies and labels count together: new ones with the other's former ones may select nobody.
        """
        said, wrong, settled = self._read_once(directory, _MOMENT if now else _APART)
        for _ in range(_MOMENTS if now else 0):
            if settled:
                break
            time.sleep(_MOMENT)
            said, wrong, settled = self._read_once(directory, _MOMENT)
        self._moving = 0 if settled else self._moving + 1
        if not settled and (now or self._moving > _PATIENCE):
            wrong.append(
                f"The files of {_places(directory, self._labels)} are being written to again and "
                "again, and are not read while they are: write them elsewhere, and rename them."
            )
        return said or _Said(self.policies, self.host.given), wrong

    def _read_once(self, directory: Path, apart: float) -> tuple[_Said | None, list[str], bool]:
        """Return the same once, None if not known; and whether all files have stood still."""
        wrong = []
        settled = True
        policies, given = None, None
        try:
            given = self._residents.read(apart)
            settled = given is not None
        except PolicyError as error:
            wrong.append(str(error))
        try:
            policies = self._library.look([directory], apart)
            settled = settled and policies is not None
        except PolicyError as error:
            wrong.append(str(error))
        said = None if policies is None or given is None else _Said(policies, given)
        return said, wrong, settled

    def _force(self, enforcer: Enforcer, policies: list[Policy], host: Host) -> list[str]:
        """Bring policies into force; return why they exceed a bound.

        Raise OSError where the kernel refuses, which may be over at the next look. Those in force are
        brought up to who is on the host now in any case: who has come since is not to be outside of
        them because others cannot be used.
        """
        self._asked = None
        try:
            compiled = enforcer.apply(policies, host)
        except (PolicyError, OSError) as error:
            if self.compiled is None:
                raise
            self._keep_up(enforcer, host)
            if isinstance(error, OSError):
                raise
            return [str(error)]
        self._take(compiled, policies, host)
        _log.info("policies in force", policies=len(policies), sets=len(compiled.images))
        return []

    def _keep_up(self, enforcer: Enforcer, host: Host) -> None:
        """Have what is in force, its labels too, be for the cgroups that there are now."""
        host = replace(host, given=self.host.given, networks=self.host.networks)
        self._behind = ""
        if host != self.host:
            try:
                compiled = enforcer.apply(self.policies, host)
            except PolicyError as error:
                self._behind = str(error)
            else:
                self._take(compiled, self.policies, host)

    def _take(self, compiled: Compiled, policies: list[Policy], host: Host) -> None:
        """Take note of what has come into force."""
        gone = self.host.cgroups.keys() - host.cgroups.keys()
        if len(self._former) + len(gone) > _FORMER:
            self._former = {}
        self._former.update({cgroup: self.host.cgroups[cgroup] for cgroup in gone})
        self.compiled, self.policies, self.host = compiled, policies, host
        self._behind = ""
        self._room.look(compiled, tight=self._enforcer is not None and self._enforcer.tight)


def _places(directory: Path, labels: Path | None) -> str:
    return f"{directory} or {labels}" if labels else f"{directory}"


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())
