"""Who is on this host, as policies see it: cgroups, and the labels that a user's file gives."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from axon.errors import PolicyError
from axon.identity.cgroups import CgroupTree
from axon.identity.containers import Containers
from axon.identity.place import undisputed
from axon.identity.workload import Places
from axon.kernel.system import cgroup_root
from axon.policy.compiler.arena import Arena
from axon.policy.compiler.compile import Compiler, Host
from axon.policy.compiler.image import check
from axon.policy.files.contents import Contents
from axon.policy.files.readgiven import parse_given
from axon.policy.language.labels import CONTAINER, SERVICE, UNIT, Party
from axon.policy.language.model import Network, Policy
from axon.policy.parties.given import NOTHING, Given
from axon.settings import Settings

NOBODY = Party.of({})


class Residents:
    """The cgroups below `root`, and what the file `labels` says, if there is one.

    `hold`: newer cgroups than those that have been looked at are to be held.
    """

    def __init__(self, root: Path, labels: Path | None, *, hold: bool = False) -> None:
        self._root = root
        self._tree = CgroupTree(root)
        self._undisputed: dict[tuple[int, str], str] = {}
        self._places = Places(Containers())
        self._labels = labels
        self._hold = hold
        self._newest = 0
        self._contents = Contents(parse_given, regular=True)
        self._given = NOTHING
        self._networks: dict[Network, Party] = {}

    def look(self, given: Given) -> Host:
        """Return who is there now, with the labels that are `given`.

        Raise OSError when that cannot be found out: nobody is to be taken for gone then.
        """
        if given is not self._given:
            self._given, self._networks = given, given.networks()
        self._walk()
        known = self._undisputed
        named: dict[str, str] = {}  # by what root has named of a path
        self._undisputed = {
            one: known.get(one) or self._named(self._tree.of_root(one[0]), named)
            for one in self._tree.there()
        }
        paths = set(self._undisputed.values())
        self._places.keep(paths)
        self._places.again()
        parties = {path: self.party(path) for path in paths}
        cgroups = {one[0]: parties[path] for one, path in self._undisputed.items()}
        disputed = frozenset(one[0] for one, path in self._undisputed.items() if path != one[1])
        return Host(
            cgroups, self._networks, given=self._given, newest=self._newest, disputed=disputed
        )

    def read(self, apart: float = 0) -> Given | None:
        """Return what the file says if it said so `apart` seconds ago, else None; 0: in any case.

        Raise PolicyError, which says all that is wrong in it.
        """
        if self._labels is None:
            return NOTHING
        if not self._contents.look({self._labels: ""}, apart):
            return None
        if self._contents.wrong:
            raise PolicyError("\n".join(self._contents.wrong))
        return self._contents.values[0]

    def party(self, path: str) -> Party:
        """Return the labels that Axon gives to a cgroup, by what is undisputed of its path."""
        who = self._places.workload(path, "", 0)
        labels = {}
        if who.unit:
            labels[UNIT] = who.unit
        if who.container:
            labels[CONTAINER] = who.name.partition(":")[2]
        if who.unit or who.container:
            labels[SERVICE] = who.name
        return Party.of(labels)

    def _named(self, path: str, named: dict[str, str]) -> str:
        if path not in named:
            named[path] = undisputed(path, self._root)
        return named[path]

    def _walk(self) -> None:
        """Find the cgroups; where they are held, all up to the newest one that counts as known."""
        self._tree.walk()
        newest = self._tree.newest
        if self._hold and newest > self._newest:
            # one may have come behind the walk's back, before the newest one that it found
            self._tree.walk()
            self._newest = newest


def check_together(policies: Iterable[Policy], settings: Settings) -> None:
    """Raise PolicyError if policies could not be in force together on this host."""
    policies = list(policies)
    check(policies)
    residents = Residents(cgroup_root(), settings.policy_labels)
    given = residents.read() or NOTHING
    try:
        host = residents.look(given)
    except OSError as error:
        raise PolicyError(f"The cgroups of this host cannot be looked at: {error}.") from error
    compiled = Compiler(1).compile(policies, host)
    Arena(settings.policy_memory // 8).check(compiled.images)
