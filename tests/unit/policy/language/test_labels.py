"""Hosts, labels and selectors."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axon.policy.language.hosts import METHODS, host_of, parse_host, parse_method
from axon.policy.language.labels import Operator, Party, Requirement, Selector, contradiction

IN, NOT_IN, EXISTS, ABSENT = Operator


@pytest.mark.parametrize(
    ("rule", "host", "matches"),
    [
        ("a.example", "a.example", True),
        ("A.Example", "a.EXAMPLE:8080", True),
        ("a.example", "b.a.example", False),
        ("*.a.example", "b.a.example", True),
        ("*.a.example", "c.b.a.example:80", True),
        ("*.a.example", "a.example", False),
        ("*.a.example", "ba.example", False),
        ("10.0.0.1", "10.0.0.1:80", True),
        ("::1", "[::1]:8080", True),
        ("[0::1]", "[::1]", True),
        ("a_b.internal", "a_b.internal", True),
    ],
)
def test_hosts(rule: str, host: str, *, matches: bool) -> None:
    """A host is compared without case and port; a tail stands for every name below it."""
    assert parse_host(rule).matches(host_of(host)) is matches


def test_methods() -> None:
    """Known methods are written in capitals; others are what they are."""
    assert [parse_method(name) for name in (*METHODS, "PURGE", "M-SEARCH", "purge")] == [
        *METHODS,
        "PURGE",
        "M-SEARCH",
        "purge",
    ]


@pytest.mark.parametrize(
    ("requirement", "met", "unmet", "text"),
    [
        (Requirement("a", IN, ("x", "y")), ("x", "y"), (None, "z", ""), "a in (x,y)"),
        (Requirement("a", IN, ("x",)), ("x",), (None, "z"), "a=x"),
        (Requirement("a", NOT_IN, ("x", "y")), (None, "z", ""), ("x", "y"), "a notin (x,y)"),
        (Requirement("a", EXISTS), ("x", ""), (None,), "a"),
        (Requirement("a", ABSENT), (None,), ("x", ""), "!a"),
    ],
)
def test_requirements(
    requirement: Requirement,
    met: tuple[str | None, ...],
    unmet: tuple[str | None, ...],
    text: str,
) -> None:
    """The operators mean what they mean in Kubernetes: NotIn is met by what is not there."""
    assert all(requirement.met_by(value) for value in met)
    assert not any(requirement.met_by(value) for value in unmet)
    assert str(requirement) == text


def test_a_selector_asks_for_everything() -> None:
    """All requirements have to be met, and none at all select everybody."""
    both = Selector((Requirement("a", IN, ("x",)), Requirement("b", EXISTS)))
    assert both.matches({"a": "x", "b": "y"})
    assert not both.matches({"a": "x"})
    assert Selector().matches({})
    assert (str(both), str(Selector())) == ("a=x,b", "everybody")


requirements = st.one_of(
    st.builds(
        Requirement,
        st.sampled_from("ab"),
        st.sampled_from([IN, NOT_IN]),
        st.lists(st.sampled_from("xyz"), min_size=1, max_size=2).map(tuple),
    ),
    st.builds(Requirement, st.sampled_from("ab"), st.sampled_from([EXISTS, ABSENT])),
)


@given(st.lists(requirements, max_size=4))
def test_contradictions(found: list[Requirement]) -> None:
    """A selector is a contradiction exactly if no labels at all meet it."""
    values = [None, "x", "y", "z", "other"]
    somebody = any(
        Selector(tuple(found)).matches(
            {key: value for key, value in (("a", a), ("b", b)) if value is not None}
        )
        for a in values
        for b in values
    )
    assert (contradiction(found) is None) is somebody


def test_parties() -> None:
    """A party is its labels and its namespace, whatever the order."""
    one, two = Party.of({"a": "x", "b": "y"}), Party.of({"b": "y", "a": "x"})
    assert one == two
    assert len({one, two, Party.of({"a": "x", "b": "y"}, "prod"), Party.of({})}) == 3
    assert str(one) == "a=x,b=y"
    assert one.with_labels({"a": "z"}).labels == {"a": "z", "b": "y"}
    assert all(a != b for a, b in combinations((one, Party.of({"a": "x"}), Party.of({})), 2))
