"""What is wrong with a policy's text: where, what, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import NamedTuple

from axon.errors import PolicyError

_SHOWN = 50


class Mark(NamedTuple):
    """A place in a file; line and column count from 1, the column in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(NamedTuple):
    """One thing that is wrong, as `what`, and its `remedy`. Both are parts of one sentence."""

    mark: Mark
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.mark}: {self.what}: {self.remedy}."


class Problems:
    """Collects what is wrong, so that all of it is said at once."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, mark: Mark, what: str, remedy: str) -> None:
        """Take note of a problem."""
        self._found.append(Problem(mark, what, remedy))

    def __len__(self) -> int:
        return len(self._found)

    def check(self) -> None:
        """Raise PolicyError if there is a problem; its message has a line for each."""
        if self._found:
            raise PolicyError(message(self._found))


def message(problems: Iterable[Problem]) -> str:
    """Return the text for a person, by file and line; of very many problems only the first."""
    lines = [str(problem) for problem in sorted(set(problems))]
    if len(lines) > _SHOWN:
        lines[_SHOWN:] = [f"... and {len(lines) - _SHOWN} more"]
    return "\n".join(lines)


def closest(word: str, known: Collection[str]) -> str | None:
    """Return the word that a misspelt one may have been meant for, or None."""
    by_lower = {name.lower(): name for name in sorted(known)}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def nearest(word: str, known: Collection[str]) -> str:
    """Return what to write instead of a word that is none of those known."""
    close = closest(word, known)
    return f"write {close}" if close else f"write one of {', '.join(sorted(known))}"
