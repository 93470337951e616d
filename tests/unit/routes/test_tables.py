"""The kernel's tables against regular expressions."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from axon.routes.pattern import Pattern, parse
from axon.routes.tables import compile_tables, route_id, segment_hash
from tests.unit.routes.kernel import DEPTH, WORDS, RouteKernel

literals = st.sampled_from(["a", "b", "users", "v1", "x.y", "a+b", "%20"])
segments = st.one_of(literals, st.just("{id}"), st.just("*"))
ends = st.sampled_from(["", "", "/", "/**", "/*", "/{z}"])
patterns = st.builds(
    lambda parts, end: parse("/" + "/".join(parts) + end),
    st.lists(segments, min_size=1, max_size=14),
    ends,
)
short = st.builds(
    lambda parts, end: parse("/" + "/".join(parts) + end),
    st.lists(segments, min_size=1, max_size=4),
    ends,
)
paths = st.builds(
    lambda parts, end: ("/" + "/".join(parts) + end).encode(),
    st.lists(st.one_of(literals, st.just(""), st.just("zz")), max_size=18),
    st.sampled_from(["", "", "/", "?q=/a/b", "#a/b"]),
)


def oracle(pattern: Pattern) -> re.Pattern[bytes]:
    """Return the regular expression that a pattern is short for."""
    parts = ["/[^/]+" if s is None else "/" + re.escape(s) for s in pattern.segments]
    return re.compile(("".join(parts) + ("(/[^/]*)+" if pattern.tail else "")).encode())


def expected(given_patterns: list[Pattern], path: bytes) -> int | None:
    """Return the index of the first pattern that matches, by regular expressions."""
    path = re.split(rb"[?#]", path)[0]
    for i, pattern in enumerate(given_patterns):
        if oracle(pattern).fullmatch(path):
            return i
    return None


def compiled(given_patterns: list[Pattern]) -> RouteKernel:
    """Return a kernel that matches these patterns, which are named 10, 11 and so on."""
    kernel = RouteKernel()
    tables = compile_tables(
        [(p, 10 + i) for i, p in enumerate(given_patterns)], int(kernel.ctl["secret"][0]), DEPTH
    )
    kernel.write_rt(1, tables.segments(WORDS), tables.rt_set(kernel.abi.rt_set))
    kernel.ctl["route_set"] = 1
    return kernel


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.lists(short, max_size=30), st.lists(patterns, max_size=30)),
    st.lists(paths, max_size=20),
)
def test_the_first_matching_pattern_is_named(chosen: list[Pattern], asked: list[bytes]) -> None:
    """Tables, their rows as the kernel reads them, and regular expressions agree on every path."""
    kernel = compiled(chosen)
    tables = compile_tables([(p, 0) for p in chosen], 99, DEPTH)
    for path in asked:
        first = expected(chosen, path)
        assert tables.match(path) == first
        assert kernel.matched(path) == (0 if first is None else 10 + first)


def test_a_full_set_names_the_last_pattern_too() -> None:
    """All 512 places can be used."""
    chosen = [parse(f"/p{i}/{{id}}") for i in range(512)]
    kernel = compiled(chosen)
    assert [kernel.matched(f"/p{i}/7".encode()) for i in (0, 63, 64, 511)] == [10, 73, 74, 521]
    assert kernel.sets[1]["words"] == WORDS
    assert kernel.matched(b"/p512/7") == 0


def test_segments_are_hashed_as_in_the_kernel() -> None:
    """FNV-1a of 64 bits: with its standard basis the known values come out, before the fold."""
    basis = 0xCBF29CE484222325
    assert segment_hash(b"", basis) == basis ^ basis >> 32
    known = 0x85944171F73967E8  # of "foobar", from the reference implementation
    assert segment_hash(b"foobar", basis) == known ^ known >> 32


def test_routes_are_never_the_reserved_ones() -> None:
    """A pattern's route is a hash of its text and no reserved number."""
    assert route_id("/users/{id}") == route_id("/users/{id}") != route_id("/users/{ids}")
    assert all(route_id(f"/{i}") > 1 for i in range(1000))


def test_bitmaps_have_all_their_words() -> None:
    """A bitmap's row has one word for each 64 patterns that fit, lowest first."""
    tables = compile_tables([(parse(f"/{i}/x"), 9) for i in range(70)], 5, DEPTH)
    x = tables.segments(WORDS)[segment_hash(b"x", 5), 1]
    assert x.dtype == np.uint64
    assert x.tolist() == [2**64 - 1, 2**6 - 1, 0, 0, 0, 0, 0, 0]
