"""Policies in force on this host: read again when their files or the host's cgroups change."""

from __future__ import annotations

from pathlib import Path

from axon.agent.points import Points
from axon.errors import AxonError
from axon.identity.cgroups import CgroupTree
from axon.identity.containers import Containers
from axon.identity.workload import Places
from axon.kernel import Kernel
from axon.kernel.gate import Gate
from axon.kernel.system import wait_for_runs
from axon.log import get
from axon.policy.compile import Compiled, Host
from axon.policy.enforcer import Enforcer
from axon.policy.labels import Party
from axon.policy.load import Library
from axon.policy.model import Policy

ENFORCE = 2
_POINTS_EVERY = 5
_log = get("policy")


class Policies:
    """The policies of a directory; without one, those that an earlier agent has left in force.

    `begin` comes first, then `look` once a second.
    """

    def __init__(self, directory: Path | None, cgroup_root: Path) -> None:
        self._directory = directory
        self._library = Library()
        self._tree = CgroupTree(cgroup_root)
        self._places = Places(Containers())
        self._enforcer: Enforcer | None = None
        self._policies: list[Policy] = []
        self._parties: dict[int, Party] = {}
        self._ticks = 0
        self.compiled: Compiled | None = None
        """What is in force; None if an earlier agent brought it there."""
        self.problem = ""
        """Why the newest files are not in force; empty if they are."""

    def enforce(self, gate: Gate) -> None:
        """Bring the policies into force in a gate; raise AxonError or OSError if that fails."""
        if gate.generation == 0:
            gate.mode = ENFORCE
        self._enforcer = Enforcer(gate, wait_for_runs)
        self._apply(self._enforcer)

    def begin(self, kernel: Kernel) -> None:
        """Attach the gate, and bring the policies into force if they are not yet.

        Raise AxonError when they cannot be used and none are in force; else those stay.
        """
        self._kernel = kernel
        self.points = Points(kernel.gate)
        if self._directory is None:
            _log.warning("policies of an earlier agent stay in force; `axon detach` ends them")
        elif self._enforcer is None and kernel.gate.generation:
            self._enforcer = Enforcer(kernel.gate, wait_for_runs)
            self.look()
        elif self._enforcer is None:
            self.enforce(kernel.gate)

    def look(self) -> None:
        """Take up what has changed. What cannot be used is told in `problem`."""
        try:
            if self._ticks % _POINTS_EVERY == 0:
                self.points.look()
            if self._enforcer:
                self._apply(self._enforcer)
            self.problem = ""
        except (AxonError, OSError) as error:
            if str(error) != self.problem:
                _log.error("the policies in force stay", problem=str(error))
            self.problem = str(error)
        self._ticks += 1

    @property
    def current(self) -> bool:
        """Whether what is in force is what the files say."""
        return self.compiled is not None and not self.problem

    def denials(self) -> dict[str, int]:
        """Return how much was denied, by enum ax_deny in lower case without its prefix."""
        counts = self._kernel.gate.denials()
        reasons = self._kernel.abi.enum("ax_deny")
        return {
            name.removeprefix("AX_DENY_").lower(): int(counts[number])
            for name, number in reasons.items()
            if name not in {"AX_DENY_NONE", "AX_DENY_MAX"}
        }

    def verdicts(self) -> dict[str, tuple[int, int, int]]:
        """Return how many requests were forwarded, audited and dropped, by policy."""
        names = self.compiled.names if self.compiled else self._kernel.gate.names()
        counts = self._kernel.gate.verdicts()
        return {
            name: (int(counts[i][1]), int(counts[i][2]), int(counts[i][3]))
            for i, name in names.items()
        }

    def _apply(self, enforcer: Enforcer) -> None:
        policies = self._library.load([self._directory] if self._directory else [])
        parties = self._known()
        if self.compiled is not None and policies == self._policies and parties == self._parties:
            return
        self.compiled = enforcer.apply(policies, Host(cgroups=parties))
        self._policies, self._parties = policies, parties
        _log.info("policies in force", policies=len(policies), sets=len(self.compiled.images))

    def _known(self) -> dict[int, Party]:
        self._tree.walk()
        return {cgroup: self._party(path) for cgroup, path in self._tree.there()}

    def _party(self, path: str) -> Party:
        who = self._places.workload(path, "", 0)
        labels = {}
        if who.unit:
            labels["axon.dev/unit"] = who.unit
        if who.container:
            labels["axon.dev/container"] = who.name.partition(":")[2]
        if who.unit or who.container:
            labels["axon.dev/service"] = who.name
        return Party.of(labels)
