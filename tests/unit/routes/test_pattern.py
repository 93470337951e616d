"""Patterns: what they mean, and what is said about those that mean nothing."""

from __future__ import annotations

import pytest

from axon.routes.pattern import PatternError, parse


@pytest.mark.parametrize(
    ("text", "segments", "tail"),
    [
        ("/", ("",), False),
        ("/users", ("users",), False),
        ("/users/", ("users", ""), False),
        ("/users/{id}/orders", ("users", None, "orders"), False),
        ("/users/*/orders", ("users", None, "orders"), False),
        ("/users/{*}", ("users", None), False),
        ("/static/*", ("static",), True),
        ("/static/**", ("static",), True),
        ("/{tenant}/**", (None,), True),
        ("/*", (), True),
        ("/**", (), True),
        ("/v1/things:batch", ("v1", "things:batch"), False),
        ("/caf%C3%A9/.well-known/a@b", ("caf%C3%A9", ".well-known", "a@b"), False),
    ],
)
def test_what_a_pattern_means(text: str, segments: tuple[str | None, ...], tail: bool) -> None:
    """Literal, variable and open-ended parts are told apart."""
    pattern = parse(text)
    assert (pattern.segments, pattern.tail) == (segments, tail)


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("users", 1, "write /users"),
        ("https://example.org/a/b", 1, "write only the path: /a/b"),
        ("/a?x=1", 3, "write /a"),
        ("/a#top", 3, "write /a"),
        ("/a b", 3, "one pattern a line"),
        ("/café", 5, "write %C3%A9"),
        ("/a\x01", 3, "control character"),
        ("/a/%4", 4, "write %25"),
        ("/a//b", 4, "write one /"),
        ("/a//**", 4, "write one /"),
        ("//", 2, "write one /"),
        ("/a/**/b", 4, "** stands before the end"),
        ("/users/:id", 8, "write {id}"),
        ("/users/<int:id>", 8, "write {id}"),
        ("/users/{id:int}", 8, "write {id}"),
        ("/files/{rest:path}", 8, "write **"),
        ("/files/{rest...}", 8, "write **"),
        ("/a/*.json", 4, "whole segment"),
        ("/a/v{n}", 5, "whole segment"),
        ("/a/{}", 4, "whole segment"),
        ("/a/{id", 4, "whole segment"),
        ("/" + "/".join("a" * 16), 1, "16 segments"),
        ("/" + "a" * 256, 257, "257 bytes"),
    ],
)
def test_what_is_said_about_a_mistake(text: str, column: int, said: str) -> None:
    """A mistake's message has the column and what to write instead."""
    with pytest.raises(PatternError) as caught:
        parse(text)
    assert caught.value.column == column
    assert said in str(caught.value)


def test_the_specific_go_before_the_general() -> None:
    """Literals before wildcards before tails; the first segment that differs decides."""
    texts = ["/**", "/a/**", "/a/{x}/{y}", "/a/{x}/c", "/{x}/b", "/a/b/{y}", "/a/b/**", "/a/b/c"]
    ordered = sorted((parse(text) for text in texts), key=lambda p: p.rank)
    assert [p.text for p in ordered] == [
        "/a/b/c", "/a/b/{y}", "/a/b/**", "/a/{x}/c", "/a/{x}/{y}", "/a/**", "/{x}/b", "/**",
    ]  # fmt: skip
