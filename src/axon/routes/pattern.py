"""Path patterns: `/users/{id}/orders`.

A segment is text, taken literally and byte by byte, or `{name}` or `*`, which stand for any one
segment. At the end `/**` and `/*` stand for everything below, whatever its depth.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

DEPTH = 15
"""Segments of a pattern that the kernel can tell apart; see AX_RT_DEPTH."""

LONGEST = 256
"""Bytes of a pattern's text; see AX_PATH."""

_NAME = re.compile(r"\{(?:[A-Za-z_][A-Za-z0-9_-]*|\*)\}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


class PatternError(ValueError):
    """A pattern that cannot be used: what is wrong, what to write instead, and where (from 1)."""

    def __init__(self, problem: str, remedy: str, column: int) -> None:
        super().__init__(f"{problem}: {remedy}")
        self.column = column


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern's text and its meaning.

    `segments` are what stands between the slashes, None where any segment may stand; with `tail`
    at least one more follows.
    """

    text: str
    segments: tuple[str | None, ...]
    tail: bool = False

    @property
    def shape(self) -> tuple[tuple[str | None, ...], bool]:
        """What is the same for patterns that match the same paths."""
        return self.segments, self.tail

    @property
    def rank(self) -> tuple[int, ...]:
        """Smaller for the pattern that is preferred where two match: literals before wildcards
        before tails, the first segment that differs decides.
        """
        return (*(int(s is None) for s in self.segments), *((2,) if self.tail else ()))


def parse(text: str) -> Pattern:
    """Return what a pattern means, or raise PatternError."""
    _check_text(text)
    parts = text[1:].split("/")
    tail = parts[-1] in {"*", "**"}
    if tail:
        parts.pop()
    segments: list[str | None] = []
    column = 2
    for i, part in enumerate(parts):
        if not part and i + 1 < len(parts):
            raise PatternError("a segment is empty", "write one / instead of two", column)
        segments.append(_segment(part, column))
        column += len(part) + 1
    if tail and segments and segments[-1] == "":
        raise PatternError("a segment is empty", "write one / instead of two", column - 1)
    if len(segments) > DEPTH:
        raise PatternError(
            f"it has {len(segments)} segments, and Axon looks at {DEPTH}",
            f"end it with /** after at most {DEPTH}",
            1,
        )
    return Pattern(text, tuple(segments), tail)


def _check_text(text: str) -> None:
    """Raise PatternError for what no path can be, wherever it stands."""
    url = _URL.match(text)
    if url:
        path = text[url.end() :] or "/"
        raise PatternError("it is a URL", f"write only the path: {path}", 1)
    if not text.startswith("/"):
        raise PatternError("it does not begin with /", f"write /{text}", 1)
    for i, c in enumerate(text, 1):
        if c in "?#":
            what = "a query string" if c == "?" else "a fragment"
            raise PatternError(f"{what} is no part of a path", f"write {text[: i - 1]}", i)
        if c in " \t":
            raise PatternError("there is more behind the pattern", "one pattern a line", i)
        if ord(c) > 126:
            raise PatternError(
                f"paths are sent as ASCII, without {c!r}", f"write {quote(c)} in its place", i
            )
        if ord(c) < 33:
            raise PatternError("a control character", "remove it", i)
    escape = _BAD_ESCAPE.search(text)
    if escape:
        raise PatternError(
            "% is not followed by two hexadecimal digits", "write %25 for %", escape.start() + 1
        )
    if len(text) > LONGEST:
        raise PatternError(
            f"it has {len(text)} bytes, and Axon keeps {LONGEST}",
            "shorten it with /**",
            LONGEST + 1,
        )


def _segment(part: str, column: int) -> str | None:
    """Return a segment's meaning."""
    if part == "*" or _NAME.fullmatch(part):
        return None
    if part == "**":
        raise PatternError("** stands before the end", "write * or {name} for one segment", column)
    if part.startswith(":") and len(part) > 1:
        raise PatternError(f"{part} would be literal", f"write {{{part[1:]}}}", column)
    if part.startswith("<") and part.endswith(">"):
        name = part[1:-1].rpartition(":")[2]
        raise PatternError(f"{part} would be literal", f"write {{{name}}}", column)
    at = re.search(r"[*{}]", part)
    if at is None:
        return part
    column += at.start()
    inside = re.fullmatch(r"\{([A-Za-z_]\w*)(?::(\w+)|\.\.\.|\*)?\}", part)
    if inside and (inside[2] == "path" or part.endswith(("...}", "*}"))):
        raise PatternError(f"{part} is not known", "write ** for everything below", column)
    if inside:
        raise PatternError(f"{part} names a type", f"write {{{inside[1]}}}", column)
    raise PatternError(
        "a wildcard stands for a whole segment", "write * or {name} between slashes", column
    )
