"""Canonical paths, and patterns against regular expressions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axon.policy.language.paths import (
    DEPTH,
    LONGEST,
    Glob,
    PathError,
    Pattern,
    Refusal,
    canonical,
    parse,
)
from tests.unit.policy import strategies as some


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        (b"/", [b""]),
        (b"/a", [b"a"]),
        (b"/a/", [b"a", b""]),
        (b"/a/b?x=/../%2e//&y=a;b", [b"a", b"b"]),
        (b"/?", [b""]),
        (b"/caf%c3%a9", [b"caf%C3%A9"]),
        (b"/a%20b", [b"a%20b"]),
        (b"/100%25%20sure/5%25", [b"100%25%20sure", b"5%25"]),
        (b"/..a/.git/a..b/...", [b"..a", b".git", b"a..b", b"..."]),
        (b"/~u/(x),=:@!$&'*+", [b"~u", b"(x),=:@!$&'*+"]),
        (b"/" + b"a" * (LONGEST - 1) + b"?" + b"q" * 4000, [b"a" * (LONGEST - 1)]),
    ],
)
def test_what_is_canonical(target: bytes, segments: list[bytes]) -> None:
    """A canonical path is its segments, without the query, with escapes in upper case."""
    assert canonical(target) == segments


@pytest.mark.parametrize(
    "target",
    [
        b"//", b"//a", b"/a//", b"/a//b", b"/.", b"/./a", b"/a/.", b"/..", b"/a/../b", b"/a/..",
        b"/%2e", b"/a/%2E%2e/b", b"/a%2fb", b"/a%2Fb", b"/a%5cb", b"/a\\b", b"/a%00", b"/a\x00",
        b"/a%1f", b"/a%7F", b"/a\x7f", b"/a b", b"/a\tb", b"/a\r\nb", b"/a;b", b"/a#b", b"/\xc3\xa9",
        b"/a%", b"/a%2", b"/a%zz", b"/a%%41", b"/a%252e", b"/a%25%32%65", b"/a%25%32e", b"/a%252%65",
        b"/a%252525",
    ],
)  # fmt: skip
def test_what_is_denied(target: bytes) -> None:
    """What servers read in different ways is denied, also when it is encoded, once or twice."""
    assert canonical(target) is Refusal.PATH


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        (b"", Refusal.TARGET),
        (b"*", Refusal.TARGET),
        (b"http://a/b", Refusal.TARGET),
        (b"?", Refusal.TARGET),
        (b"/" + b"a" * LONGEST, Refusal.LONG_PATH),
        (b"/a?b#c", Refusal.REQUEST_LINE),
        (b"/a?b\x01", Refusal.REQUEST_LINE),
    ],
)
def test_what_is_no_path(target: bytes, refusal: Refusal) -> None:
    """Other targets, long paths and broken queries have reasons of their own."""
    assert canonical(target) is refusal


@given(
    st.lists(st.sampled_from([b"%", b"2", b"5", b"e", b"E", b"f", b"3", b"6", b"/", b".", b"a"]))
)
def test_decoding_changes_nothing_that_matters(parts: list[bytes]) -> None:
    """However often a server decodes a canonical path, no separator and no dot segment appears."""
    path = b"/" + b"".join(parts)
    if isinstance(canonical(path), Refusal):
        return
    was = path.count(b"/")
    for _ in range(3):
        path = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes((int(m[1], 16),)), path)
        assert path.count(b"/") == was
        assert not {b".", b".."} & set(path.split(b"/"))


@pytest.mark.parametrize(
    ("text", "segments", "tail"),
    [
        ("/", (b"",), False),
        ("/users", (b"users",), False),
        ("/users/", (b"users", b""), False),
        ("/users/{id}/x", (b"users", None, b"x"), False),
        ("/users/*/x", (b"users", None, b"x"), False),
        ("/users/{id}", (b"users", None), False),
        ("/api/*", (b"api",), True),
        ("/api/**", (b"api",), True),
        ("/{tenant}/**", (None,), True),
        ("/*", (), True),
        ("/**", (), True),
        ("/v*/a*b/*.json", (Glob(b"v", b""), Glob(b"a", b"b"), Glob(b"", b".json")), False),
        ("/v*/*", (Glob(b"v", b""),), True),
        ("/%c3*", (Glob(b"%C3", b""),), False),
        ("/things:batch/.well-known/a@b", (b"things:batch", b".well-known", b"a@b"), False),
    ],
)
def test_what_a_pattern_means(text: str, segments: tuple[object, ...], tail: bool) -> None:
    """Literals, wildcards and tails are told apart."""
    pattern = parse(text)
    assert (pattern.segments, pattern.tail) == (segments, tail)


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("users", 0, "write /users"),
        ("https://example.org/a/b", 0, "write only the path, /a/b"),
        ("/a?x=1", 2, "write /a"),
        ("/a#top", 2, "write /a"),
        ("/a;v=1", 2, "write /a"),
        ("/a\\b", 2, "write /a"),
        ("/a b", 2, "%20"),
        ("/café", 4, "write %C3%A9"),
        ("/a\x01", 2, "control character"),
        ("/a/%4", 3, "write %25"),
        ("/a/%2F", 3, "write /"),
        ("/a/%2e%2e", 3, "write a dot"),
        ("/a/%5C", 3, "remove the rule"),
        ("/a/%00", 3, "remove the rule"),
        ("/a/%252e", 3, "encode it once"),
        ("/a/%25%32e", 3, "encode it once"),
        ("/a//b", 3, "write one /"),
        ("/a//*", 3, "write one /"),
        ("//", 1, "write one /"),
        ("/a/../b", 3, "write the path it means"),
        ("/./b", 1, "write the path it means"),
        ("/a/**/b", 3, "before the end"),
        ("/users/:id", 7, "write {id}"),
        ("/users/{id}.json", 7, "and * inside a segment"),
        ("/users/x{", 8, "whole segment"),
        ("/a/*b*", 5, "one * at most"),
        ("/" + "a" * 257, 1, "256"),
        ("/" + "a/" * 32 + "a", 0, "33 segments"),
        ("/" + "a/" * 1100 + "*", LONGEST, "2,048"),
    ],
)
def test_what_is_said_of_other_patterns(text: str, at: int, said: str) -> None:
    """A pattern that no canonical path matches is refused: where, and what to write instead."""
    with pytest.raises(PathError) as caught:
        parse(text)
    assert said in str(caught.value)
    assert caught.value.at == at


def oracle(pattern: Pattern) -> re.Pattern[bytes]:
    """Return the regular expression that a pattern is short for."""
    text = re.sub(r"%[0-9a-f]{2}", lambda m: m[0].upper(), pattern.text, flags=re.IGNORECASE)
    tail = re.search(r"/\*\*?$", text)
    text = text[: tail.start()] if tail else text
    parts = []
    for part in text.split("/")[1:]:
        if part == "*" or part.startswith("{"):
            parts.append("/[^/]+")
        else:
            parts.append("/" + "[^/]*".join(map(re.escape, part.split("*"))))
    return re.compile(("".join(parts) + ("(?:/[^/]*)+" if tail else "")).encode())


@settings(max_examples=300)
@given(some.patterns, st.lists(some.targets, max_size=20))
def test_patterns_match_as_their_regular_expressions(
    pattern: Pattern, targets: list[bytes]
) -> None:
    """A pattern matches a canonical path exactly if the expression that it stands for does."""
    expression = oracle(pattern)
    filled = re.sub(r"\*+|\{.*?\}", "v1", pattern.text).encode()
    for target in [*targets, filled, filled + b"/", filled.rpartition(b"/")[0] or b"/"]:
        path = canonical(target)
        if isinstance(path, Refusal):
            continue
        assert pattern.matches(path) is bool(expression.fullmatch(b"/" + b"/".join(path)))


@pytest.mark.parametrize(
    "texts",
    [
        ("/a/b/c", "/a/b*/c", "/a/{x}/c", "/a/*"),
        ("/", "/*"),
        ("/a/b/c", "/a/b/*"),
        ("/a", "/a/b", "/a/{x}", "/{x}/b", "/a*/**"[:-3] + "/**"),
    ],
)
def test_specific_before_general(texts: tuple[str, ...]) -> None:
    """A pattern's rank is below that of a more general one that matches the same path."""
    exact = [t for t in texts if parse(t).rank.strip(b"\0") == b""]
    ranks = [parse(t).rank for t in texts]
    assert ranks[: len(exact)] == sorted(ranks)[: len(exact)]
    assert all(len(parse(t).segments) <= DEPTH for t in texts)
