"""Filters of flows as query parameters."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axon.api.filters import DESCRIPTIONS, METHODS, FlowFilter, QueryError, parse, to_query

GOOD = [
    ("method=GET,post&method=HEAD", FlowFilter(method=("GET", "HEAD", "POST"))),
    ("status=5xx", FlowFilter(status="5xx")),
    ("status=404&not=status", FlowFilter(status="404", negate=frozenset({"status"}))),
    ("path=/api/*", FlowFilter(path="/api/")),
    ("address=10.0.0.0/8&port=80", FlowFilter(address="10.0.0.0/8", port=80)),
    ("address=::1&server_port=65535", FlowFilter(address="::1", server_port=65535)),
    ("min_duration=0.5&role=client", FlowFilter(min_duration=0.5, role="client")),
    (
        "command=nginx&service=a b&error=true",
        FlowFilter(command="nginx", service="a b", error=True),
    ),
    ("", FlowFilter()),
]


def pairs(query: str) -> list[tuple[str, str]]:
    """Split a query that has nothing to decode in it."""
    return [(k, v) for k, _, v in (part.partition("=") for part in query.split("&") if part)]


@pytest.mark.parametrize(("query", "wanted"), GOOD)
def test_what_can_be_asked_for(query: str, wanted: FlowFilter) -> None:
    """Each test is read from the query, and written so that it is read as the same."""
    assert parse(pairs(query)) == wanted
    assert parse(to_query(wanted)) == wanted


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("methd=GET", "'methd' is no filter"),
        ("method=FETCH", "not 'FETCH'"),
        ("status=600x", "404, 5xx or 400-499"),
        ("status=500-400", "400-499"),
        ("status=200&status=300", "given twice"),
        ("port=0", "from 1 to 65535"),
        ("port=99999", "from 1 to 65535"),
        ("port=٣", "from 1 to 65535"),
        ("address=example.org", "an IP address or a network"),
        ("address=10.0.0.0/40", "an IP address or a network"),
        ("min_duration=-1", "a number of seconds"),
        ("min_duration=nan", "a number of seconds"),
        ("role=both", "server or client"),
        ("path=api", "the beginning of a path"),
        ("path=/a*b", "the beginning of a path"),
        ("path=/" + "a" * 64, "64 bytes"),
        ("command=" + "c" * 16, "15 bytes"),
        ("error=maybe", "true or false"),
        ("service=", "a value is missing"),
        ("service=" + "s" * 300, "too long"),
        ("service=a\nb", "control characters"),
        ("not=status", "needs a value"),
    ],
)
def test_what_cannot_is_refused_with_the_reason(query: str, message: str) -> None:
    """A filter that cannot be used says why."""
    with pytest.raises(QueryError) as caught:
        parse(pairs(query))
    assert message in str(caught.value)


@given(st.lists(st.tuples(st.sampled_from([*DESCRIPTIONS, "not", "x"]), st.text(max_size=20))))
def test_no_query_is_more_than_refused(query: list[tuple[str, str]]) -> None:
    """Whatever is asked for: a filter that can be written again, or a QueryError."""
    try:
        wanted = parse(query)
    except QueryError:
        return
    assert parse(to_query(wanted)) == wanted


def test_every_filter_is_described() -> None:
    """The documentation's list is the filter's fields."""
    assert set(DESCRIPTIONS) == {field.name for field in fields(FlowFilter)} - {"negate"}
    assert METHODS[-1] == "_OTHER"
