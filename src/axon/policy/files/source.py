"""YAML as a tree that knows the line and column of every node.

Built from the parser's events rather than by its own composer: that one follows nesting as deep as
the file says, with the C stack, and aliases as often as it says. A policy needs neither.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from axon.policy.language.problems import Mark, Problem

if TYPE_CHECKING:
    import yaml

LARGEST = 16 << 20
"""Bytes of a file. A hundred thousand rules take a third of it."""

DEEPEST = 24
"""Levels of nesting; a policy has nine."""

# What YAML 1.1 takes for something else than text (https://yaml.org/type/), as Kubernetes does.
_NOT_TEXT = re.compile(
    r"|~|null|Null|NULL|true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF"
    r"|[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[-+]?0[xob][0-9A-Fa-f_]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class BrokenError(ValueError):
    """A file is no YAML, or has something in it that no policy needs."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Scalar(NamedTuple):
    """A single value as it is written; `plain` without quotes."""

    mark: Mark
    value: str
    plain: bool

    @property
    def is_text(self) -> bool:
        """Whether YAML takes it for text, and not for a number, a truth or nothing."""
        return not self.plain or _NOT_TEXT.fullmatch(self.value) is None

    @property
    def is_nothing(self) -> bool:
        """Whether it stands for nothing at all."""
        return self.plain and self.value in {"", "~", "null", "Null", "NULL"}


class Sequence(NamedTuple):
    """A list."""

    mark: Mark
    items: list[Node]


class Table(NamedTuple):
    """A mapping, in the order of the file; keys may occur twice."""

    mark: Mark
    items: list[tuple[Scalar, Node]]


Node = Scalar | Sequence | Table


def documents(text: str, file: str) -> Iterator[Node]:
    """Yield the root of each document of a file that is not empty.

    Raise BrokenError where it is no YAML or has an alias, a tag, too deep nesting or a key that is
    no plain value.
    """
    import yaml  # noqa: PLC0415 - costs megabytes, which an agent without policies does not pay

    try:
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        build = _Builder(file, loader.get_event)
        while not isinstance(event := loader.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                root = build.node(loader.get_event(), 0)
                if not (isinstance(root, Scalar) and root.is_nothing):
                    yield root
    except yaml.MarkedYAMLError as error:
        raise BrokenError(_said(error, text, file)) from error
    except yaml.YAMLError as error:  # a byte that may not stand in YAML
        position = getattr(error, "position", 0)
        mark = Mark(file, text.count("\n", 0, position) + 1, 1)
        raise BrokenError(
            Problem(mark, "a character that YAML does not allow", "remove it")
        ) from error


class _Builder:
    """Makes nodes of the events that `take` gives. It runs a million times for many policies."""

    def __init__(self, file: str, take: Callable[[], Any]) -> None:
        from yaml import events  # noqa: PLC0415 - see above

        self._file = file
        self._take = take
        self._scalar, self._alias = events.ScalarEvent, events.AliasEvent
        self._sequence, self._end_sequence = events.SequenceStartEvent, events.SequenceEndEvent
        self._end_table = events.MappingEndEvent

    def node(self, event: Any, depth: int) -> Node:
        """Return the node that an event begins."""
        at = event.start_mark
        mark = Mark(self._file, at.line + 1, at.column + 1)
        kind = type(event)
        if kind is self._scalar and event.tag is None:
            return Scalar(mark, event.value, not event.style)
        if kind is self._alias:
            raise BrokenError(
                Problem(
                    mark,
                    f"*{event.anchor} is a YAML alias, which policies may not have",
                    f'write "*{event.anchor}" in quotes if text is meant, else repeat the value',
                )
            )
        if event.tag not in {None, "!"}:
            raise BrokenError(Problem(mark, f"the tag {event.tag}", "remove it"))
        if kind is self._scalar:  # its tag is "!", which means text
            return Scalar(mark, event.value, plain=False)
        if depth >= DEEPEST:
            raise BrokenError(
                Problem(mark, f"more than {DEEPEST} levels of nesting", "a policy has nine")
            )
        if kind is self._sequence:
            return Sequence(mark, self._items(depth + 1))
        return Table(mark, self._pairs(depth + 1))

    def _items(self, depth: int) -> list[Node]:
        items = []
        while type(event := self._take()) is not self._end_sequence:
            items.append(self.node(event, depth))
        return items

    def _pairs(self, depth: int) -> list[tuple[Scalar, Node]]:
        pairs = []
        while type(event := self._take()) is not self._end_table:
            key = self.node(event, depth)
            if not isinstance(key, Scalar):
                raise BrokenError(
                    Problem(
                        key.mark,
                        "a list or mapping stands where a field's name should be",
                        "write NAME: VALUE, and text with braces in quotes",
                    )
                )
            pairs.append((key, self.node(self._take(), depth)))
        return pairs


def _said(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    """Return what YAML says of a file, with the remedy for what happens most often."""
    at = error.problem_mark or error.context_mark
    if at is None:
        return Problem(Mark(file, 1, 1), "it is no YAML", str(error.problem))
    mark = Mark(file, at.line + 1, at.column + 1)
    lines = text.split("\n")
    line = lines[at.line] if at.line < len(lines) else ""
    what = f"it is no YAML here ({error.problem or error.context})"
    if "alias" in str(error.context) or "alias" in str(error.problem):
        return Problem(mark, what, 'write text that begins with * in quotes: "*"')
    if "\t" in line[: at.column + 1]:
        return Problem(mark, what, "indent with blanks, not with tabs")
    if re.search(r"[^\"'\s]\{", line):
        return Problem(mark, what, 'write text with braces in quotes: "/users/{id}"')
    return Problem(mark, what, "look for a missing quote, bracket, colon or blank")
