"""What the machine should say, written down a second time: routes, buckets, segment hashes, patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence

PATH = 256
DEPTH = 16
WORDS = 8

_OF_DIGITS = re.compile(rb"[0-9]+|(?=[0-9]*-[0-9]*\Z)(?=.*[0-9])[0-9-]+", re.DOTALL)
_HEX = re.compile(rb"[0-9a-fA-F]+")
_WORD = re.compile(rb"[0-9a-zA-Z._-]+")


def token(segment: bytes) -> bytes:
    """Return what a path segment is shown as: itself, or the kind of identifier it looks like."""
    digits = len(re.findall(rb"[0-9]", segment))
    letters = len(re.findall(rb"[a-zA-Z]", segment))
    if _OF_DIGITS.fullmatch(segment):
        return b"{id}"
    hexadecimal = segment.replace(b"-", b"")
    if digits and len(segment) == 36 and segment.count(b"-") == 4 and _HEX.fullmatch(hexadecimal):
        return b"{uuid}"
    if _HEX.fullmatch(segment) and len(segment) >= 8 and digits:
        return b"{hex}"
    if len(segment) >= 16 and digits >= 4 and letters >= 4 and _WORD.fullmatch(segment):
        return b"{token}"
    return segment


def kept_path(target: bytes) -> tuple[bytes, bool]:
    """Return a path without query and fragment as far as it is kept, and whether it was cut."""
    path = re.split(rb"[?#]", target, maxsplit=1)[0]
    return path[:PATH], len(path) > PATH


def template(path: bytes) -> bytes:
    """Return the normalised route of a kept path; b"" where it has no room (route "other")."""
    out = b""
    for segment in path[1:].split(b"/"):
        if len(out) >= PATH:
            return b""
        out = (out + b"/" + token(segment))[:PATH]
    return out


def matches(pattern: Sequence[bytes | None], path: bytes, *, tail: bool) -> bool:
    """Whether a pattern of literal segments and wildcards (None) fits a path; with `tail`, at least one more.

    A wildcard stands for a segment that is not empty.
    """
    segments = path[1:].split(b"/")
    if len(segments) <= len(pattern) if tail else len(segments) != len(pattern):
        return False
    return all(
        p == s if p is not None else bool(s) for p, s in zip(pattern, segments, strict=False)
    )
