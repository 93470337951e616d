"""Canonical paths, and the patterns that policies match them with.

Only a canonical path is matched: one that no server, proxy or framework reads in another way than
it is written (CVE-2019-9901 is what happens otherwise). RFC 3986 section 6 lists what could be
normalised; Axon denies it instead, and so never has to guess what a server does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from urllib.parse import quote

LONGEST = 2048
"""Bytes of a path that are judged (AX_POL_PATH)."""

DEPTH = 32
"""Segments that are judged one by one (AX_POL_DEPTH)."""

TEXT = 256
"""Bytes of a literal (AX_POL_TEXT)."""

# Encoded: slash, backslash, dot, NUL and other control bytes.
_HIDDEN = re.compile(rb"%(?:[01][0-9A-F]|7F|2[EF]|5C)", re.IGNORECASE)
# Encoded twice: an encoded % before two hexadecimal digits, each of which may be encoded as well.
_TWICE = re.compile(rb"%25(?:[0-9A-F]|%(?:3[0-9]|[46][1-6])){2}", re.IGNORECASE)
_QUERY = re.compile(rb"[\x00-\x1f\x7f#]")
_RAW = re.compile(rb"[\x00-\x20\x7f-\xff\\;#]")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NAME = re.compile(r"\{[A-Za-z_][A-Za-z0-9_-]*\}")
_EASY = re.compile(r"/[A-Za-z0-9/._~!$&'()*+,=:@{}-]*")  # nothing in it can be wrong by itself
_WORD = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_~.-]{0,62}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


class Refusal(Enum):
    """Why a path is not judged by rules but denied; named as in enum ax_deny."""

    TARGET = "it is no path"
    LONG_PATH = "it is longer than 2,048 bytes"
    PATH = "it is not canonical"
    REQUEST_LINE = "its query has a byte that no query has"


def canonical(target: bytes) -> list[bytes] | Refusal:
    """Return the segments of a request's target, or why it is denied.

    The query is cut off, the hexadecimal digits of escapes are in upper case. A path that ends in a
    slash has an empty last segment; "/" is one empty segment.
    """
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/"):
        return Refusal.TARGET
    if len(path) > LONGEST:
        return Refusal.LONG_PATH
    if any(wrong.search(path) for wrong in (_RAW, _HIDDEN, _TWICE, _BAD_ESCAPE)):
        return Refusal.PATH
    segments = _upper(path)[1:].split(b"/")
    if b"" in segments[:-1] or b"." in segments or b".." in segments:
        return Refusal.PATH
    return Refusal.REQUEST_LINE if _QUERY.search(query) else segments


def _upper(path: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: found[0].upper(), path) if b"%" in path else path


@dataclass(frozen=True, slots=True)
class Glob:
    """A segment with a `*` inside: what stands before it and behind it. At least one has a byte."""

    prefix: bytes
    suffix: bytes

    def matches(self, segment: bytes) -> bool:
        """Return whether a segment begins and ends so; the `*` may stand for nothing."""
        return (
            len(segment) >= len(self.prefix) + len(self.suffix)
            and segment.startswith(self.prefix)
            and segment.endswith(self.suffix)
        )


Segment = bytes | Glob | None
"""A literal, a wildcard within a segment, or any one segment that is not empty."""


class PathError(ValueError):
    """A pattern that cannot be used: what is wrong, what to write instead, and where (from 0)."""

    def __init__(self, what: str, remedy: str, at: int) -> None:
        super().__init__(f"{what}: {remedy}")
        self.what = what
        self.remedy = remedy
        self.at = at


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern's text and meaning. With `tail` at least one segment more follows, empty or not.

    `rank` sorts specific before general: the first segment that differs decides, a literal is before
    a wildcard inside a segment, that before a whole one, and that before a tail. `globs` are the
    wildcards inside segments, with their depths from 0.
    """

    text: str
    segments: tuple[Segment, ...]
    tail: bool
    rank: bytes
    globs: tuple[tuple[int, Glob], ...] = ()

    def matches(self, path: list[bytes]) -> bool:
        """Return whether the segments of a canonical path match."""
        n = len(self.segments)
        if len(path) <= n if self.tail else len(path) != n:
            return False
        return all(
            want.matches(got)
            if isinstance(want, Glob)
            else got == want
            if want is not None
            else got
            for want, got in zip(self.segments, path, strict=False)
        )


