"""Judges a request by what policies say, not by what was compiled of them: the reference.

It is for one request and a person who asks why. What the kernel does must come to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from axon.policy.language.hosts import host_of
from axon.policy.language.labels import Party, Selector, namespace_labels
from axon.policy.language.model import Address, Mode, Peer, Policy, Rule, rules_of
from axon.policy.language.paths import Refusal, canonical


class Verdict(StrEnum):
    """What becomes of a request; named as in enum ax_verdict."""

    NONE = "none"
    FORWARDED = "forwarded"
    AUDIT = "audit"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `party` is None for somebody of whom no labels are known, on this host or not."""

    party: Party | None = None
    address: Address | None = None

    def __str__(self) -> str:
        known = [str(one) for one in (self.party, self.address) if one is not None]
        return " at ".join(known) or "somebody unknown"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `target` is as sent, `host` the Host field or None, `port` the server's.

    Without `http` it is bytes that are no readable HTTP/1, and only the port counts.
    """

    method: str = "GET"
    target: bytes = b"/"
    host: str | None = None
    port: int = 80
    http: bool = True

    def __str__(self) -> str:
        where = f" at {self.host}" if self.host else ""
        what = f"{self.method} {self.target.decode(errors='backslashreplace')}{where}"
        return f"{what if self.http else 'what is not HTTP/1'} on port {self.port}"


@dataclass(frozen=True, slots=True)
class Decision:
    """`rule` is the one that allows it, if one does; `policy` the one that it or a denial is put to.

    `why` is a sentence or two. For what is not allowed `reason` is the name in enum ax_deny.
    """

    verdict: Verdict
    why: str
    policy: Policy | None = None
    rule: Rule | None = None
    reason: str = ""

    def fields(self) -> dict[str, str | None]:
        """Return what is known of it, by name; `at` is where that is written."""
        policy, rule = self.policy, self.rule
        mark = rule.mark if rule else policy.mark if policy else None
        return {
            "verdict": self.verdict.value,
            "policy": str(policy) if policy else None,
            "rule": rule.where if rule else None,
            "reason": self.reason or None,
            "at": str(mark) if mark else None,
            "why": self.why,
        }


def judge(
    policies: Iterable[Policy], workload: Party, caller: Caller, request: Request
) -> Decision:
    """Return what becomes of a request to a workload."""
    return Bench.of(policies, workload).judge(caller, request)


def selects(policy: Policy, workload: Party) -> bool:
    """Return whether a policy selects a workload."""
    return policy.namespace == workload.namespace and policy.selector.matches(workload.labels)


@dataclass(frozen=True, slots=True)
class _Group:
    """The policies of one mode that select a workload; `policy` is the one denials are put to."""

    policies: Sequence[Policy]
    policy: Policy
    rules: Sequence[Rule]

    @classmethod
    def of(cls, policies: Iterable[Policy], mode: Mode) -> _Group | None:
        chosen = sorted((p for p in policies if p.mode is mode), key=lambda p: p.key)
        return cls(chosen, chosen[0], rules_of(chosen)) if chosen else None

    @property
    def non_http(self) -> bool:
        return any(policy.non_http for policy in self.policies)

    @property
    def lets_by(self) -> str:
        (first, *_) = (policy for policy in self.policies if policy.non_http)
        return f"{first} lets by what is not HTTP/1 (nonHTTP: allow)."


@dataclass(frozen=True, slots=True)
class Bench:
    """The policies that select a workload, made ready to judge many requests."""

    workload: Party
    enforcing: _Group | None
    auditing: _Group | None

    @classmethod
    def of(cls, policies: Iterable[Policy], workload: Party) -> Bench:
        """Return what judges requests to a workload."""
        selecting = [p for p in policies if selects(p, workload)]
        groups = (_Group.of(selecting, mode) for mode in (Mode.ENFORCE, Mode.AUDIT))
        return cls(workload, *groups)

    def judge(self, caller: Caller, request: Request) -> Decision:
        """Return what becomes of a request."""
        judging = self.enforcing or self.auditing
        if judging is None:
            return Decision(Verdict.NONE, f"No policy selects the workload ({self.workload}).")
        if judging.non_http and not request.http:
            # The flag is one of the set; an audit policy allows nothing where another enforces.
            return Decision(Verdict.FORWARDED, judging.lets_by, judging.policy)
        asked = _Asked.of(caller, request)
        allowed = None
        for group, verdict in ((self.enforcing, Verdict.DROPPED), (self.auditing, Verdict.AUDIT)):
            if group is None:
                continue
            rule = next((rule for rule in group.rules if not any(asked.misses(rule))), None)
            if rule is None:
                reason, why = _denial(group, asked)
                return Decision(verdict, why, group.policy, None, reason)
            allowed = allowed or rule
        if allowed is None:
            raise AssertionError("a policy selects the workload, and is neither of the two modes")
        where = f"{allowed.policy} {allowed.where}"
        return Decision(
            Verdict.FORWARDED, f"{where} allows it: {allowed}.", allowed.policy, allowed
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request in the form that rules are compared with."""

    caller: Caller
    request: Request
    path: list[bytes] | Refusal
    host: str | None

    @classmethod
    def of(cls, caller: Caller, request: Request) -> _Asked:
        host = None if request.host is None else host_of(request.host)
        return cls(caller, request, canonical(request.target), host)

    def misses(self, rule: Rule) -> Iterator[str]:
        """Yield each thing that a rule asks for in vain, as the end of a sentence."""
        ingress, http = rule.ingress, rule.http
        if ingress.peers and not any(self._is(peer, rule.policy) for peer in ingress.peers):
            yield f"the caller ({self.caller}) is not {' or '.join(map(str, ingress.peers))}"
        port = self.request.port
        if ingress.ports and not any(first <= port <= last for first, last in ingress.ports):
            yield f"the port is {port}, not {' or '.join(map(str, ingress.ports))}"
        if rule.opaque:
            return
        if not self.request.http:
            yield "it is not HTTP/1"
            return
        if isinstance(self.path, Refusal):
            yield self.path.value
        elif http.path and not http.path.matches(self.path):
            yield f"the path is not {http.path.text}"
        if http.methods and self.request.method not in http.methods:
            yield f"the method is {self.request.method}, not {' or '.join(http.methods)}"
        if http.host and not (self.host is not None and http.host.matches(self.host)):
            yield f"the host is {self.host or 'not said'}, not {http.host}"

    def _is(self, peer: Peer, policy: Policy) -> bool:
        """Return whether a peer means the caller."""
        if peer.block:
            return self.caller.address is not None and peer.block.contains(self.caller.address)
        party = self.caller.party
        if party is None:
            return False
        if peer.namespaces is None:
            here = party.namespace == policy.namespace
        else:
            here = peer.namespaces.matches(namespace_labels(party.namespace))
        return here and (peer.pods or Selector()).matches(party.labels)


def _denial(group: _Group, asked: _Asked) -> tuple[str, str]:
    """Return why nothing in a group allows a request, with the rule that comes nearest to it."""
    if not asked.request.http:
        return "non_http", f"{group.policy} selects the workload, and it is not HTTP/1."
    if isinstance(asked.path, Refusal):
        return (
            asked.path.name.lower(),
            f"{group.policy} selects the workload, and the target is denied: {asked.path.value}.",
        )
    if not group.rules:
        return "rule", f"{group.policy} selects the workload and has no rule at all."
    near, misses = min(
        ((rule, list(asked.misses(rule))) for rule in group.rules),
        key=lambda pair: (len(pair[1]), any(m.startswith("the path") for m in pair[1])),
    )
    selected = f"{group.policy} selects the workload and no rule allows it."
    return (
        "rule",
        f"{selected} Nearest is {near.policy} {near.where} ({near}), but {', and '.join(misses)}.",
    )
