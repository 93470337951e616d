"""The least policies that allow what was observed, as YAML for a person to review."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from axon.policy.language.labels import COMMAND, CONTAINER, NAMESPACE, PORT, SERVICE, UNIT, Party
from axon.policy.language.model import ENTRIES
from axon.policy.language.paths import DEPTH, PathError, Refusal, canonical, parse
from axon.policy.language.possible import is_caller, is_container, is_server, is_unit
from axon.policy.traffic.seen import OTHER, UNNAMED, Seen, example

_VARIABLE = re.compile(r"\{[^/]*\}|\*")
_IDENTITY = (UNIT, CONTAINER, SERVICE, COMMAND)
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_UNTOLD = "everybody, because these callers are not told apart (setting peers)"
_UNKNOWN = "everybody, because nothing is known of these callers"

Rules = dict[tuple[str, str], int]
"""Counts by method and path; an empty method is any."""


class _Peer(NamedTuple):
    """A caller as `from` has it, and as a person calls it. Empty text: everybody."""

    text: str
    name: str


class _Policy(NamedTuple):
    """What stands in front of the entries of a policy."""

    namespace: str
    service: str
    labels: str


def generate(seen: Iterable[Seen], mode: str) -> Iterator[str]:
    """Yield a document for each workload, sorted. What was denied is not allowed by them."""
    by_workload: dict[_Policy, list[Seen]] = {}
    for one in seen:
        if not one.denied and one.method:
            labels = _identity(one.workload)
            if labels:
                key = _Policy(one.workload.namespace, one.service, labels)
                by_workload.setdefault(key, []).append(one)
    names: dict[tuple[str, str], int] = {}
    for policy, found in sorted(by_workload.items()):
        base = _name(policy.service)
        for part in _parts(found):
            used = names[policy.namespace, base] = names.get((policy.namespace, base), 0) + 1
            name = base if used == 1 else f"{base}-{used}"
            yield _document(policy, name, mode, part)


def _document(policy: _Policy, name: str, mode: str, entries: Sequence[list[str]]) -> str:
    other = policy.namespace != NAMESPACE
    where = f", namespace: {_text(policy.namespace)}" if other else ""
    lines = [
        f"# {_comment(policy.service)}",
        "apiVersion: axon.dev/v1alpha1",
        "kind: L7NetworkPolicy",
        f"metadata: {{name: {_text(name)}{where}}}",
        "spec:",
        f"  podSelector: {{matchLabels: {{{policy.labels}}}}}",
        f"  mode: {mode}",
        "  ingress:" if entries else "  ingress: []",
    ]
    return "\n".join([*lines, *(line for entry in entries for line in entry)]) + "\n"


def _parts(found: Iterable[Seen]) -> Iterator[list[list[str]]]:
    """Yield the entries of `ingress` of a workload, as many at a time as a policy may have."""
    by_peer: dict[tuple[int, _Peer], Rules] = {}
    notes: dict[tuple[int, _Peer], set[str]] = {}
    for one in found:
        key = one.port, _peer(one)
        rules = by_peer.setdefault(key, {})
        for path, note in dict.fromkeys(_paths(one)):
            if note:
                notes.setdefault(key, set()).add(note)
            if path:
                rule = "" if one.method == UNNAMED else one.method, path
                rules[rule] = rules.get(rule, 0) + one.count
    # Callers that have asked for the same have an entry together.
    together: dict[tuple[int, frozenset[tuple[str, str]], str], list[_Peer]] = {}
    for (port, peer), rules in by_peer.items():
        alone = "" if peer.text else peer.name
        together.setdefault((port, frozenset(rules), alone), []).append(peer)
    entries: list[list[str]] = []
    for (port, asked, _), peers in together.items():
        said = sorted({note for peer in peers for note in notes.get((port, peer), ())})
        counts = {rule: sum(by_peer[port, peer][rule] for peer in peers) for rule in asked}
        entries += _entries(port, sorted(peers), counts, said)
    entries.sort()
    for at in range(0, len(entries), ENTRIES) if entries else [0]:
        yield entries[at : at + ENTRIES]


def _entries(
    port: int, peers: Sequence[_Peer], rules: Rules, notes: Iterable[str]
) -> Iterator[list[str]]:
    said = [f"      # {note}" for note in notes]
    if not rules:
        return
    listed = sorted(rules, key=lambda rule: (rule[1], rule[0]))
    for at in range(0, len(listed), ENTRIES):
        lines = [f"    - ports: [{{port: {port}}}]", *said]
        if peers[0].text:
            lines.append("      from:")
            lines += [f"        - {peer.text}  # {_comment(peer.name)}" for peer in peers]
        else:
            lines.append(f"      # from: {_comment(peers[0].name)}")
        lines.append("      httpRules:")
        for rule in listed[at : at + ENTRIES]:
            method, path = rule
            asked = f"method: {_text(method)}, " if method else ""
            times = "once" if rules[rule] == 1 else f"{rules[rule]:,} times"
            lines.append(f"        - {{{asked}path: {_quoted(path)}}}  # {times}")
        yield lines


def _peer(one: Seen) -> _Peer:
    party = one.caller.party
    labels = _identity(party) if party else ""
    if not one.told:
        return _Peer("", _UNTOLD)
    if party and labels:
        other = party.namespace != one.workload.namespace
        space = (
            ", namespaceSelector: {matchLabels: "
            f"{{kubernetes.io/metadata.name: {_text(party.namespace)}}}}}"
        )
        text = f"{{podSelector: {{matchLabels: {{{labels}}}}}{space if other else ''}}}"
        return _Peer(text, one.by)
    if one.caller.address is not None:
        network = ipaddress.ip_network(one.caller.address)
        return _Peer(f"{{ipBlock: {{cidr: {_text(str(network))}}}}}", one.by)
    return _Peer("", _UNKNOWN)


def _identity(party: Party) -> str:
    """Return the label by which Axon tells a party from others, in YAML; empty if it has none."""
    for key in _IDENTITY:
        value = party.labels.get(key, "")
        if value and (key != SERVICE or _can_be(value, server=PORT in party.labels)):
            return f"{key}: {_text(value)}"
    return f"{PORT}: {_text(party.labels[PORT])}" if PORT in party.labels else ""


def _can_be(service: str, *, server: bool) -> bool:
    """Return whether somebody is called so; a server of which only the port is known is `:PORT`."""
    if is_unit(service) or is_container(service):
        return True
    return is_server(service) if server else is_caller(service)


def _paths(one: Seen) -> Iterator[tuple[str, str]]:
    """Yield the patterns that allow what was seen on a route, and what is to be said of them."""
    if one.route == OTHER:
        yield "/**", "all paths, because only some are known: setting max_routes"
        return
    whole = _pattern(one.route)
    for path in [path for path, _ in one.samples] or [example(one.route)]:
        segments = canonical(path.encode())
        if isinstance(segments, Refusal):
            yield "", f"left out: {one.method} {_comment(path)}, because {segments.value}"
        elif whole and parse(whole).matches(segments):
            yield whole, ""
        else:
            yield _pattern(path.partition("?")[0]), ""


def _pattern(path: str) -> str:
    """Return a route or path as a pattern of policies; a segment that cannot be written is any."""
    parts = path.split("/")[1:]
    last = len(parts) - 1
    for i, part in enumerate(parts):
        tail = i == last and part in {"*", "**"}
        if not tail and (_VARIABLE.fullmatch(part) or (part and not _can_be_written(part))):
            parts[i] = "{id}"
    if len(parts) > DEPTH:
        parts[DEPTH - 1 :] = ["**"]
    pattern = "/" + "/".join(parts)
    try:
        parse(pattern)
    except PathError:
        return ""  # it is not canonical, and denied whatever rules say
    return pattern


def _can_be_written(segment: str) -> bool:
    try:
        return "*" not in segment and parse(f"/{segment}") is not None
    except PathError:
        return False


def _name(service: str) -> str:
    """Return a policy's name that is made of a service's."""
    plain = re.sub(r"[^a-z0-9.]+", "-", service.lower()).strip("-.")[:200].strip("-.")
    return plain or "workload"


def _text(value: str) -> str:
    """Return a value as YAML's text, without quotes where it can be nothing else."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z-]*(?:\.[A-Za-z-]+)*", value)
    return value if plain and value.lower() not in _WORDS else _quoted(value)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _comment(value: str) -> str:
    """Return text that stays within a comment."""
    return value if value.isprintable() else json.dumps(value)
