"""Reads the file of labels that a user gives: a YAML list, as strictly as policies."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from axon.policy.files.contents import read_text
from axon.policy.files.fields import Access, Fields
from axon.policy.files.peers import PeerReader
from axon.policy.files.selecting import KEY, LONGEST, NAME, SelectorReader, impossible
from axon.policy.files.source import BrokenError, Node, Sequence, documents
from axon.policy.language.labels import (
    COMMAND,
    CONTAINER,
    NAMESPACE,
    PORT,
    SERVICE,
    UNIT,
    Operator,
    Requirement,
    exclusive,
)
from axon.policy.language.model import Network
from axon.policy.language.possible import conflict
from axon.policy.language.problems import Mark, Problems
from axon.policy.parties.given import Entry, Given, named

ENTRIES: Final = 4096
"""Entries of a file."""

COMBINATIONS: Final = 4096
"""Combinations of a command and a port that entries may name: each may be another workload."""

_ADDRESS = "address"
_MATCH = {"unit": UNIT, "container": CONTAINER, "service": SERVICE, "command": COMMAND}
_FIELDS = (*_MATCH, "port", _ADDRESS)
_FIELD = "write what it has to be, or remove it"


def read_given(path: Path) -> Given:
    """Return what a file says. Raise PolicyError, which says all that is wrong in it."""
    return parse_given(read_text(path), str(path))


def parse_given(text: str, file: str) -> Given:
    """Return what a file's text says; see read_given."""
    problems = Problems()
    reader = _Reader(problems)
    entries: list[Entry] = []
    try:
        roots = list(documents(text, file))
        for root in roots:
            entries += reader.entries(root)
        if not roots:  # as a full disk leaves a file
            problems.add(Mark(file, 1, 1), "there are no labels in it", "write [] if that is meant")
    except BrokenError as error:
        problems.add(*error.problem)
    commands, ports = named(entries)
    if (commands + 1) * (ports + 1) > COMBINATIONS:
        problems.add(
            Mark(file, 1, 1),
            f"{commands:,} commands and {ports:,} ports are named, and Axon tells "
            f"{COMBINATIONS:,} combinations apart",
            "name fewer, or write unit and container",
        )
    problems.check()
    return Given(tuple(entries))


class _Reader:
    """Makes entries of nodes."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._access = Access(problems)
        self._networks = PeerReader(self._access, SelectorReader(self._access)).network

    def entries(self, root: Node) -> list[Entry]:
        """Return what a document says."""
        items = list(self._access.items(root, "a file of labels"))
        if len(items) > ENTRIES:
            self._problems.add(
                items[ENTRIES].mark,
                f"there are {len(items):,} entries, and Axon takes {ENTRIES:,}",
                "remove some",
            )
        return [one for item in items if (one := self._entry(item)) is not None]

    def _entry(self, node: Node) -> Entry | None:
        before = len(self._problems)
        fields = self._access.fields(node, "an entry", ("match", "labels", "namespace"))
        if fields is None:
            return None
        match, network = self._match(fields, node.mark)
        labels = self._labels(fields, node.mark)
        namespace = self._namespace(fields)
        if len(self._problems) > before:
            return None
        return Entry(match, network, labels, namespace)

    def _match(
        self, fields: Fields, mark: Mark
    ) -> tuple[tuple[tuple[str, str], ...], Network | None]:
        node = fields.get("match")
        if node is None:
            self._problems.add(
                mark, "an entry needs match", "write match: {unit: NAME.service}, or another of "
                + ", ".join(_FIELDS[1:]),
            )  # fmt: skip
            return (), None
        asked = self._access.fields(node, "match", _FIELDS)
        if asked is None:
            return (), None
        found = []
        for name, key in _MATCH.items():
            one = self._access.meant(asked, name, _FIELD)
            text = None if one is None else self._word(one, name)
            if text is not None:
                found.append((key, text))
        port = self._access.meant(asked, "port", _FIELD)
        number = None if port is None else self._access.number(port, "port", 1, 65535)
        if number is not None:
            found.append((PORT, str(number)))
        apart = _apart([Requirement(key, Operator.IN, (value,)) for key, value in found])
        if apart:
            self._problems.add(
                node.mark, f"match names nobody, because {apart}", "write one of them"
            )
        network = self._network(asked)
        if not any(name in asked for name in _FIELDS):
            self._problems.add(
                node.mark, "match names nobody", f"write one of {', '.join(_FIELDS)}"
            )
        elif asked.get(_ADDRESS) and any(asked.get(name) for name in _FIELDS[:-1]):
            self._problems.add(
                asked.key(_ADDRESS),
                "address stands beside something else",
                "write two entries: callers on this host are not known by an address",
            )
        return tuple(found), network

    def _network(self, asked: Fields) -> Network | None:
        node = self._access.meant(asked, _ADDRESS, _FIELD)
        network = None if node is None else self._networks(node, _ADDRESS, alone=True)
        if node is not None and network is not None and network.is_loopback:
            self._problems.add(
                node.mark,
                f"{network} is this host itself, whose callers are known by their sockets",
                "write unit, container, service or command",
            )
        return network

    def _labels(self, fields: Fields, mark: Mark) -> tuple[tuple[str, str], ...]:
        node = fields.get("labels")
        pairs = None if node is None else self._access.pairs(node, "labels")
        found = []
        for key, value in pairs or ():
            if key.value.startswith("axon.dev/"):
                self._problems.add(
                    key.mark,
                    f"{key.value} is a label that only Axon gives",
                    "write one of your own",
                )
            elif not KEY.fullmatch(key.value):
                self._problems.add(
                    key.mark, f"{key.value!r} is no label", "write a name such as app"
                )
            text = self._access.text(value, key.value)
            if text is not None and (len(text) > LONGEST or not text.isprintable()):
                self._problems.add(
                    value.mark, f"no label {key.value} has this value", "write a shorter word"
                )
            found.append((key.value, text or ""))
        if not found and fields.get("namespace") is None and not isinstance(node, Sequence):
            self._problems.add(mark, "an entry needs labels", "write labels: {app: NAME}")
        return tuple(found)

    def _namespace(self, fields: Fields) -> str | None:
        node = fields.get("namespace")
        text = None if node is None else self._access.text(node, "namespace")
        if node is not None and text is not None and not NAME.fullmatch(text):
            self._problems.add(
                node.mark, f"{text!r} is no namespace", f"write a name such as {NAMESPACE}"
            )
        return text

    def _word(self, node: Node, name: str) -> str | None:
        text = self._access.text(node, name)
        if text is None:
            return None
        wrong = impossible(_MATCH[name], text)
        if not text or not text.isprintable():
            wrong = "", "write a name"
        if wrong:
            self._problems.add(node.mark, f"{name} is never {text!r}{wrong[0]}", wrong[1])
        return text


def _apart(asked: list[Requirement]) -> str | None:
    """Return why nobody is all that is asked, as a workload or as a caller; None if somebody may be."""
    if apart := exclusive(asked):
        return apart
    together = conflict(asked, server=True)
    # callers are not known by a port
    called = PORT not in {r.key for r in asked} and not conflict(asked, server=False)
    if not together or called:
        return None
    return f"no workload has {' together with '.join(map(str, together))}"
