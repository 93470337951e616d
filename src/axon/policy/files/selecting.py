"""Reads selectors, and refuses those that select nobody."""

from __future__ import annotations

import re
from enum import Enum

from axon.policy.files.fields import Access
from axon.policy.files.source import Node
from axon.policy.language.labels import (
    COMMAND,
    COMMAND_BYTES,
    CONTAINER,
    DERIVED,
    NAMESPACE,
    NAMESPACE_NAME,
    PORT,
    SERVICE,
    UNIT,
    Operator,
    Requirement,
    Selector,
    contradiction,
    exclusive,
)
from axon.policy.language.possible import (
    conflict,
    is_caller,
    is_container,
    is_port,
    is_server,
    is_unit,
)
from axon.policy.language.problems import Mark, nearest

# Kubernetes' qualified names: an optional DNS name and a slash, then up to 63 bytes.
KEY = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
"""Names of policies and of namespaces."""
LONGEST = 256
"""Characters of a label's value."""

_OTHER_UNIT = re.compile(r"\.(?:socket|slice|scope|target|timer|path|mount)$")
_EVERYBODY = "write what is asked for, or leave the field out: a selector {} is for everybody"
_OPERATORS = tuple(o.value for o in Operator)


class Side(Enum):
    """Whose labels a selector is about."""

    WORKLOAD = "workloads"
    CALLER = "callers"
    NAMESPACE = "namespaces"


