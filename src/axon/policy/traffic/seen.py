"""What was asked on a host, as requests that policies judge, and what a change makes of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from axon.policy.judging.judge import Bench, Caller, Decision, Request, Verdict
from axon.policy.language.labels import Party
from axon.policy.language.model import Policy

OTHER: Final = "other"
"""The route of requests beyond the bound on a workload's routes."""

NO_PATH: Final = "*"
"""The route of requests without a path."""

UNNAMED: Final = "_OTHER"
"""The method of requests whose own is not told apart."""

_VARIABLE = re.compile(r"\{[^/]*\}|\*")
_EXAMPLES = {
    "{id}": "1",
    "{uuid}": "00000000-0000-4000-8000-000000000000",
    "{hex}": "0123456789abcdef",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """Requests of one caller to one workload, of one method and on one route.

    `service` and `by` are what a person calls the two; `samples` are paths and hosts, of which the
    latter may be empty. `told`: the caller is not mixed with others.
    """

    service: str
    workload: Party
    port: int
    by: str
    caller: Caller
    told: bool
    method: str
    route: str
    count: int
    denied: bool = False
    samples: tuple[tuple[str, str], ...] = ()

    def requests(self, host: str | None = None) -> list[Request]:
        """Return requests that stand for these; `host` where none was seen."""
        samples = self.samples or ((example(self.route), ""),)
        return [Request(self.method, path.encode(), at or host, self.port) for path, at in samples]


def example(route: str) -> str:
    """Return a path that has a route."""
    if route == OTHER:
        return "/other"
    parts = route.split("/")
    if parts[-1] in {"*", "**"} and len(parts) > 1:
        parts[-1] = "x"
    return "/".join(
        _EXAMPLES.get(part, "x") if _VARIABLE.fullmatch(part) and len(parts) > 1 else part
        for part in parts
    )


class Kind(StrEnum):
    """What a change makes of requests, the worst first."""

    DENIED = "denied"
    AUDITED = "audited"
    ALLOWED = "allowed"


_ORDER = {kind: i for i, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Difference:
    """Requests of which another thing becomes, with one of them as an example."""

    kind: Kind
    seen: Seen
    request: Request
    before: Decision
    after: Decision


def differences(
    seen: Iterable[Seen], before: Sequence[Policy], after: Sequence[Policy]
) -> list[Difference]:
    """Return what becomes of requests otherwise when one set of policies is replaced by another.

    Of requests that are counted together the first one counts that is denied newly, else one that
    would be but for mode audit, else one that is allowed.
    """
    everything = list(seen)
    hosts = hosts_of(everything)
    benches: dict[Party, tuple[Bench, Bench]] = {}
    found = []
    for one in everything:
        who = one.workload
        if who not in benches:
            benches[who] = Bench.of(before, who), Bench.of(after, who)
        changes = list(_changes(one, *benches[who], hosts.get(who)))
        if changes:
            found.append(min(changes, key=lambda change: _ORDER[change.kind]))
    return sorted(found, key=lambda d: (_ORDER[d.kind], d.seen.service, d.seen.port, -d.seen.count))


def allowed(seen: Iterable[Seen], policies: Sequence[Policy]) -> list[Seen]:
    """Return what policies do not deny, in whole or in part."""
    everything = list(seen)
    hosts = hosts_of(everything)
    benches = {one.workload: Bench.of(policies, one.workload) for one in everything}
    found = []
    for one in everything:
        bench = benches[one.workload]
        verdicts = {
            bench.judge(one.caller, r).verdict for r in one.requests(hosts.get(one.workload))
        }
        if verdicts != {Verdict.DROPPED}:
            found.append(one)
    return found


def hosts_of(seen: Iterable[Seen]) -> dict[Party, str]:
    """Return a Host field for each workload of which one was seen."""
    return {one.workload: at for one in seen for _, at in one.samples if at}


def _changes(one: Seen, before: Bench, after: Bench, host: str | None) -> Iterator[Difference]:
    for request in one.requests(host):
        old, new = before.judge(one.caller, request), after.judge(one.caller, request)
        kind = _kind(old.verdict, new.verdict)
        if kind:
            yield Difference(kind, one, request, old, new)


def _kind(old: Verdict, new: Verdict) -> Kind | None:
    if old is not Verdict.DROPPED and new is Verdict.DROPPED:
        return Kind.DENIED
    if old in {Verdict.NONE, Verdict.FORWARDED} and new is Verdict.AUDIT:
        return Kind.AUDITED
    if old is Verdict.DROPPED and new is not Verdict.DROPPED:
        return Kind.ALLOWED
    return None
