"""Which cgroups give way where there are too many: whoever may make them is not to crowd out others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from axon.policy.language.labels import Party


def surplus(
    rows: Sequence[int], most: int, cgroups: Mapping[int, Party], *stages: Collection[int]
) -> set[int]:
    """Return the cgroups to leave out so that at most `most` rows are left, each given by its cgroup.

    Those of the first stage go before any of the next, and others not at all, if it be too little. Of a
    stage they go first of whom there are the most with the same labels, the newest first: who makes
    cgroups without end loses them, and nobody else does.
    """
    needed = Counter(rows)
    too_many = len(rows) - most
    gone: set[int] = set()
    for stage in stages if too_many > 0 else ():
        there = [cgroup for cgroup in stage if cgroup in needed and cgroup not in gone]
        alike = Counter(cgroups[cgroup] for cgroup in there)
        order = [(alike[cgroups[one]], cgroups[one].pairs, one) for one in there]
        for *_, cgroup in sorted(order, reverse=True):
            if too_many <= 0:
                break
            gone.add(cgroup)
            too_many -= needed[cgroup]
    return gone


def later(cgroups: Mapping[int, Party]) -> Iterator[int]:
    """Yield every cgroup but the oldest one with its labels."""
    seen: set[Party] = set()
    for cgroup in sorted(cgroups):
        if cgroups[cgroup] in seen:
            yield cgroup
        seen.add(cgroups[cgroup])