class SelectorReader:
    """Reads `{matchLabels: ..., matchExpressions: ...}`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._problems = access.problems

    def selector(self, node: Node, what: str, side: Side) -> Selector | None:
        """Return what a selector asks for, or None if it is not usable."""
        before = len(self._problems)
        fields = self._access.fields(node, what, ("matchLabels", "matchExpressions"))
        if fields is None:
            return None
        found: dict[Requirement, Mark] = {}
        labels = self._access.meant(fields, "matchLabels", _EVERYBODY)
        for key, value in (labels and self._access.pairs(labels, "matchLabels")) or ():
            if self._check_key(key.value, key.mark, side):
                text = self._value(key.value, value, side)
                if text is not None:
                    found[Requirement(key.value, Operator.IN, (text,))] = key.mark
        expressions = self._access.meant(fields, "matchExpressions", _EVERYBODY)
        for item in self._access.items(expressions, "matchExpressions"):
            expression = self._expression(item, side)
            if expression:
                found[expression] = item.mark
        if len(self._problems) > before:
            return None
        refused = self._nobody(found, node.mark, side)
        if refused:
            mark, why, remedy = refused
            self._problems.add(mark, f"{what} selects nobody, because {why}", remedy)
            return None
        return Selector(tuple(found))

    def _nobody(
        self, found: dict[Requirement, Mark], mark: Mark, side: Side
    ) -> tuple[Mark, str, str] | None:
        """Return where a selector that begins at a mark asks for what nobody has, why, and the remedy."""
        asked = list(found)
        key = contradiction(asked)
        if key:
            why = f"nobody's {key} can be all that is asked"
            return mark, why, f"remove all but one of the conditions on {key}"
        if apart := exclusive(asked):
            return mark, apart, "write one of them"
        if side is Side.NAMESPACE:
            together = [r for r in asked if r.operator is Operator.DOES_NOT_EXIST]
        else:
            together = conflict(asked, server=side is Side.WORKLOAD)
        if not together:
            return None
        return max(found[r] for r in together), _why(together), _do(together)

    def _expression(self, node: Node, side: Side) -> Requirement | None:
        what = "a match expression"
        fields = self._access.fields(node, what, ("key", "operator", "values"))
        if fields is None:
            return None
        key_node, operator_node = fields.get("key"), fields.get("operator")
        if key_node is None or operator_node is None:
            self._problems.add(
                node.mark,
                f"{what} needs a key and an operator",
                "write {key: app, operator: Exists}",
            )
            return None
        key = self._access.text(key_node, "key")
        word = self._access.word(operator_node, "operator", _OPERATORS)
        if key is None or word is None or not self._check_key(key, key_node.mark, side):
            return None
        operator = Operator(word)
        values_node = fields.get("values")
        values = [
            self._value(key, item, side)
            for item in self._access.items(values_node, f"values of {key}")
        ]
        lists = operator in {Operator.IN, Operator.NOT_IN}
        if lists and not values:
            self._problems.add(
                fields.key("values"), f"{operator} without values", "write values: [VALUE]"
            )
        if not lists and values:
            other = Operator.IN if operator is Operator.EXISTS else Operator.NOT_IN
            self._problems.add(
                fields.key("values"), f"{operator} has no values", f"remove them, or write {other}"
            )
        return Requirement(key, operator, tuple(dict.fromkeys(v for v in values if v is not None)))

    def _check_key(self, key: str, mark: Mark, side: Side) -> bool:
        """Return whether somebody can have a label; take note if not."""
        if not KEY.fullmatch(key):
            self._problems.add(mark, f"{key!r} is no label", "write a name such as app")
        elif side is Side.NAMESPACE and key != NAMESPACE_NAME:
            self._problems.add(
                mark, f"namespaces have no label {key}", f"write {NAMESPACE_NAME}, or podSelector"
            )
        elif key.startswith("axon.dev/") and key not in DERIVED:
            self._problems.add(mark, f"nothing has a label {key}", nearest(key, DERIVED))
        elif side is Side.CALLER and key == PORT:
            self._problems.add(
                mark,
                "callers are not known by a port",
                "write axon.dev/unit, axon.dev/container, axon.dev/service or axon.dev/command",
            )
        else:
            return True
        return False

    def _value(self, key: str, node: Node, side: Side) -> str | None:
        """Return the value that a label is compared with."""
        text = self._access.text(node, key)
        if text is None:
            return None
        if len(text) > LONGEST or not text.isprintable() or (key in DERIVED and not text):
            self._problems.add(node.mark, f"no label {key} has this value", "write a shorter word")
            return None
        wrong = impossible(key, text, side)
        if wrong:
            self._problems.add(node.mark, f"{key} is never {text!r}{wrong[0]}", wrong[1])
            return None
        return text


def _why(requirements: list[Requirement]) -> str:
    """Return why nobody meets requirements together."""
    if len(requirements) > 1:
        return f"nobody has {' together with '.join(map(str, requirements))}"
    (r,) = requirements
    who = "namespace" if r.key == NAMESPACE_NAME else "workload"
    return (
        f"every {who} has {r.key}" if r.operator is Operator.DOES_NOT_EXIST else f"nobody has {r}"
    )


def _do(requirements: list[Requirement]) -> str:
    if len(requirements) > 1:
        return "remove one of these conditions"
    return "remove this condition, or write which values it may have, by In or NotIn"


def impossible(key: str, text: str, side: Side | None = None) -> tuple[str, str] | None:
    """Return why a label of Axon's never has a value, as the end of that sentence, and the remedy.

    None if it may have it; without a side as a workload's or as a caller's.
    """
    if key == PORT and not is_port(text):
        return "", 'write a number from "1" to "65535"'
    if key == COMMAND and len(text.encode()) > COMMAND_BYTES:
        short = text.encode()[:COMMAND_BYTES].decode(errors="ignore")
        return f", because the kernel keeps {COMMAND_BYTES} bytes", f'write "{short}"'
    if key == UNIT and not text.endswith(".service"):
        return (
            ", because only services count as units",
            f"write {_OTHER_UNIT.sub('', text)}.service",
        )
    if key == CONTAINER and ":" in text:
        name = text.rpartition(":")[2] or "NAME"
        return ", because the runtime is no part of a container's name", f"write {name}"
    if key == SERVICE:
        return _no_service(text, side)
    if side is Side.NAMESPACE and not NAME.fullmatch(text):
        return "", f"write a name such as {NAMESPACE}"
    return None


def _no_service(text: str, side: Side | None) -> tuple[str, str] | None:
    """Return why nobody is called so, and the remedy; None if somebody may be."""
    if is_unit(text) or is_container(text):
        return None
    server, caller = is_server(text), is_caller(text)
    if (server and side is not Side.CALLER) or (caller and side is not Side.WORKLOAD):
        return None
    if server:
        return ", because callers are not known by a port", f"write {text.rpartition(':')[0]}"
    if caller:
        return (
            ", because a workload that is no unit or container is called by its port too",
            f"write {text}:PORT, or {text}.service",
        )
    names = ["UNIT.service", "RUNTIME:CONTAINER"]
    names += ["COMMAND:PORT"] if side is not Side.CALLER else []
    names += ["COMMAND"] if side is not Side.WORKLOAD else []
    return ", because nobody is called so", f"write {', '.join(names[:-1])} or {names[-1]}"
