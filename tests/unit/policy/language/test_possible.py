"""Who there can be: a selector is refused exactly if nobody can meet it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axon.identity import place
from axon.policy.language.labels import (
    COMMAND,
    CONTAINER,
    PORT,
    SERVICE,
    UNIT,
    Operator,
    Requirement,
    Selector,
)
from axon.policy.language.possible import PORTS, RUNTIMES, Somebody, conflict
from axon.policy.parties.dynamic import service_of

COMMANDS = ("docker", "node", "a.service", "a:b", "other")
NUMBERS = ("80", "81", "82")
VALUES: Mapping[str, tuple[str, ...]] = {
    COMMAND: ("docker", "node", "a.service", "a:b"),
    PORT: ("80", "81"),
    UNIT: ("a.service", "b.service"),
    CONTAINER: ("80", "web"),
    SERVICE: ("a.service", "docker:80", "docker:web", "node:80", "node:81", "a:b:80", "node"),
}
requirements = st.sampled_from(list(VALUES)).flatmap(
    lambda key: st.one_of(
        st.builds(
            Requirement,
            st.just(key),
            st.sampled_from([Operator.IN, Operator.NOT_IN]),
            st.lists(st.sampled_from(VALUES[key]), min_size=1, max_size=2).map(tuple),
        ),
        st.builds(
            Requirement,
            st.just(key),
            st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST]),
        ),
    )
)


def everybody(*, server: bool) -> Iterator[dict[str, str]]:
    """Yield the labels of everybody whom the requirements of this test can tell apart."""
    if not server:
        yield {}
    for command, port in product(COMMANDS, NUMBERS if server else (None,)):
        own = {COMMAND: command} | ({PORT: port} if port else {})
        yield own | {SERVICE: service_of(command, port)}
        for unit in ("a.service", "b.service", "c.service"):
            yield own | {UNIT: unit, SERVICE: unit}
        for runtime, name in product(("docker", "podman"), ("80", "web", "other")):
            yield own | {CONTAINER: name, SERVICE: f"{runtime}:{name}"}


@settings(max_examples=1500)
@given(st.lists(requirements, max_size=4), st.booleans())
def test_exactly_what_nobody_meets(found: list[Requirement], server: bool) -> None:
    """There is a conflict if and only if nobody meets all, and without any of it there is none."""
    there = list(everybody(server=server))

    def met(asked: list[Requirement]) -> bool:
        return any(Selector(tuple(asked)).matches(labels) for labels in there)

    together = conflict(found, server=server)
    assert bool(together) is not met(found)
    assert not together or not met(together)
    assert all(met([r for r in together if r is not one]) for one in together)


@settings(max_examples=500)
@given(st.lists(requirements, max_size=4), st.sampled_from(NUMBERS), st.sampled_from(NUMBERS))
def test_at_which_ports(found: list[Requirement], first: str, last: str) -> None:
    """Ports are those at which somebody who is meant can be asked."""
    asked = {
        int(labels[PORT])
        for labels in everybody(server=True)
        if Selector(tuple(found)).matches(labels)
    }
    between = Somebody(found, server=True).between(int(first), int(last))
    assert between is any(int(first) <= port <= int(last) for port in asked)


def test_all_ports() -> None:
    """Nobody is asked at any other port than those that there are."""
    every = Requirement(PORT, Operator.NOT_IN, tuple(map(str, range(1, PORTS + 1))))
    assert conflict([every, Requirement(UNIT, Operator.EXISTS)], server=True) == [every]


@pytest.mark.parametrize(
    ("path", "runtime"),
    [
        (f"/docker/{'a' * 64}", "docker"),
        (f"/{'a' * 64}", "container"),
        (f"/kubepods/pod{'b' * 32}/{'a' * 64}", "pod"),
        ("/lxc/web", "lxc"),
        ("/machine.slice/machine-web.scope", "machine"),
    ],
)
def test_the_runtimes_that_there_are(path: str, runtime: str) -> None:
    """A container is called by a runtime that is known here."""
    assert place.place(path).runtime == runtime
    named = {one for one, *_ in place._NAMED}
    assert {*place._RUNTIMES.values(), *named, "lxc", "pod", "container"} == RUNTIMES
