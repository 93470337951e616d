"""Expectations of policies, for tests: a YAML list of requests and what should become of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from axon.errors import PolicyError
from axon.policy.files.contents import read_text
from axon.policy.files.fields import Access, Fields
from axon.policy.files.source import BrokenError, Node, Scalar, documents
from axon.policy.files.source import Sequence as List
from axon.policy.judging.asked import caller_of, port_of, request_of, words_of, workload_of
from axon.policy.judging.judge import Caller, Decision, Request, Verdict, judge
from axon.policy.language.labels import Party
from axon.policy.language.model import Policy
from axon.policy.language.problems import Mark, Problems
from axon.policy.parties.given import NOTHING, Given

_FIELDS = ("request", "from", "workload", "host", "port", "expect", "rule")
_WORDS = ("allow", "deny")
_NEEDED = {"request": "GET /path", "workload": "app=backend", "expect": "allow"}


@dataclass(frozen=True, slots=True)
class Expectation:
    """`rule` names a policy, a rule's place in its policy, or both with a blank between."""

    workload: Party
    caller: Caller
    request: Request
    allow: bool
    rule: str | None
    mark: Mark

    def difference(self, policies: Sequence[Policy]) -> str | None:
        """Return what is otherwise than expected, or None. What is only audited is not allowed."""
        got = judge(policies, self.workload, self.caller, self.request)
        allowed = got.verdict in {Verdict.NONE, Verdict.FORWARDED}
        if allowed is not self.allow:
            want = "allow" if self.allow else "deny"
            return f"{self.mark}: expected {want}, but it is {got.verdict}. {got.why}"
        if self.rule is not None and self.rule not in _names(got):
            by = ", which is none" if got.policy is None else f", not by {self.rule}"
            return f"{self.mark}: {got.verdict} as expected{by}. {got.why}"
        return None


def _names(got: Decision) -> set[str]:
    """Return all that the deciding rule or policy may be called."""
    if got.policy is None:
        return set()
    names = {got.policy.name, str(got.policy)}
    if got.rule:
        names |= {f"{name} {got.rule.where}" for name in names} | {got.rule.where}
    return names


def read_expectations(path: Path, given: Given = NOTHING) -> list[Expectation]:
    """Return the expectations of a file, with the labels that are `given` to whom it names.

    Raise PolicyError, which says all that is wrong in it.
    """
    problems = Problems()
    reader = _Reader(problems, given)
    found = []
    try:
        for root in documents(read_text(path), str(path)):
            found += [reader.expectation(node) for node in reader.items(root)]
    except BrokenError as error:
        problems.add(*error.problem)
    problems.check()
    if not found:
        raise PolicyError(
            f"{path}: there is no expectation in it: write a list of "
            "- {request: GET /path, from: app=frontend, workload: app=backend, expect: allow}."
        )
    return [one for one in found if one]


class _Reader:
    """Reads the entries of the list."""

    def __init__(self, problems: Problems, given: Given) -> None:
        self._given = given
        self._access = Access(problems)
        self._problems = problems

    def items(self, root: Node) -> list[Node]:
        """Return the entries of a document."""
        return list(self._access.items(root, "a file of expectations"))

    def expectation(self, node: Node) -> Expectation | None:
        """Return an entry, or None if it is not usable."""
        before = len(self._problems)
        fields = self._access.fields(node, "an expectation", _FIELDS)
        if fields is None:
            return None
        for name, example in _NEEDED.items():
            if fields.get(name) is None:
                self._problems.add(
                    node.mark, f"an expectation needs {name}", f"write {name}: {example}"
                )
        method, target = self._request(fields)
        host, rule = self._text(fields, "host"), self._text(fields, "rule")
        expect = fields.get("expect")
        word = None if expect is None else self._access.word(expect, "expect", _WORDS)
        port_node = fields.get("port")
        said = None if port_node is None else self._access.number(port_node, "port", 1, 65535)
        workload, caller = self._words(fields, "workload"), self._words(fields, "from")
        if len(self._problems) > before:
            return None
        port = port_of(workload, said)
        try:
            return Expectation(
                workload_of(workload, port, given=self._given),
                caller_of(caller, given=self._given),
                request_of(method, target, host, port),
                word == "allow",
                rule,
                node.mark,
            )
        except PolicyError as error:
            self._problems.add(node.mark, *_sentence(error))
        return None

    def _request(self, fields: Fields) -> tuple[str, str]:
        text = self._text(fields, "request")
        method, _, target = (text or "").partition(" ")
        node = fields.get("request")
        if node is not None and text is not None and not (method and target):
            self._problems.add(node.mark, f"{text!r} is no request", "write GET /path")
        return method, target.strip()

    def _text(self, fields: Fields, name: str) -> str | None:
        node = fields.get(name)
        return None if node is None else self._access.text(node, name)

    def _words(self, fields: Fields, name: str) -> list[str]:
        """Return who is meant: a text with commas, a list of such, or a mapping of labels."""
        node = fields.get(name)
        if node is None:
            return []
        if isinstance(node, Scalar):
            return words_of(self._access.text(node, name) or "")
        if isinstance(node, List):
            return [w for item in node.items for w in words_of(self._access.text(item, name) or "")]
        pairs = self._access.pairs(node, name) or []
        return [f"{key.value}={self._access.text(value, name)}" for key, value in pairs]


def _sentence(error: PolicyError) -> tuple[str, str]:
    what, _, remedy = str(error).rstrip(".").partition(": ")
    return what, remedy
