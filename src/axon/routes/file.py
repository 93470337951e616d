"""The file of route patterns: one a line, `#` begins a comment."""

from __future__ import annotations

from pathlib import Path

from axon.errors import SettingsError
from axon.files import UnfitError, read_regular
from axon.routes.pattern import Pattern, PatternError, parse

MOST = 512
"""Patterns that the kernel can hold; see AX_RT_WORDS."""


def read_patterns(path: Path) -> list[Pattern]:
    """Return the patterns of a file, in its order.

    Raise SettingsError, which names line, column and remedy of everything that is wrong.
    """
    try:
        lines = read_regular(path).decode().splitlines()
    except UnfitError as e:
        raise SettingsError(
            f"{path} {e.strerror}: set routes to a file with one pattern a line, or to off."
        ) from e
    except OSError as e:
        raise SettingsError(
            f"Cannot read the route patterns in {path}: {e.strerror}. "
            "Set routes to a readable file, or to off."
        ) from e
    except UnicodeDecodeError as e:
        raise SettingsError(
            f"{path} is not text in UTF-8 (byte {e.start + 1}). "
            "It should have one pattern a line, such as /users/{id}."
        ) from e
    patterns: list[Pattern] = []
    problems: list[str] = []
    seen: dict[object, int] = {}
    for number, line in enumerate(lines, 1):
        text = _without_comment(line)
        if not text.strip():
            continue
        indent = len(text) - len(text.lstrip())
        try:
            pattern = parse(text.strip())
        except PatternError as e:
            problems.append(f"{path}:{number}:{e.column + indent}: {e}.")
            continue
        first = seen.setdefault(pattern.shape, number)
        if first != number:
            problems.append(
                f"{path}:{number}:{indent + 1}: it matches what line {first} matches: remove one."
            )
        patterns.append(pattern)
    if len(patterns) > MOST:
        problems.append(
            f"{path}: {len(patterns)} patterns, and Axon holds {MOST}: "
            "merge some with {name} or /**."
        )
    if problems:
        raise SettingsError("\n".join(problems))
    return patterns


def _without_comment(line: str) -> str:
    """Return a line up to a # that begins it or stands behind a blank."""
    for i, c in enumerate(line):
        if c == "#" and (i == 0 or line[i - 1] in " \t"):
            return line[:i]
    return line