@lru_cache(4096)
def parse(text: str) -> Pattern:
    """Return what a pattern means, or raise PathError.

    Exact text; at the end `/*` or `/**` for everything below (`/api/*` matches `/api/` but not
    `/api`; `/*` and `/**` alone match every path); before the end `*` or `{name}` for one segment
    that is not empty; at the very end `{name}` for the same; inside a segment one `*` for any bytes
    of it, also none. The hexadecimal digits of escapes may be in either case.
    """
    if not _EASY.fullmatch(text) or len(text) > LONGEST:
        _check_text(text)
    parts = text[1:].split("/")
    tail = parts[-1] in {"*", "**"}
    if tail:
        parts.pop()
    segments: list[Segment] = []
    at = 1
    for i, part in enumerate(parts):
        if not part and (tail or i + 1 < len(parts)):
            raise PathError("an empty segment is denied", "write one / instead of two", at)
        segments.append(_segment(part, at))
        at += len(part) + 1
    if len(segments) > DEPTH:
        raise PathError(
            f"it has {len(segments)} segments, and {DEPTH} are judged one by one",
            f"end it with /** after at most {DEPTH}",
            0,
        )
    rank = bytes(2 if s is None else int(isinstance(s, Glob)) for s in segments)
    globs = tuple((i, s) for i, s in enumerate(segments) if isinstance(s, Glob))
    return Pattern(text, tuple(segments), tail, rank + b"\x03" if tail else rank, globs)


def _check_text(text: str) -> None:
    """Raise PathError for what no canonical path has, wherever it stands."""
    url = _URL.match(text)
    if url:
        path = text[url.end() :] or "/"
        raise PathError("it is a URL", f"write only the path, {path}, and the name as host", 0)
    if not text.startswith("/"):
        raise PathError("it does not begin with /", f"write /{text}", 0)
    for at, c in enumerate(text):
        if c == "?":
            raise PathError("rules do not see the query", f"write {text[:at]}", at)
        if c in "#;\\":
            raise PathError(f"a path with {c} is denied", f"write {text[:at] or '/'}", at)
        if ord(c) > 126:
            remedy = f"write {quote(c)} in its place" if c.isprintable() else "remove it"
            raise PathError(f"paths are sent as ASCII, without {c!r}", remedy, at)
        if c == " ":
            raise PathError("a path has no blanks", "write %20 for a blank", at)
        if ord(c) < 33:
            raise PathError("a control character", "remove it", at)
    _check_escapes(text.encode())


def _check_escapes(raw: bytes) -> None:
    """Raise PathError for escapes that no canonical path has, and for too many bytes."""
    if bad := _BAD_ESCAPE.search(raw):
        raise PathError("% without two hexadecimal digits", "write %25 for %", bad.start())
    if twice := _TWICE.search(raw):
        what = f"a path with {twice[0].decode()} is denied, because it is encoded twice"
        raise PathError(what, "encode it once", twice.start())
    if hidden := _HIDDEN.search(raw):
        plain = {b"%2F": "write /", b"%2E": "write a dot"}
        remedy = plain.get(hidden[0].upper(), "remove the rule: nothing like it reaches the server")
        raise PathError(f"a path with {hidden[0].decode()} is denied", remedy, hidden.start())
    if len(raw) > LONGEST:
        raise PathError(
            f"it has {len(raw):,} bytes, and longer paths than {LONGEST:,} are denied",
            "shorten it with /**",
            LONGEST,
        )


def _segment(part: str, at: int) -> Segment:
    """Return a segment's meaning."""
    if _WORD.fullmatch(part):
        return part.encode()
    if part == "*" or _NAME.fullmatch(part):
        return None
    if part in {".", ".."}:
        raise PathError(
            f'a path with the segment "{part}" is denied', "write the path it means", at
        )
    if part == "**":
        raise PathError("** stands before the end", "write * or {name} for one segment", at)
    if part.startswith(":") and len(part) > 1:
        raise PathError(f"{part} would be literal", f"write {{{part[1:]}}}", at)
    if braces := re.search(r"[{}]", part):
        raise PathError(
            "braces stand round the name of a whole segment",
            "write {name} between slashes, and * inside a segment",
            at + braces.start(),
        )
    literal = _upper(part.encode())
    if len(literal) > TEXT:
        raise PathError(
            f"a segment of {len(literal)} bytes, and Axon compares {TEXT}",
            "write * for a part of it",
            at,
        )
    if b"*" not in literal:
        return literal
    prefix, _, suffix = literal.partition(b"*")
    if b"*" in suffix:
        second = part.index("*", part.index("*") + 1)
        raise PathError("a segment has one * at most", "write one of them", at + second)
    return Glob(prefix, suffix)
