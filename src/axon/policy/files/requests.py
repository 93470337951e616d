"""Reads which requests are allowed: methods, paths and hosts."""

from __future__ import annotations

from axon.policy.files.fields import Access
from axon.policy.files.source import Node, Scalar, Sequence
from axon.policy.language.hosts import Host, WordError, parse_host, parse_method
from axon.policy.language.model import HttpRule
from axon.policy.language.paths import PathError, Pattern, parse
from axon.policy.language.problems import Mark

_ANY_METHOD = 'write "*" for any, or leave the field out'
_ANY_PATH = "write a path such as /api/users, or leave the field out for any"
_ANY_HOST = "write a name such as api.example.com, or leave the field out for any"


class RuleReader:
    """Reads the entries of `httpRules`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._problems = access.problems

    def rule(self, node: Node) -> HttpRule:
        """Return a rule, without what is not usable of it."""
        fields = self._access.fields(node, "a rule", ("method", "methods", "path", "host"))
        if fields is None:
            return HttpRule()
        meant = self._access.meant
        one, many = meant(fields, "method", _ANY_METHOD), meant(fields, "methods", _ANY_METHOD)
        if one is not None and many is not None:
            self._problems.add(
                fields.key("methods"), "a rule has method and methods", "write all into methods"
            )
        methods = self._methods(one if many is None else many)
        path = self._path(meant(fields, "path", _ANY_PATH))
        host = self._host(meant(fields, "host", _ANY_HOST))
        return HttpRule(methods, path, host, node.mark)

    def _methods(self, node: Node | None) -> tuple[str, ...]:
        if node is None:
            return ()
        many = isinstance(node, Sequence)
        items = node.items if isinstance(node, Sequence) else [node]
        found = [(item, self._access.filled(item, "method", _ANY_METHOD)) for item in items]
        if not found:
            self._problems.add(node.mark, "no method at all", _ANY_METHOD)
        methods = []
        for item, text in found:
            if text == "*" and many and len(found) > 1:
                self._problems.add(
                    item.mark, "* stands beside other methods", 'write method: "*" alone'
                )
            elif text is not None and text != "*":
                try:
                    methods.append(parse_method(text))
                except WordError as error:
                    self._problems.add(item.mark, error.what, error.remedy)
        return tuple(dict.fromkeys(methods))

    def _path(self, node: Node | None) -> Pattern | None:
        text = None if node is None else self._access.filled(node, "path", _ANY_PATH)
        if text is None or not isinstance(node, Scalar):
            return None
        try:
            return parse(text)
        except PathError as error:
            quote = 0 if node.plain else 1
            mark = Mark(node.mark.file, node.mark.line, node.mark.column + quote + error.at)
            self._problems.add(mark, error.what, error.remedy)
        return None

    def _host(self, node: Node | None) -> Host | None:
        text = None if node is None else self._access.filled(node, "host", _ANY_HOST)
        if text is None or node is None:
            return None
        try:
            return parse_host(text)
        except WordError as error:
            self._problems.add(node.mark, error.what, error.remedy)
        return None
