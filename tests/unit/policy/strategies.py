"""Policies, hosts and requests that have much to do with each other."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from axon.policy.compiler.compile import Host
from axon.policy.judging.judge import Request
from axon.policy.language.hosts import parse_host
from axon.policy.language.labels import (
    COMMAND,
    NAMESPACE_NAME,
    PORT,
    SERVICE,
    UNIT,
    Operator,
    Party,
    Requirement,
    Selector,
    contradiction,
)
from axon.policy.language.model import Block, HttpRule, Ingress, Mode, Peer, Policy, Ports, rules_of
from axon.policy.language.paths import Glob, parse
from axon.policy.parties.given import Entry, Given

COMMANDS = ("nginx", "python3", "cat", "web.service", "docker:web")
SERVER_PORTS = (80, 8080, 9090)
VALUES: Mapping[str, tuple[str, ...]] = {
    "app": ("a", "b"),
    "tier": ("x", "y"),
    UNIT: ("web.service", "db.service"),
    SERVICE: ("web.service", "docker:web", "nginx:8080", "python3", "python3:80"),
    COMMAND: ("nginx", "python3"),
    PORT: ("80", "8080"),
}
CALLER_KEYS = tuple(key for key in VALUES if key != PORT)

words = st.sampled_from(["a", "b", "ab", "v1", "v2.json", "x.json", "%2A", "a%C3%A9", "aa" * 130])
patterns = st.builds(
    lambda parts, end: parse("/" + "/".join(parts) + end),
    st.lists(
        words.filter(lambda word: len(word) < 200)
        | st.sampled_from(["*", "{id}", "{x-y}", "v*", "*.json", "a*b", "*a", "a*a"]),
        max_size=5,
    ).map(lambda parts: parts or ["a"]),
    st.sampled_from(["", "", "", "/", "/*", "/**", "/{z}"]),
) | st.sampled_from(["/", "/*", "/**", "/" + "a/" * 31 + "a", "/" + "a/" * 32 + "*"]).map(parse)
long_paths = st.integers(28, 40).map(lambda n: ["a"] * n)
targets = st.builds(
    lambda parts, end: ("/" + "/".join(parts) + end).encode(),
    st.lists(words, max_size=6) | long_paths,
    st.sampled_from(["", "", "", "/", "/?q=/a//b", "?x", "//", "/.", "%", "%2f", ";x"]),
)
hosts = st.sampled_from(["a.b", "x.a.b", "y.x.a.b", "b", "a.b.c"])
rule_hosts = (hosts | hosts.map(lambda host: f"*.{host}")).map(parse_host)
methods = st.sampled_from(["GET", "POST", "PURGE"])
requests = st.builds(
    Request,
    st.sampled_from(["GET", "POST", "PURGE", "get"]),
    targets,
    st.none() | hosts | st.sampled_from(["X.A.B:8080", "c", "a.b:"]),
    http=st.sampled_from([True, True, True, False]),
)


@st.composite
def requirements(draw: st.DrawFn, keys: tuple[str, ...]) -> Requirement:
    """Return something that a selector may ask for."""
    key = draw(st.sampled_from(keys))
    operator = draw(st.sampled_from([Operator.IN, Operator.IN, *Operator]))
    if operator in {Operator.EXISTS, Operator.DOES_NOT_EXIST}:
        return Requirement(key, operator)
    values = draw(st.lists(st.sampled_from(VALUES[key]), min_size=1, max_size=2, unique=True))
    return Requirement(key, operator, tuple(values))


def selectors(keys: tuple[str, ...] = tuple(VALUES)) -> st.SearchStrategy[Selector]:
    """Selectors that somebody could be selected by."""
    return (
        st.lists(requirements(keys), max_size=3)
        .filter(lambda found: contradiction(found) is None)
        .map(lambda found: Selector(tuple(found)))
    )


_V4 = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "0.0.0.0/0", "127.0.0.0/8")
_V6 = ("::/0", "fd00::/8", "fd00:1::/32", "fd00:1::1/128")
networks = st.sampled_from([*_V4, *_V6]).map(ipaddress.ip_network)
addresses = st.none() | st.sampled_from(
    [
        "10.1.2.3",
        "10.1.2.4",
        "10.1.9.9",
        "10.9.9.9",
        "11.0.0.1",
        "127.0.0.1",
        "fd00:1::1",
        "fd00:2::",
        "::1",
    ]
).map(ipaddress.ip_address)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Return a block, often with exceptions."""
    network = draw(networks)
    inner = [
        net
        for net in map(ipaddress.ip_network, (*_V4, *_V6))
        if net.version == network.version
        and net.prefixlen > network.prefixlen
        and net.supernet(new_prefix=network.prefixlen) == network
    ]
    excepts = draw(st.lists(st.sampled_from(inner), max_size=2)) if inner else []
    return Block(network, tuple(excepts))


