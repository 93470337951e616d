"""Policies in force on this host: read again when their files or the host's cgroups change."""

from __future__ import annotations

from pathlib import Path

from axon.errors import AxonError
from axon.identity.cgroups import CgroupTree
from axon.identity.containers import Containers
from axon.identity.workload import Places
from axon.kernel import Kernel, tc
from axon.kernel.netlink import interfaces
from axon.log import get
from axon.policy.compile import Compiled, Host
from axon.policy.enforcer import Enforcer
from axon.policy.labels import Party
from axon.policy.load import Library
from axon.policy.model import Policy

ENFORCE = 2
_log = get("policy")


class Policies:
    """The policies of a directory. `look` is called once a second."""

    def __init__(self, kernel: Kernel, directory: Path, cgroup_root: Path) -> None:
        """Raise AxonError when the policies cannot be used: nothing is judged then."""
        self._kernel = kernel
        self._directory = directory
        self._library = Library()
        self._tree = CgroupTree(cgroup_root)
        self._places = Places(Containers())
        self._enforcer = Enforcer(kernel.gate, kernel.quiesce)
        self._policies: list[Policy] = []
        self._parties: dict[int, Party] = {}
        self._points: set[tc.Point] = set()
        self.compiled: Compiled | None = None
        """What is in force; None before the first."""
        self.problem = ""
        """Why the newest files are not in force; empty if they are."""
        if kernel.gate.generation == 0:
            kernel.gate.mode = ENFORCE
        self._attach()
        self._apply()

    def look(self) -> None:
        """Take up what has changed. What cannot be used is told in `problem`."""
        try:
            self._attach()
            self._apply()
            self.problem = ""
        except (AxonError, OSError) as error:
            if str(error) != self.problem:
                _log.error("the policies in force stay", problem=str(error))
            self.problem = str(error)

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
        if self.compiled is None:
            return {}
        counts = self._kernel.gate.verdicts()
        return {
            name: (int(counts[i][1]), int(counts[i][2]), int(counts[i][3]))
            for i, name in self.compiled.names.items()
        }

    def _apply(self) -> None:
        policies = self._library.load([self._directory])
        parties = self._known()
        if self.compiled is not None and policies == self._policies and parties == self._parties:
            return
        self.compiled = self._enforcer.apply(policies, Host(cgroups=parties))
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

    def _attach(self) -> None:
        """Have every interface that is up judged: what arrives, or what is sent to a container."""
        wanted: dict[tc.Point, tuple[int, bool]] = {}
        for one in interfaces():
            if one.up:
                inward = one.kind == "veth" and one.netns >= 0
                wanted[tc.Point(one.index, egress=inward)] = (one.netns if inward else -1, inward)
        for point in self._points - wanted.keys():
            tc.detach(point)
        for point, (netns, inward) in wanted.items():
            if point not in self._points or not tc.attached(point):
                self._kernel.gate.attach(point, netns=netns, inward=inward)
        self._points = set(wanted)
