"""Takes nodes apart, and takes note of what is not as it should be."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from axon.policy.files.source import Node, Scalar, Sequence, Table
from axon.policy.language.problems import Mark, Problems, closest, nearest

_KINDS = {Scalar: "a single value", Sequence: "a list", Table: "a mapping"}
_MOST_DIGITS = 18


class Fields:
    """The fields of a mapping, each by its name."""

    def __init__(self, mark: Mark, found: Mapping[str, tuple[Scalar, Node]]) -> None:
        self.mark = mark
        self._found = found

    def get(self, name: str) -> Node | None:
        """Return a field's value; None where it is missing or null, as Kubernetes has it."""
        pair = self._found.get(name)
        if pair is None or (isinstance(pair[1], Scalar) and pair[1].is_nothing):
            return None
        return pair[1]

    def key(self, name: str) -> Mark:
        """Return where a field's name is, or the mapping where there is none."""
        pair = self._found.get(name)
        return pair[0].mark if pair else self.mark

    def __contains__(self, name: str) -> bool:
        return name in self._found


class Access:
    """Reads nodes as what they should be. Everything returns None for what is wrong, and notes it."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def pairs(self, node: Node, what: str) -> list[tuple[Scalar, Node]] | None:
        """Return the pairs of a mapping, each key once."""
        if not isinstance(node, Table):
            self._wrong(node, what, "a mapping", "write NAME: VALUE pairs")
            return None
        seen: dict[str, Scalar] = {}
        for key, _ in node.items:
            first = seen.setdefault(key.value, key)
            if first is not key:
                self.problems.add(
                    key.mark, f"{key.value} is here twice", f"remove this or line {first.mark.line}"
                )
        return node.items

    def fields(
        self,
        node: Node,
        what: str,
        known: Collection[str],
        refused: Mapping[str, str] | None = None,
    ) -> Fields | None:
        """Return the fields of a mapping. `refused` has advice for fields that are no oversight."""
        pairs = self.pairs(node, what)
        if pairs is None:
            return None
        found: dict[str, tuple[Scalar, Node]] = {}
        for key, value in pairs:
            if refused and key.value in refused:
                self.problems.add(key.mark, f"{what} has {key.value}", refused[key.value])
            elif key.value not in known:
                self.problems.add(
                    key.mark, f"{what} has no field {key.value}", nearest(key.value, known)
                )
                # It is read as what it was meant for, so that this is not said to be missing.
                meant = closest(key.value, known)
                if meant:
                    found.setdefault(meant, (key, value))
            else:
                found[key.value] = (key, value)
        return Fields(node.mark, found)

    def meant(self, fields: Fields, name: str, remedy: str) -> Node | None:
        """Return a field's value. None where it is missing, which allows more than any value.

        A field that is there with nothing behind it is refused: its entries are comments, or what
        was to write them has not. Nobody has said that all is meant.
        """
        node = fields.get(name)
        if node is None and name in fields:
            self.problems.add(fields.key(name), f"{name} with nothing behind it", remedy)
        return node

    def items(self, node: Node | None, what: str) -> Iterator[Node]:
        """Yield the items of a list; nothing where there is none."""
        if node is None:
            return
        if isinstance(node, Sequence):
            yield from node.items
        else:
            self._wrong(node, what, "a list", "write its items in [ ], or each behind a dash")

    def text(self, node: Node, what: str) -> str | None:
        """Return a text. Numbers, truths and nothing are none, as in Kubernetes."""
        if not isinstance(node, Scalar):
            self._wrong(node, what, "text", "write a single value")
            return None
        if not node.is_text:
            shown = node.value or "nothing"
            self.problems.add(
                node.mark, f"{what} must be text, and YAML takes {shown} for something else",
                f'write "{node.value}" in quotes' if node.value else "write a value",
            )  # fmt: skip
            return None
        return node.value

    def filled(self, node: Node, what: str, remedy: str) -> str | None:
        """Return a text that is not empty.

        An empty one is what a template writes whose variable is not set. It says nothing, and is not
        to mean as much as a field that is left out on purpose.
        """
        text = self.text(node, what)
        if text == "":
            self.problems.add(node.mark, f"the {what} is empty", remedy)
            return None
        return text

    def number(self, node: Node, what: str, low: int, high: int) -> int | None:
        """Return a whole number within bounds."""
        if isinstance(node, Scalar) and node.plain and len(node.value) <= _MOST_DIGITS:
            digits = node.value
            # YAML 1.1 takes 0443 for an octal number, YAML 1.2 does not
            if re.fullmatch(r"0|[1-9][0-9]*", digits) and low <= int(digits) <= high:
                return int(digits)
        shown = f", not {node.value!r}" if isinstance(node, Scalar) else ""
        self.problems.add(
            node.mark, f"{what} must be a number{shown}", f"write one from {low} to {high}"
        )
        return None

    def word(self, node: Node, what: str, words: Collection[str]) -> str | None:
        """Return one of some words."""
        text = self.text(node, what)
        if text is None or text in words:
            return text
        self.problems.add(node.mark, f"{what} cannot be {text!r}", nearest(text, words))
        return None

    def _wrong(self, node: Node, what: str, wanted: str, remedy: str) -> None:
        self.problems.add(node.mark, f"{what} must be {wanted}, not {_KINDS[type(node)]}", remedy)