namespaces = st.sampled_from(["default", "prod"])
namespace_selectors = st.sampled_from(
    [
        Selector(),
        Selector((Requirement(NAMESPACE_NAME, Operator.IN, ("default",)),)),
        Selector((Requirement(NAMESPACE_NAME, Operator.NOT_IN, ("default",)),)),
    ]
)
callers = selectors(CALLER_KEYS)
peers = (
    st.builds(Peer, callers.filter(lambda selector: len(selector.requirements) < 2))
    | st.builds(Peer, st.none() | callers, namespace_selectors)
    | blocks().map(lambda block: Peer(block=block))
)
ports = st.sampled_from([Ports(80, 80), Ports(8080, 8090), Ports(1, 100)])
rules = st.builds(
    HttpRule,
    st.lists(methods, max_size=2, unique=True).map(tuple),
    st.none() | patterns,
    st.none() | rule_hosts,
)
entries = st.builds(
    Ingress,
    st.lists(peers, max_size=2).map(tuple),
    st.sampled_from([(), (), ()]) | st.tuples(ports),
    st.sampled_from([True, False, False, False, False, False]).flatmap(
        lambda opaque: st.none() if opaque else st.lists(rules, min_size=1, max_size=6).map(tuple)
    ),
)


@st.composite
def policies(draw: st.DrawFn) -> list[Policy]:
    """Return a few policies."""
    made = st.builds(
        Policy,
        st.sampled_from("abcdef"),
        namespaces.filter(lambda name: name == "default") | namespaces,
        st.sampled_from([True, True, True, False]).flatmap(
            lambda everybody: st.just(Selector()) if everybody else selectors()
        ),
        st.lists(entries, max_size=3).map(tuple),
        st.sampled_from(Mode),
        st.booleans(),
    )
    return draw(st.lists(made, min_size=1, max_size=5, unique_by=lambda p: p.key))


def _party(labels: dict[str, Any], namespace: str) -> Party:
    return Party.of({key: value for key, value in labels.items() if value}, namespace)


parties = st.builds(
    _party,
    st.fixed_dictionaries(
        {
            "app": st.sampled_from(["", "a", "b"]),
            UNIT: st.sampled_from(["", "web.service"]),
            SERVICE: st.sampled_from(["", "web.service", "docker:web"]),
        }
    ),
    namespaces.filter(lambda name: name == "default") | namespaces,
)
matches = st.dictionaries(
    st.sampled_from([UNIT, SERVICE, COMMAND, PORT]), st.just(""), min_size=1, max_size=2
).flatmap(
    lambda keys: st.tuples(*[st.tuples(st.just(k), st.sampled_from(VALUES[k])) for k in keys])
)
given_labels = st.fixed_dictionaries(
    {}, optional={"app": st.sampled_from(VALUES["app"]), "tier": st.sampled_from(VALUES["tier"])}
).map(lambda labels: tuple(sorted(labels.items())))
given = st.lists(
    st.builds(Entry, matches, st.none(), given_labels, st.sampled_from([None, None, "prod"])),
    max_size=3,
).map(lambda found: Given(tuple(found)))
host_networks = networks.filter(lambda net: net.prefixlen > 16)
machines = st.builds(
    Host,
    st.dictionaries(st.sampled_from([10, 11, 12, 13]), parties, max_size=4),
    st.dictionaries(host_networks, parties, max_size=2),
    st.sampled_from([Party.of({}), Party.of({}), None]),
    given,
)


@st.composite
def aimed(draw: st.DrawFn, given: list[Policy]) -> Request:
    """Return a request that one of the rules of some policies may allow."""
    rules = [rule for rule in rules_of(given) if not rule.opaque]
    if not rules:
        return draw(requests)
    http = draw(st.sampled_from(rules)).http
    parts = []
    for segment in http.path.segments if http.path else ():
        if isinstance(segment, Glob):
            parts.append(segment.prefix + draw(st.sampled_from([b"", b"1", b"a"])) + segment.suffix)
        else:
            parts.append(draw(words).encode() if segment is None else segment)
    if http.path is None or http.path.tail:
        parts += draw(st.lists(words.map(str.encode), max_size=2))
        parts += draw(st.sampled_from([[], [b""]])) if parts else [b""]
    host = str(http.host).replace("*", "y.x") if http.host else None
    return Request(
        draw(st.sampled_from([*http.methods, *http.methods, "GET", "POST"])),
        b"/" + b"/".join(parts),
        draw(st.sampled_from([host, host, host, "x.a.b:80"])),
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Policy], list[Request]]:
    """Return policies, and requests of which many hit them."""
    given = draw(policies())
    return given, draw(st.lists(aimed(given) | aimed(given) | requests, min_size=4, max_size=12))
